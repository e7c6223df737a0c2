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
