"""Times as people say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A time in the unit that people would use, in about two digits.

    >>> duration(0.35), duration(42), duration(600), duration(9000), duration(207_000)
    ('0.35 s', '42 s', '10 min', '2.5 h', '2.4 days')
    """
    if seconds < 10:
        return f"{seconds:.2g} s"
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < most * size:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} h"
    return f"{seconds / 86400:.1f} days"
