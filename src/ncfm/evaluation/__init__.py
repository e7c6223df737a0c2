"""Evaluation: protocols, students, scores. Takes plain tensors, so it judges anybody's set."""

from ncfm.evaluation.inference import interval
from ncfm.evaluation.memory import Student, StudentMemory, students_key
from ncfm.evaluation.protocol import PROTOCOLS, Protocol, get_protocol
from ncfm.evaluation.run import EvaluationResult, equal_steps, evaluate

__all__ = [
    "PROTOCOLS",
    "EvaluationResult",
    "Protocol",
    "Student",
    "StudentMemory",
    "equal_steps",
    "evaluate",
    "get_protocol",
    "interval",
    "students_key",
]
