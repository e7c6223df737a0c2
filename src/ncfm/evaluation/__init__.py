"""Evaluation: protocols, students, scores. It takes plain tensors, and so works for any dataset.

A student is a network that is trained on the set to evaluate and tested on the real test split.
"""

from ncfm.evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from ncfm.evaluation.result import EvaluationResult
from ncfm.evaluation.statistics import interval
from ncfm.evaluation.student_cache import Student, StudentCache, students_key
from ncfm.evaluation.students import equal_steps, evaluate

__all__ = [
    "PROTOCOLS",
    "EvaluationResult",
    "Protocol",
    "Student",
    "StudentCache",
    "equal_steps",
    "evaluate",
    "get_protocol",
    "interval",
    "students_key",
]
