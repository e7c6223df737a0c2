"""The scores of DD-Ranking, as pure functions of accuracies, which are fractions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ncfm._utils.checks import InputError, check_at_least, check_fraction
from ncfm.evaluation.statistics import Estimate, check_accuracies, contrast, t_interval


def hard_label_recovery(full_hard: float, synthetic_hard: float) -> float:
    """HLR, hard label recovery: the accuracy lost against the full dataset with hard labels; smaller is better.

        HLR = full_hard - synthetic_hard

    Args:
        full_hard: accuracy of students trained on the full real dataset with class indices as labels; a fraction.
        synthetic_hard: accuracy of students trained on the synthetic set with class indices as labels; a fraction.

    Raises:
        NcfmError: for accuracies that are not fractions.

    Reference: Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025, arXiv 2505.13300.

    >>> round(hard_label_recovery(0.85, 0.65), 9)
    0.2
    """
    check_accuracies([full_hard], "full_hard")
    check_accuracies([synthetic_hard], "synthetic_hard")
    return full_hard - synthetic_hard


def improvement_over_random(synthetic: float, random: float) -> float:
    """IOR, improvement over random real images under the same recipe; larger is better.

        IOR = synthetic - random

    Args:
        synthetic: accuracy of students of the synthetic set with the method's own labels and recipe; a fraction.
        random: the same for random real images with labels of the same kind; a fraction. They must take as much
            *storage* as the synthetic set, instead of being as many as its decoded images.

    Raises:
        NcfmError: for accuracies that are not fractions.

    Reference: DD-Ranking, see `hard_label_recovery`.

    >>> improvement_over_random(0.75, 0.5)
    0.25
    """
    check_accuracies([synthetic], "synthetic")
    check_accuracies([random], "random")
    return synthetic - random


def label_robust_score(hlr: float, ior: float, *, weight: float = 0.5) -> float:
    """LRS, label-robust score: recovery and improvement in one number that soft labels alone do not increase.

        alpha = weight IOR - (1 - weight) HLR,    LRS = (e^alpha - e^-1) / (e - e^-1)

    0 for the worst case (alpha = -1), 1 for the best (alpha = 1), 1 / (1 + e) = 0.269 where the two terms balance.

    Published values are not always comparable: the package (ddranking 0.2.0) passes percents into the exponential.

    Args:
        hlr: of `hard_label_recovery`, in [-1, 1].
        ior: of `improvement_over_random`, in [-1, 1].
        weight: w in [0, 1], of the improvement.

    Raises:
        NcfmError: for numbers out of range, such as percents.

    Reference: DD-Ranking, see `hard_label_recovery`.

    >>> label_robust_score(-1.0, 1.0), label_robust_score(1.0, -1.0)
    (1.0, 0.0)
    """
    check_fraction(weight, "weight")
    for value, name in ((hlr, "hlr"), (ior, "ior")):
        if not -1 <= value <= 1:
            raise InputError(
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
    """ARS, augmentation-robust score: improvement over random with and without augmentation.

        beta = weight (synthetic_augmented - random_augmented) + (1 - weight) (synthetic_plain - random_plain)
        ARS = (e^beta - e^-1) / (e - e^-1)

    Published values are not always comparable: the package (ddranking 0.2.0) passes percents into the exponential.

    Args:
        synthetic_augmented, random_augmented: accuracies of students trained with augmentation; fractions.
        synthetic_plain, random_plain: accuracies of students trained without; fractions.
        weight: gamma in [0, 1], of the augmented recipe.

    Raises:
        NcfmError: for accuracies that are not fractions, or a weight out of range.

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
    """`label_robust_score` of the mean accuracies, with a 95 % interval for the variation over students.

    The score is an increasing function of alpha, and alpha is a weighted sum of means. The t interval of alpha (with
    degrees of freedom by Welch and Satterthwaite) is mapped to an interval of scores. A bootstrap is not used: with few
    students its percentiles cover the true score too rarely, in 81 % of cases for three students and 87 % for five
    instead of 95 % (simulated).

    Args:
        full_hard: accuracies of the students of the full set, hard labels.
        synthetic_hard: of the synthetic set, hard labels.
        random: of random real images under the method's own recipe and labels.
        synthetic: of the synthetic set under the method's own recipe and labels; None if those are the students of
            ``synthetic_hard``, whose errors then enter both terms.
        weight: w in [0, 1].
        paired: whether student i has the same seed in all samples. Then alpha is computed per student, which accounts
            for dependence between the samples; otherwise they are assumed to be independent.

    Returns:
        Score and interval; its ends are NaN if a sample with nonzero weight has one student.

    Raises:
        NcfmError: for accuracies that are not fractions, no students, or unequal lengths of paired samples.

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
        paired: whether student i has the same seed in all four samples.

    Raises:
        NcfmError: for accuracies that are not fractions, no students, or unequal lengths of paired samples.
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
    """(e^alpha - e^-1) / (e - e^-1), expanded by e: exactly 0 at -1 and 1 at 1."""
    return math.expm1(min(max(alpha, -1.0), 1.0) + 1) / math.expm1(2)


def _score_interval(terms: dict[str, tuple[float, Sequence[float]]], paired: bool) -> Estimate:
    for name, (_, sample) in terms.items():
        check_at_least(len(sample), 1, f"number of students of {name}")
        check_accuracies(sample, name)
    # Terms of weight 0 are dropped: a single student there does not prevent an interval.
    alpha = contrast([term for term in terms.values() if term[0] != 0], paired)
    low, high = t_interval(alpha)
    if math.isnan(low):
        return Estimate(_normalised(alpha.value), math.nan, math.nan)
    return Estimate(_normalised(alpha.value), _normalised(low), _normalised(high))
