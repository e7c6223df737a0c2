"""Statistics of few students: intervals, comparison of two sets, required number of students.

Pure functions of accuracies, which are fractions.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.types import Interval

ROUNDING = 1e-12
"""Accuracies are counts over a test split: a smaller difference is rounding."""


class Estimate(NamedTuple):
    """A number computed from samples, with its 95 % interval; the ends are NaN if a sample has one value."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Comparison of the students of two sets."""

    difference: float  # mean of a minus mean of b
    low: float  # lower end of the two-sided 95 % interval of the difference
    high: float  # upper end
    p_value: float  # two-sided: probability of a difference as large as this if the two sets are equally good
    degrees: float  # degrees of freedom of Student's t; n - 1 where paired, Welch's where not
    paired: bool  # whether student i of both had the same seed


class Contrast(NamedTuple):
    """A weighted sum of means."""

    value: float
    error: float  # its standard error
    degrees: float  # degrees of freedom of the error


def interval(values: Sequence[float]) -> Interval:
    """Mean, sample standard deviation and two-sided 95 % interval by Student's t.

    One value has no interval: low and high are NaN.

    Raises:
        NcfmError: for no values.

    >>> interval([0.5, 0.7]).mean
    0.6
    """
    check_at_least(len(values), 1, "number of values")
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, 0.0, math.nan, math.nan)
    from scipy.stats import t as student_t  # slow to import

    std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(student_t.ppf(0.975, n - 1)) * std / math.sqrt(n)
    return Interval(mean, std, mean - half, mean + half)


def accuracy_interval(values: Sequence[float]) -> Interval:
    """`interval` of accuracies, with ends in [0, 1].

    Student's t interval holds wherever it stays within [0, 1]; of few students near an end it may not. Then its ends
    are those of the t interval of the logit of the mean,

        logit(m) +- t(0.975; n - 1) s / (sqrt(n) m (1 - m)),    logit(m) = log(m / (1 - m)),

    transformed back, where the error of the logit is that of the mean by the delta method.

    Args:
        values: accuracies of n students; fractions.

    Raises:
        NcfmError: for no values, or values that are not fractions.

    Reference: Agresti, "Categorical Data Analysis", 3rd edition, 2013, section 3.1 (delta method, logit intervals).

    >>> found = accuracy_interval([0.98, 1.0])
    >>> f"{found.mean:.2f}, from {found.low:.3f} to {found.high:.4f}"
    '0.99, from 0.000 to 1.0000'
    """
    check_accuracies(values, "values")
    return within_unit(interval(values), len(values))


def within_unit(spread: Interval, number: int) -> Interval:
    """An interval of the mean of ``number`` accuracies as `accuracy_interval` returns it, from its mean and spread."""
    mean = spread.mean
    if math.isnan(spread.low) or (spread.low >= 0 and spread.high <= 1) or not 0 < mean < 1:
        return spread
    from scipy.stats import t as student_t  # slow to import

    half = float(student_t.ppf(0.975, number - 1)) * spread.std / (math.sqrt(number) * mean * (1 - mean))
    logit = math.log(mean / (1 - mean))
    low, high = ((1 + math.tanh((logit + shift) / 2)) / 2 for shift in (-half, half))  # the logistic function
    return spread._replace(low=low, high=high)


def compare_runs(a: Sequence[float], b: Sequence[float], *, paired: bool = True) -> Comparison:
    """Whether the students of set A are better than those of set B: difference, 95 % interval and p value.

    Paired (student i of both sets has the same initial weights and order): Student's t test of the n differences,

        difference +- t(0.975; n - 1) s / sqrt(n),    s the standard deviation of the differences.

    Effects of the seed on both students cancel, so that smaller differences become significant. Unpaired: Welch's test,
    which does not assume equal variances.

    Without variation the interval has no width, and p is 1 for no difference and 0 for any other.

    Args:
        a: accuracies of the students of set A; fractions.
        b: accuracies of the students of set B; as many if ``paired``.
        paired: whether student i of both has the same seed.

    Raises:
        NcfmError: for fewer than 2 students, unequal lengths if paired, or accuracies that are not fractions.

    Reference: Student, "The probable error of a mean", Biometrika 1908; Welch, see `label_robust_interval`.

    >>> found = compare_runs([0.62, 0.64, 0.63], [0.60, 0.61, 0.62])
    >>> f"{found.difference:.3f}, from {found.low:.3f} to {found.high:.3f}, p = {found.p_value:.3f}"
    '0.020, from -0.005 to 0.045, p = 0.074'
    """
    for sample, name in ((a, "a"), (b, "b")):
        check_at_least(len(sample), 2, f"number of students of {name}")
        check_accuracies(sample, name)
    found = contrast([(1.0, a), (-1.0, b)], paired)
    return Comparison(found.value, *t_interval(found), p_value(found), found.degrees, paired)


def compare_summaries(a: tuple[float, float, int], b: tuple[float, float, int]) -> Comparison:
    """Welch's test from the mean, standard deviation and number of students of each set, as in results rows.

    Args:
        a: mean accuracy (a fraction), standard deviation, number of students of set A.
        b: the same for set B.

    Raises:
        NcfmError: for fewer than 2 students, or accuracies that are not fractions.

    >>> found = compare_summaries((0.63, 0.01, 3), (0.61, 0.01, 3))
    >>> f"{found.difference:.3f}, from {found.low:.3f} to {found.high:.3f}, p = {found.p_value:.3f}"
    '0.020, from -0.003 to 0.043, p = 0.070'
    """
    for (mean, _, runs), name in ((a, "a"), (b, "b")):
        check_at_least(runs, 2, f"number of students of {name}")
        check_accuracies([mean], name)
    found = _combined(a[0] - b[0], [std**2 / runs for _, std, runs in (a, b)], [a[2] - 1, b[2] - 1])
    return Comparison(found.value, *t_interval(found), p_value(found), found.degrees, paired=False)


def runs_needed(std: float, difference: float, *, power: float = 0.8, level: float = 0.05, paired: bool = True) -> int:
    """Smallest number of students per set that detects a true difference with the given probability.

    The two-sided t statistic of n students follows a noncentral t distribution of

        paired:    n - 1 degrees of freedom,  noncentrality difference / std * sqrt(n)
        unpaired:  2 n - 2,                   noncentrality difference / std * sqrt(n / 2)

    and the power is the probability that it lies outside the critical values of ``level``.

    Args:
        std: standard deviation of the paired differences if ``paired``, else of the accuracy over students of each set.
        difference: the difference to detect, in the same unit; its sign does not matter.
        power: probability of detecting it, above ``level`` and below 1.
        level: probability of detecting a difference where there is none.
        paired: as in `compare_runs`.

    Raises:
        NcfmError: for no difference, a negative standard deviation, or invalid probabilities.

    Reference: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd edition, 1988, chapter 2.

    >>> runs_needed(std=1.0, difference=0.5), runs_needed(std=1.0, difference=0.5, paired=False)
    (34, 64)
    """
    if not (math.isfinite(std) and std >= 0):
        raise InputError(f"std must be at least 0 and finite, got {std}.")
    if not (math.isfinite(difference) and difference != 0):
        raise InputError(f"difference must be finite and not 0, got {difference}.")
    if not 0 < level < power < 1:
        raise InputError(f"Expected 0 < level < power < 1, got a level of {level} and a power of {power}.")
    if std == 0:
        return 2  # without variation every difference is significant
    effect = abs(difference) / std
    if effect < 1e-3:
        raise InputError(f"A difference of {difference} at a standard deviation of {std} needs millions of students.")
    return _smallest(lambda n: _power(effect, n, level, paired) >= power, start=2)


def _power(effect: float, n: int, level: float, paired: bool) -> float:
    """Probability that the two-sided t test of n students per set detects ``effect`` standard deviations."""
    from scipy.stats import nct  # slow to import
    from scipy.stats import t as student_t

    degrees = n - 1 if paired else 2 * n - 2
    shift = effect * math.sqrt(n if paired else n / 2)
    critical = float(student_t.isf(level / 2, degrees))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of truncated series for a large shift, where the sum is 1
        seen = float(nct.sf(critical, degrees, shift))
        # The other tail is below the normal one at -shift, nothing beyond 5; from 7 on scipy may return NaN for it.
        return seen + float(nct.cdf(-critical, degrees, shift)) if shift < 5 else seen


def _smallest(enough: Callable[[int], bool], start: int) -> int:
    """The smallest n >= start that is enough, for a monotonic criterion: doubling, then bisection."""
    low, high = start - 1, start  # low is not enough
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def check_accuracies(values: Sequence[float], name: str) -> None:
    """Raise NcfmError unless all values are accuracies in [0, 1]."""
    for value in values:
        if not 0 <= value <= 1:
            raise InputError(f"{name} must be an accuracy, a fraction in [0, 1], got {value}; divide percents by 100.")


def contrast(terms: Sequence[tuple[float, Sequence[float]]], paired: bool) -> Contrast:
    """Weighted sum of the means of samples, its standard error and degrees of freedom.

    Paired: from the weighted sum of each student. Unpaired: from the sum of the variances of the samples, each times
    its squared weight over its length, with degrees of freedom by Welch and Satterthwaite.
    """
    if paired:
        lengths = [len(sample) for _, sample in terms]
        if len(set(lengths)) > 1:
            raise InputError(
                f"Paired samples must have equally many students, got {', '.join(map(str, lengths))}; "
                "compare them unpaired, or train the missing ones."
            )
        students = zip(*([weight * v for v in sample] for weight, sample in terms), strict=True)
        terms = [(1.0, [math.fsum(student) for student in students])]
    value = math.fsum(weight * statistics.fmean(sample) for weight, sample in terms)
    if any(len(sample) < 2 for _, sample in terms):
        return Contrast(value, math.nan, math.nan)
    parts = [weight**2 * statistics.variance(sample) / len(sample) for weight, sample in terms]
    return _combined(value, parts, [len(sample) - 1 for _, sample in terms])


def _combined(value: float, parts: Sequence[float], rest: Sequence[int]) -> Contrast:
    """A sum of means with squared errors ``parts`` and their degrees of freedom ``rest``."""
    error = math.sqrt(math.fsum(parts))
    if error < ROUNDING:
        return Contrast(value, 0.0, float(sum(rest)))
    return Contrast(
        value, error, 1 / math.fsum((part / error**2) ** 2 / r for part, r in zip(parts, rest, strict=True))
    )


def t_interval(contrast: Contrast) -> tuple[float, float]:
    """Ends of the two-sided 95 % t interval; NaN if the error is unknown."""
    from scipy.stats import t as student_t  # slow to import

    half = float(student_t.ppf(0.975, contrast.degrees)) * contrast.error
    return contrast.value - half, contrast.value + half


def p_value(contrast: Contrast) -> float:
    """Two-sided probability of a value as far from 0."""
    from scipy.stats import t as student_t  # slow to import

    if contrast.error == 0:
        return float(abs(contrast.value) < ROUNDING)
    return float(2 * student_t.sf(abs(contrast.value) / contrast.error, contrast.degrees))
