"""Evaluation: protocols, students, intervals. Takes plain tensors, so it judges anybody's set."""

from ncfm.evaluation.protocol import PROTOCOLS, Protocol, get_protocol
from ncfm.evaluation.run import EvaluationResult, equal_steps, evaluate, interval

__all__ = [
    "PROTOCOLS",
    "EvaluationResult",
    "Protocol",
    "equal_steps",
    "evaluate",
    "get_protocol",
    "interval",
]
