"""Evaluation: protocols, evaluation networks, scores, statistics."""

from ncfm.evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from ncfm.evaluation.statistics import interval
from ncfm.evaluation.student_cache import Student, StudentMemory, students_key
from ncfm.evaluation.students import EvaluationResult, equal_steps, evaluate

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
