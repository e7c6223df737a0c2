"""Accuracies as people say them."""

from __future__ import annotations

import math
from collections.abc import Mapping


def mean_of(mean: float, std: float, low: float | None) -> str:
    """An accuracy in percent with its deviation; of one student, which has no interval, without.

    Args:
        mean, std: fractions.
        low: of the 95 % interval; None or NaN if there is none.

    >>> mean_of(0.665, 0.005, 0.653), mean_of(0.667, 0.0, None)
    ('66.5 ± 0.5', '66.7')
    """
    alone = low is None or math.isnan(low)
    return f"{100 * mean:.1f}" + ("" if alone else f" ± {100 * std:.1f}")


def interval_of(low: float | None, high: float | None) -> str:
    """A 95 % interval in percent; - for none.

    >>> interval_of(0.653, 0.677), interval_of(None, None)
    ('65.3 to 67.7', '-')
    """
    if low is None or high is None or math.isnan(low):
        return "-"
    return f"{100 * low:.1f} to {100 * high:.1f}"


def of_row(row: Mapping[str, str]) -> tuple[str, str]:
    """Accuracy and interval of a row of a results file."""
    mean, std = float(row["accuracy_mean"]), float(row["accuracy_std"] or "nan")
    low, high = (float(row[key]) if row[key] else None for key in ("accuracy_low", "accuracy_high"))
    return mean_of(mean, std, low), interval_of(low, high)
