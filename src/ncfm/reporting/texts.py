"""Numbers and names as the report says them."""

from __future__ import annotations

import math


def spaced(names: str) -> str:
    """A list without spaces with places to break a line."""
    return names.replace(",", ", ")


def percent(value: float | None) -> str:
    """A fraction in percent with one digit; - for none.

    >>> percent(0.5), percent(None)
    ('50.0', '-')
    """
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def duration(seconds: float) -> str:
    """A time in the unit that people would use.

    >>> duration(7.25), duration(600), duration(9000)
    ('7.2 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
