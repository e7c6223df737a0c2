"""Scores beside the accuracy, and what may be said from a handful of students.

Four families, all pure functions of numbers and tensors: the DD-Ranking scores, what a network's logits tell beside the
top-1 accuracy, the comparison of two sets of students, and the agreement of two rankings. Accuracies are fractions.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncfm._checks import NcfmError, check_at_least, check_fraction, check_labels
from ncfm._seeding import generator
from ncfm._typing import Labels

ROUNDING = 1e-12
"""Accuracies are counts over a test split, so that two of them closer than this differ by rounding only."""


class Estimate(NamedTuple):
    """A number computed from samples, with its 95 % interval; the ends are NaN where a sample has one value."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Two sets of students compared."""

    difference: float  # mean of a less mean of b
    low: float  # lower end of the two-sided 95 % interval of the difference
    high: float  # upper end
    p_value: float  # two-sided: chance of a difference as large as this if the two sets were equally good
    degrees: float  # degrees of freedom of Student's t; n - 1 where paired, Welch's where not
    paired: bool  # whether student i of both had the same seed


class RankCorrelation(NamedTuple):
    """How far two measurements of the same items agree in their order, from -1 (reversed) to 1 (the same)."""

    spearman: Estimate  # rho: correlation of the ranks
    kendall: Estimate  # tau-b: share of pairs in the same order less that of pairs in the opposite order


class _Contrast(NamedTuple):
    """A weighted sum of means."""

    value: float
    error: float  # its standard error
    degrees: float  # degrees of freedom of the error


# --- DD-Ranking ---------------------------------------------------------------------------------------------


def hard_label_recovery(full_hard: float, synthetic_hard: float) -> float:
    """HLR, what is lost against the full set when both are trained with hard labels: smaller is better.

        HLR = full_hard - synthetic_hard

    Args:
        full_hard: accuracy of students of the full real set, class indices as labels; a fraction.
        synthetic_hard: accuracy of students of the synthetic set, class indices as labels; a fraction.

    Raises:
        NcfmError: for accuracies that are no fractions.

    Reference: Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025, arXiv 2505.13300.

    >>> round(hard_label_recovery(0.85, 0.65), 9)
    0.2
    """
    _check_accuracies([full_hard], "full_hard")
    _check_accuracies([synthetic_hard], "synthetic_hard")
    return full_hard - synthetic_hard


def improvement_over_random(synthetic: float, random: float) -> float:
    """IOR, what is gained over random real images under one and the same recipe: larger is better.

        IOR = synthetic - random

    Args:
        synthetic: accuracy of students of the synthetic set with the method's own labels and recipe; a fraction.
        random: the same for random real images with labels made in the same way; a fraction. They must take as much
            *storage* as the synthetic set, not be as many images as it decodes to.

    Raises:
        NcfmError: for accuracies that are no fractions.

    Reference: DD-Ranking, see `hard_label_recovery`.

    >>> improvement_over_random(0.75, 0.5)
    0.25
    """
    _check_accuracies([synthetic], "synthetic")
    _check_accuracies([random], "random")
    return synthetic - random


def label_robust_score(hlr: float, ior: float, *, weight: float = 0.5) -> float:
    """LRS, one number for recovery and improvement that soft labels alone cannot raise.

        alpha = weight IOR - (1 - weight) HLR,    LRS = (e^alpha - e^-1) / (e - e^-1)

    0 for the worst case (alpha = -1), 1 for the best (alpha = 1), 1 / (1 + e) = 0.269 where the two terms balance.

    Published values are not always comparable: the package (ddranking 0.2.0) passes percents into the exponential.

    Args:
        hlr: of `hard_label_recovery`, in [-1, 1].
        ior: of `improvement_over_random`, in [-1, 1].
        weight: w in [0, 1], the part of the improvement.

    Raises:
        NcfmError: for numbers out of range, percents above all.

    Reference: DD-Ranking, see `hard_label_recovery`.

    >>> label_robust_score(-1.0, 1.0), label_robust_score(1.0, -1.0)
    (1.0, 0.0)
    """
    check_fraction(weight, "weight")
    for value, name in ((hlr, "hlr"), (ior, "ior")):
        if not -1 <= value <= 1:
            raise NcfmError(
                f"{name} must be a difference of fractions, in [-1, 1], got {value}; divide percents by 100."
            )
    return _normalised(weight * ior - (1 - weight) * hlr)


def augmentation_robust_score(
    synthetic_augmented: float,
    random_augmented: float,
    synthetic_plain: float,
    random_plain: float,
    *,
    weight: float = 0.5,
) -> float:
    """ARS, the improvement over random with and without augmentation: an augmentation alone cannot raise it.

        beta = weight (synthetic_augmented - random_augmented) + (1 - weight) (synthetic_plain - random_plain)
        ARS = (e^beta - e^-1) / (e - e^-1)

    Published values are not always comparable: the package (ddranking 0.2.0) passes percents into the exponential.

    Args:
        synthetic_augmented, random_augmented: accuracies of students trained with augmentation; fractions.
        synthetic_plain, random_plain: accuracies of students trained without; fractions.
        weight: gamma in [0, 1], the part of the augmented recipe.

    Raises:
        NcfmError: for accuracies that are no fractions, or a weight out of range.

    Reference: DD-Ranking, see `hard_label_recovery`.

    >>> augmentation_robust_score(1.0, 0.0, 1.0, 0.0), augmentation_robust_score(0.0, 1.0, 0.0, 1.0)
    (1.0, 0.0)
    """
    check_fraction(weight, "weight")
    augmented = improvement_over_random(synthetic_augmented, random_augmented)
    plain = improvement_over_random(synthetic_plain, random_plain)
    return _normalised(weight * augmented + (1 - weight) * plain)


def label_robust_interval(
    full_hard: Sequence[float],
    synthetic_hard: Sequence[float],
    random: Sequence[float],
    *,
    synthetic: Sequence[float] | None = None,
    weight: float = 0.5,
    paired: bool = False,
) -> Estimate:
    """`label_robust_score` of the mean accuracies, with a 95 % interval for the spread over students.

    The score is an increasing function of alpha, and alpha a weighted sum of means. So alpha gets a t interval (the
    delta method, here without anything to linearise; degrees of freedom after Welch and Satterthwaite), whose ends are
    mapped to scores. Not a bootstrap: resampling a few students knows too little of their spread, and its percentiles
    hold the true score in 81 % of cases for three students and 87 % for five instead of 95 (simulated).

    Args:
        full_hard: accuracies of the students of the full set, hard labels.
        synthetic_hard: of the synthetic set, hard labels.
        random: of random real images under the method's own recipe and labels.
        synthetic: of the synthetic set under the method's own recipe and labels; None if those are the very students
            of ``synthetic_hard``, whose chance errors then count in both terms.
        weight: w in [0, 1].
        paired: student i has the same seed in all samples. Then alpha is computed for each student, which takes any
            dependence between the samples into account; without, they are taken as independent.

    Returns:
        Score and interval; its ends are NaN if a sample that counts has one student.

    Raises:
        NcfmError: for accuracies that are no fractions, no students, or unequal lengths of paired samples.

    Reference: DD-Ranking, see `hard_label_recovery`; Welch, "The generalization of 'Student's' problem when several
    different population variances are involved", Biometrika 1947.
    """
    check_fraction(weight, "weight")
    terms = {"full_hard": (weight - 1, full_hard), "random": (-weight, random)}
    if synthetic is None or list(synthetic) == list(synthetic_hard):
        terms["synthetic_hard"] = (1.0, synthetic_hard)
    else:
        terms |= {"synthetic_hard": (1 - weight, synthetic_hard), "synthetic": (weight, synthetic)}
    return _score_interval(terms, paired)


def augmentation_robust_interval(
    synthetic_augmented: Sequence[float],
    random_augmented: Sequence[float],
    synthetic_plain: Sequence[float],
    random_plain: Sequence[float],
    *,
    weight: float = 0.5,
    paired: bool = False,
) -> Estimate:
    """`augmentation_robust_score` of the mean accuracies, with a 95 % interval as in `label_robust_interval`.

    Args:
        synthetic_augmented, random_augmented: accuracies of students trained with augmentation.
        synthetic_plain, random_plain: accuracies of students trained without.
        weight: gamma in [0, 1].
        paired: student i has the same seed in all four samples.

    Raises:
        NcfmError: for accuracies that are no fractions, no students, or unequal lengths of paired samples.
    """
    check_fraction(weight, "weight")
    terms = {
        "synthetic_augmented": (weight, synthetic_augmented),
        "random_augmented": (-weight, random_augmented),
        "synthetic_plain": (1 - weight, synthetic_plain),
        "random_plain": (weight - 1, random_plain),
    }
    return _score_interval(terms, paired)


def _normalised(alpha: float) -> float:
    """(e^alpha - e^-1) / (e - e^-1), both sides times e: exactly 0 at -1 and 1 at 1."""
    return math.expm1(min(max(alpha, -1.0), 1.0) + 1) / math.expm1(2)


def _score_interval(terms: dict[str, tuple[float, Sequence[float]]], paired: bool) -> Estimate:
    for name, (_, sample) in terms.items():
        check_at_least(len(sample), 1, f"number of students of {name}")
        _check_accuracies(sample, name)
    # A term of weight 0 does not count: its single student must not cost the interval.
    alpha = _contrast([term for term in terms.values() if term[0] != 0], paired)
    low, high = _t_interval(alpha)
    if math.isnan(low):
        return Estimate(_normalised(alpha.value), math.nan, math.nan)
    return Estimate(_normalised(alpha.value), _normalised(low), _normalised(high))


# --- from logits --------------------------------------------------------------------------------------------


def confusion_matrix(logits: Tensor, labels: Labels) -> Tensor:
    """Counts (C, C), int64, on the CPU: row the true class, column the predicted one.

    Args:
        logits: (n, C), any device.
        labels: (n,) int64, 0 .. C-1.

    Raises:
        NcfmError: for shapes that do not fit, no images, labels out of range, or logits that are not finite.

    >>> confusion_matrix(torch.tensor([[2.0, 1.0], [0.0, 3.0], [4.0, 0.0]]), torch.tensor([0, 1, 1]))
    tensor([[1, 0],
            [1, 1]])
    """
    _check_logits(logits, labels)
    num_classes = logits.shape[1]
    cells = labels.cpu() * num_classes + logits.argmax(1).cpu()  # (n,) row-major
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def per_class_accuracy(confusion: Tensor) -> Tensor:
    """Share of the images of each class that are classified right, (C,) float64; NaN for a class without images.

    Args:
        confusion: (C, C) counts of `confusion_matrix`, or a sum of several.

    Raises:
        NcfmError: for a matrix that is not square.

    >>> per_class_accuracy(torch.tensor([[3, 1], [0, 0]]))
    tensor([0.7500,    nan], dtype=torch.float64)
    """
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise NcfmError(f"Expected a confusion matrix of shape (C, C), got {tuple(confusion.shape)}.")
    confusion = confusion.double()
    return confusion.diagonal() / confusion.sum(1)


def expected_calibration_error(logits: Tensor, labels: Labels, *, bins: int = 15) -> float:
    """ECE in [0, 1], the mean gap between how sure a network is and how often it is right.

        ECE = sum over bins b of  (n_b / n) | accuracy_b - confidence_b |

    The confidence of an image is the probability of the predicted class; bin b holds the images with a confidence in
    ((b - 1) / bins, b / bins]. Chance alone keeps it above 0: compare only values of equally many images and bins.

    Args:
        logits: (n, C), any device.
        labels: (n,) int64, 0 .. C-1.
        bins: number of bins of equal width.

    Raises:
        NcfmError: for shapes that do not fit, no images, labels out of range, logits that are not finite, or no bins.

    Reference: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv 1706.04599.

    >>> expected_calibration_error(torch.tensor([[0.0, 1000.0], [1000.0, 0.0]]), torch.tensor([1, 1]))
    0.5
    """
    check_at_least(bins, 1, "bins")
    _check_logits(logits, labels)
    # Double precision on the CPU: the sums cancel, and not every accelerator has it.
    confidence, predicted = logits.detach().cpu().double().softmax(1).max(1)
    excess = (predicted == labels.cpu()).double() - confidence  # summed over a bin: n_b (accuracy_b - confidence_b)
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    gaps = torch.bincount(torch.bucketize(confidence, edges), weights=excess, minlength=bins)
    return min(float(gaps.abs().sum()) / len(labels), 1.0)


def _check_logits(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels) or logits.numel() == 0:
        raise NcfmError(
            f"Expected logits of shape (n, C) and labels of shape (n,), at least one of each, "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}."
        )
    check_labels(labels, logits.shape[1])
    if not bool(torch.isfinite(logits).all()):
        raise NcfmError("The logits hold NaN or infinity: the network diverged in training; lower its learning rate.")


# --- two sets of students -----------------------------------------------------------------------------------


def compare_runs(a: Sequence[float], b: Sequence[float], *, paired: bool = True) -> Comparison:
    """Whether the students of set A are better than those of set B: difference, 95 % interval and p value.

    Paired (student i of both sets has the same initial weights and order): Student's t test of the n differences,

        difference +- t(0.975; n - 1) s / sqrt(n),    s the deviation of the differences.

    What the seed does to both students alike cancels, so that the same students tell finer differences. Unpaired:
    Welch's test, which does not take the two spreads as equal.

    Where nothing varies the interval has no width, and p is 1 for no difference and 0 for any other.

    Args:
        a: accuracies of the students of set A; fractions.
        b: accuracies of the students of set B; as many if ``paired``.
        paired: whether student i of both has the same seed.

    Raises:
        NcfmError: for fewer than 2 students, unequal lengths if paired, or accuracies that are no fractions.

    Reference: Student, "The probable error of a mean", Biometrika 1908; Welch, see `label_robust_interval`.

    >>> found = compare_runs([0.62, 0.64, 0.63], [0.60, 0.61, 0.62])
    >>> f"{found.difference:.3f}, from {found.low:.3f} to {found.high:.3f}, p = {found.p_value:.3f}"
    '0.020, from -0.005 to 0.045, p = 0.074'
    """
    for sample, name in ((a, "a"), (b, "b")):
        check_at_least(len(sample), 2, f"number of students of {name}")
        _check_accuracies(sample, name)
    found = _contrast([(1.0, a), (-1.0, b)], paired)
    return Comparison(found.value, *_t_interval(found), _p_value(found), found.degrees, paired)


def runs_needed(std: float, difference: float, *, power: float = 0.8, level: float = 0.05, paired: bool = True) -> int:
    """Students of each set that show a true difference with the given probability: the smallest such number.

    The two-sided t statistic of n students follows a noncentral t distribution of

        paired:    n - 1 degrees of freedom,  noncentrality difference / std * sqrt(n)
        unpaired:  2 n - 2,                   noncentrality difference / std * sqrt(n / 2)

    and the power is the probability that it lies outside the critical values of ``level``.

    Args:
        std: deviation of the paired differences if ``paired``, else of the accuracy over students (of either set).
        difference: the difference to be seen, in the same unit; its sign does not matter.
        power: probability of seeing it, above ``level`` and below 1.
        level: probability of seeing a difference where there is none.
        paired: as in `compare_runs`.

    Raises:
        NcfmError: for no difference, a negative deviation, or probabilities that make no sense.

    Reference: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd edition, 1988, chapter 2.

    >>> runs_needed(std=1.0, difference=0.5), runs_needed(std=1.0, difference=0.5, paired=False)
    (34, 64)
    """
    if not (math.isfinite(std) and std >= 0):
        raise NcfmError(f"std must be at least 0 and finite, got {std}.")
    if not (math.isfinite(difference) and difference != 0):
        raise NcfmError(f"difference must be finite and not 0, got {difference}; no number of students shows none.")
    if not 0 < level < power < 1:
        raise NcfmError(f"Expected 0 < level < power < 1, got a level of {level} and a power of {power}.")
    if std == 0:
        return 2  # without spread every difference shows
    effect = abs(difference) / std
    if effect < 1e-3:
        raise NcfmError(f"A difference of {difference} against a deviation of {std} takes millions of students to see.")
    return _smallest(lambda n: _power(effect, n, level, paired) >= power, start=2)


def _power(effect: float, n: int, level: float, paired: bool) -> float:
    """Probability that the two-sided t test of n students (of each set) sees ``effect`` standard deviations."""
    from scipy.stats import nct  # slow to import
    from scipy.stats import t as student_t

    degrees = n - 1 if paired else 2 * n - 2
    shift = effect * math.sqrt(n if paired else n / 2)
    critical = float(student_t.isf(level / 2, degrees))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of series cut short for a huge shift, where the sum is 1
        seen = float(nct.sf(critical, degrees, shift))
        # The other tail is below the normal one at -shift, nothing beyond 5; from 7 on scipy may return NaN for it.
        return seen + float(nct.cdf(-critical, degrees, shift)) if shift < 5 else seen


def _smallest(enough: Callable[[int], bool], start: int) -> int:
    """The smallest n >= start that is enough, if all above one that is enough are: doubling, then halving."""
    low, high = start - 1, start  # low is not enough
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check_accuracies(values: Sequence[float], name: str) -> None:
    for value in values:
        if not 0 <= value <= 1:
            raise NcfmError(f"{name} must be an accuracy as a fraction in [0, 1], got {value}; divide percents by 100.")


def _contrast(terms: Sequence[tuple[float, Sequence[float]]], paired: bool) -> _Contrast:
    """Weighted sum of the means of samples, its standard error and degrees of freedom.

    Paired: of the weighted sums of each student. Unpaired: with the variances of the samples added, each by the square
    of its weight over its length, and degrees of freedom that give the sum about the right spread
    (Welch-Satterthwaite).
    """
    if paired:
        lengths = [len(sample) for _, sample in terms]
        if len(set(lengths)) > 1:
            raise NcfmError(
                f"Paired students must be equally many in every set, got {', '.join(map(str, lengths))}; "
                "compare them unpaired, or train the missing ones."
            )
        students = zip(*([weight * v for v in sample] for weight, sample in terms), strict=True)
        terms = [(1.0, [math.fsum(student) for student in students])]
    value = math.fsum(weight * statistics.fmean(sample) for weight, sample in terms)
    if any(len(sample) < 2 for _, sample in terms):
        return _Contrast(value, math.nan, math.nan)
    parts = [weight**2 * statistics.variance(sample) / len(sample) for weight, sample in terms]
    rest = [len(sample) - 1 for _, sample in terms]
    error = math.sqrt(math.fsum(parts))
    if error < ROUNDING:
        return _Contrast(value, 0.0, float(sum(rest)))
    return _Contrast(
        value, error, 1 / math.fsum((part / error**2) ** 2 / r for part, r in zip(parts, rest, strict=True))
    )


def _t_interval(contrast: _Contrast) -> tuple[float, float]:
    """Ends of the two-sided 95 % t interval; NaN where there is no error to go by."""
    from scipy.stats import t as student_t  # slow to import

    half = float(student_t.ppf(0.975, contrast.degrees)) * contrast.error
    return contrast.value - half, contrast.value + half


def _p_value(contrast: _Contrast) -> float:
    """Two-sided probability of a value as far from 0."""
    from scipy.stats import t as student_t  # slow to import

    if contrast.error == 0:
        return float(abs(contrast.value) < ROUNDING)
    return float(2 * student_t.sf(abs(contrast.value) / contrast.error, contrast.degrees))


# --- rankings -----------------------------------------------------------------------------------------------


def rank_correlation(
    x: Sequence[float], y: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> RankCorrelation:
    """Spearman's rho and Kendall's tau-b of two measurements of the same items, with bootstrap 95 % intervals.

    For an architecture search: x the accuracies of N networks after training on the synthetic set, y those after
    training on the full one. Ties count as half in order, half out of order (mid-ranks; tau-b).

    An interval holds the middle 95 % of the values in ``resamples`` draws of N items with replacement. It is for the
    choice of items, not for the chance errors of the accuracies themselves, and rough for fewer than about 20 items. A
    draw in which x or y is constant has no ranking and is left out.

    Args:
        x, y: (N,) numbers in any unit, N >= 3; item i is the same in both.
        resamples: number of draws, at least 100.
        seed: of the draws.

    Raises:
        NcfmError: for fewer than 3 items, unequal lengths, values that are not finite, or all values equal.

    Reference: Kendall, "The treatment of ties in ranking problems", Biometrika 1945; Efron, "Bootstrap methods: another
    look at the jackknife", Annals of Statistics 1979.

    >>> rank_correlation([0.5, 0.6, 0.7, 0.8], [0.55, 0.71, 0.68, 0.9]).spearman.value
    0.8
    """
    check_at_least(resamples, 100, "resamples")
    if len(x) != len(y):
        raise NcfmError(f"Expected one x and one y for every item, got {len(x)} and {len(y)}.")
    check_at_least(len(x), 3, "number of items to rank")
    orders = [_order(values, name) for values, name in ((x, "x"), (y, "y"))]
    n = len(x)
    draws = torch.randint(n, (resamples, n), generator=generator(seed, "rank_correlation"))
    counts = torch.zeros(resamples + 1, n, dtype=torch.float64)
    counts[0] = 1  # the items themselves
    counts[1:].scatter_add_(1, draws, torch.ones(resamples, n, dtype=torch.float64))
    return RankCorrelation(_percentiles(_spearman(counts, *orders)), _percentiles(_kendall(counts, *orders)))


def _order(values: Sequence[float], name: str) -> Tensor:
    """(N, N) signs of value i less value j."""
    column = torch.tensor(list(values), dtype=torch.float64)
    if not bool(torch.isfinite(column).all()):
        raise NcfmError(f"The values of {name} must be finite to be ranked; drop the items whose training diverged.")
    if bool((column == column[0]).all()):
        raise NcfmError(f"A ranking needs differing values; all {len(column)} of {name} are {float(column[0])}.")
    return torch.sign(column[:, None] - column[None, :])


def _spearman(counts: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(B,) rho of B samples that hold item i as often as ``counts`` (B, N) says.

    An item's values below it less those above it are twice its mid-rank, centred: one product ranks all samples.
    """
    rank_x, rank_y = counts @ x.T, counts @ y.T  # (B, N)
    covariance = (counts * rank_x * rank_y).sum(1)
    return covariance / ((counts * rank_x**2).sum(1) * (counts * rank_y**2).sum(1)).sqrt()


def _kendall(counts: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(B,) tau-b of the same samples: sums over all pairs of items are quadratic forms in the counts."""

    def pairs(signs: Tensor) -> Tensor:
        return ((counts @ signs) * counts).sum(1)

    return pairs(x * y) / (pairs(x.abs()) * pairs(y.abs())).sqrt()


def _percentiles(values: Tensor) -> Estimate:
    """The first value, and the ends of the middle 95 % of the others, those that are NaN left out."""
    ends = torch.tensor([0.025, 0.975], dtype=values.dtype)
    low, high = torch.nanquantile(values[1:], ends).tolist()
    return Estimate(float(values[0]), low, high)
