"""Formatting of numbers, times and names for tables and pages."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ncfm.data.named import whole_size


def mean_of(mean: float, std: float, low: float | None) -> str:
    """An accuracy in percent with its standard deviation, which is omitted for a single student.

    Args:
        mean, std: fractions.
        low: lower end of the 95 % interval; None or NaN for a single student.

    >>> mean_of(0.665, 0.005, 0.653), mean_of(0.667, 0.0, None)
    ('66.5 ± 0.5', '66.7')
    """
    alone = low is None or math.isnan(low)
    return f"{100 * mean:.1f}" + ("" if alone else f" ± {100 * std:.1f}")


def interval_of(low: float | None, high: float | None) -> str:
    """A 95 % interval of an accuracy in percent; - for none.

    Rows of earlier versions may have ends outside [0, 1], which are cut off.

    >>> interval_of(0.653, 0.677), interval_of(-0.12, 0.3), interval_of(None, None)
    ('65.3 to 67.7', '0.0 to 30.0', '-')
    """
    if low is None or high is None or math.isnan(low):
        return "-"
    return f"{100 * max(low, 0):.1f} to {100 * min(high, 1):.1f}"


def of_row(row: Mapping[str, str]) -> tuple[str, str]:
    """Accuracy and interval of a row of a results file."""
    mean, std = float(row["accuracy_mean"]), float(row["accuracy_std"] or "nan")
    low, high = (float(row[key]) if row[key] else None for key in ("accuracy_low", "accuracy_high"))
    return mean_of(mean, std, low), interval_of(low, high)


def duration(seconds: float) -> str:
    """A time in a suitable unit, with about two digits.

    >>> duration(0.35), duration(42), duration(600), duration(9000), duration(207_000)
    ('0.35 s', '42 s', '10 min', '2.5 h', '2.4 days')
    """
    if seconds < 10:
        return f"{seconds:.2g} s"
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < most * size:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} h"
    return f"{seconds / 86400:.1f} days"


def spaced(names: str) -> str:
    """A comma-separated list with spaces, for line breaks."""
    return names.replace(",", ", ")


def percent(value: float | None) -> str:
    """A fraction in percent with one digit; - for none.

    >>> percent(0.5), percent(None)
    ('50.0', '-')
    """
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def machine_of(row: Mapping[str, str]) -> str:
    """The machine of a row: "2 cores of AMD EPYC (AVX2)"."""
    return f"{row['threads']} core{'s' * (row['threads'] != '1')} of {row['device']}"


def part_of(row_name: str, row: Mapping[str, str]) -> str:
    """Training images of a row: "1,400 of 9,469", or "all" for the whole dataset."""
    whole, used = whole_size(row_name.partition("-ipc")[0]), int(row["training_images"] or 0)
    return "all" if not used or whole is None or used == whole else f"{used:,} of {whole:,}"
