"""Evaluation: protocols, students, scores. Takes plain tensors, so it judges anybody's set."""

from ncfm.evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from ncfm.evaluation.statistics import interval
from ncfm.evaluation.student_cache import Student, StudentCache, students_key
from ncfm.evaluation.students import EvaluationResult, equal_steps, evaluate

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
