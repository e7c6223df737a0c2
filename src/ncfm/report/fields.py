"""Values of JSON files that another program may have written, or a person changed."""

from __future__ import annotations

import math
from typing import Any


def number(value: Any) -> float:
    """A number from a file; NaN for anything else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def text(value: Any) -> str | None:
    """A text from a file; None for anything else."""
    return value if isinstance(value, str) else None
