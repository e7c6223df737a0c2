"""Scores: values by hand and by slow references, intervals and tests by their rates in simulations."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm.evaluation.classification import confusion_matrix, expected_calibration_error, per_class_accuracy
from ncfm.evaluation.rankings import rank_correlation
from ncfm.evaluation.scores import (
    augmentation_robust_interval,
    augmentation_robust_score,
    hard_label_recovery,
    improvement_over_random,
    label_robust_interval,
    label_robust_score,
)
from ncfm.evaluation.statistics import compare_runs, runs_needed
from strategies import normal, properties, rng, seeds

fractions = st.floats(0, 1)
differences = st.floats(-1, 1)
students = st.lists(st.integers(0, 10_000).map(lambda right: right / 10_000), min_size=2, max_size=6)


def score(alpha):
    """The normalisation as it is printed."""
    return (math.exp(alpha) - math.exp(-1)) / (math.exp(1) - math.exp(-1))


def draw(seed, mean, std, repeats, n):
    """Accuracies (repeats, n) of simulated students, as lists."""
    return (mean + std * normal(seed, repeats, n)).tolist()


# --- DD-Ranking ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "expected"),
    # HLR = 0.85 - 0.65 = 0.2 and IOR = 0.65 - 0.35 = 0.3, so alpha = 0.05, 0.3, -0.2;
    # (e^0.05 - 0.3678794) / 2.3504024 = (1.0512711 - 0.3678794) / 2.3504024, the others with 1.3498588 and 0.8187308.
    [(0.5, 0.2907552), (1.0, 0.4177920), (0.0, 0.1918188)],
)
def test_the_label_robust_score_by_hand(weight, expected):
    hlr, ior = hard_label_recovery(0.85, 0.65), improvement_over_random(0.65, 0.35)
    assert hlr == pytest.approx(0.2)
    assert ior == pytest.approx(0.3)
    assert label_robust_score(hlr, ior, weight=weight) == pytest.approx(expected, abs=1e-7)


def test_the_augmentation_robust_score_by_hand():
    # beta = 0.5 * 0.3 + 0.5 * 0.1 = 0.2; (1.2214028 - 0.3678794) / 2.3504024.
    assert augmentation_robust_score(0.7, 0.4, 0.5, 0.4) == pytest.approx(0.3631393, abs=1e-7)
    # beta = 0.8 * 0.3 + 0.2 * 0.1 = 0.26; e^0.26 = 1.2969301.
    assert augmentation_robust_score(0.7, 0.4, 0.5, 0.4, weight=0.8) == pytest.approx(score(0.26))


def test_the_scores_at_the_ends_and_in_the_middle():
    assert label_robust_score(-1.0, 1.0) == augmentation_robust_score(1, 0, 1, 0) == 1.0
    assert label_robust_score(1.0, -1.0) == augmentation_robust_score(0, 1, 0, 1) == 0.0
    assert label_robust_score(0.0, 0.0) == pytest.approx(1 / (1 + math.e))
    assert label_robust_score(0.3, 0.3) == pytest.approx(1 / (1 + math.e))  # what is lost is gained over random


@given(differences, differences, fractions)
def test_the_label_robust_score_is_its_formula_and_lies_between_0_and_1(hlr, ior, weight):
    found = label_robust_score(hlr, ior, weight=weight)
    assert 0 <= found <= 1
    assert found == pytest.approx(score(weight * ior - (1 - weight) * hlr), abs=1e-12)


@given(differences, differences, differences, fractions)
def test_more_improvement_is_never_worse_and_more_loss_never_better(a, b, other, weight):
    low, high = sorted((a, b))
    assert label_robust_score(other, low, weight=weight) <= label_robust_score(other, high, weight=weight)
    assert label_robust_score(low, other, weight=weight) >= label_robust_score(high, other, weight=weight)


@given(st.tuples(fractions, fractions, fractions, fractions), fractions, st.integers(0, 3), fractions)
def test_the_augmentation_robust_score_is_monotone(accuracies, weight, which, changed):
    def ars(value):
        return augmentation_robust_score(*accuracies[:which], value, *accuracies[which + 1 :], weight=weight)

    low, high = sorted((accuracies[which], changed))
    better = ars(low) <= ars(high) if which in (0, 2) else ars(low) >= ars(high)  # synthetic, else random
    assert better
    assert 0 <= ars(low) <= 1


@given(fractions, fractions, fractions, fractions, fractions)
def test_the_two_scores_share_their_normalisation(a, b, c, d, weight):
    # The plain improvement stands where minus the loss stood.
    expected = label_robust_score(d - c, a - b, weight=weight)
    assert augmentation_robust_score(a, b, c, d, weight=weight) == pytest.approx(expected, abs=1e-12)
    assert augmentation_robust_score(c, d, a, b, weight=1 - weight) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("bad", [71.8, 1.01, -0.1, math.nan, math.inf])
def test_percents_are_refused(bad):
    message = r"fraction.* in \[.*1\], got .*; divide percents by 100"
    for call in (
        lambda: hard_label_recovery(bad, 0.5),
        lambda: hard_label_recovery(0.5, bad),
        lambda: improvement_over_random(bad, 0.5),
        lambda: improvement_over_random(0.5, bad),
        lambda: augmentation_robust_score(0.5, 0.5, bad, 0.5),
        lambda: label_robust_interval([0.8, bad], [0.5, 0.6], [0.3, 0.3]),
        lambda: augmentation_robust_interval([0.8], [0.5], [0.3], [bad]),
        lambda: compare_runs([0.5, bad], [0.5, 0.6]),
        lambda: compare_runs([0.5, 0.6], [0.5, bad], paired=False),
    ):
        with pytest.raises(NcfmError, match=message):
            call()


@pytest.mark.parametrize(("hlr", "ior"), [(13.0, 0.3), (0.2, 45.8), (math.nan, 0.0), (0.0, -1.5)])
def test_differences_of_percents_are_refused(hlr, ior):
    with pytest.raises(NcfmError, match=r"(hlr|ior) must be a difference of fractions.*divide percents by 100"):
        label_robust_score(hlr, ior)


def test_weights_out_of_range_are_refused():
    for call in (
        lambda: label_robust_score(0.1, 0.1, weight=1.5),
        lambda: augmentation_robust_score(0.1, 0.1, 0.1, 0.1, weight=-0.1),
        lambda: label_robust_interval([0.5], [0.5], [0.5], weight=50),
        lambda: augmentation_robust_interval([0.5], [0.5], [0.5], [0.5], weight=2),
    ):
        with pytest.raises(NcfmError, match=r"weight must lie in \[0, 1\]"):
            call()


# --- intervals of the scores --------------------------------------------------------------------------------


def test_the_paired_score_interval_by_hand():
    # alpha of each student, synthetic - (random + full) / 2, is 0, -0.005 and 0.005: std 0.005, and Student's
    # t for 2 degrees of freedom is 4.303, so the half width is 4.303 * 0.005 / sqrt(3) = 0.012422.
    full, synthetic, random_images = [0.80, 0.82, 0.84], [0.60, 0.61, 0.62], [0.40, 0.41, 0.39]
    found = label_robust_interval(full, synthetic, random_images, paired=True)
    assert found.value == pytest.approx(1 / (1 + math.e))
    assert found.low == pytest.approx(score(-0.012422), abs=1e-6)
    assert found.high == pytest.approx(score(0.012422), abs=1e-6)


def test_the_unpaired_score_interval_by_hand():
    # The same accuracies: variances 4, 1 and 1 in units of 1e-4, weights 1/2, 1 and 1/2, so the squared error is
    # (1 + 1 + 0.25) / 3 = 0.75e-4 with 2.25^2 / ((1 + 1 + 0.0625) / 2) = 4.909 degrees of freedom; t is 2.586.
    full, synthetic, random_images = [0.80, 0.82, 0.84], [0.60, 0.61, 0.62], [0.40, 0.41, 0.39]
    found = label_robust_interval(full, synthetic, random_images)
    half = 2.586 * math.sqrt(0.75e-4)
    assert found.low == pytest.approx(score(-half), abs=2e-5)
    assert found.high == pytest.approx(score(half), abs=2e-5)


@given(students, students, students, students, fractions)
@properties
def test_a_score_interval_holds_the_score_of_the_means(full, hard, random_images, synthetic, weight):
    def mean(values):
        return math.fsum(values) / len(values)

    found = label_robust_interval(full, hard, random_images, synthetic=synthetic, weight=weight)
    if hard != synthetic:
        hlr, ior = mean(full) - mean(hard), mean(synthetic) - mean(random_images)
        assert found.value == pytest.approx(label_robust_score(hlr, ior, weight=weight), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1
    found = augmentation_robust_interval(full, hard, random_images, synthetic, weight=weight)
    expected = augmentation_robust_score(*map(mean, (full, hard, random_images, synthetic)), weight=weight)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_same_students_in_both_terms_are_one_sample():
    full, hard, random_images = [0.8, 0.82, 0.81], [0.6, 0.64, 0.62], [0.4, 0.41, 0.42]
    alone = label_robust_interval(full, hard, random_images)
    twice = label_robust_interval(full, hard, random_images, synthetic=tuple(hard))
    other = label_robust_interval(full, hard, random_images, synthetic=hard[::-1])  # as if trained again
    assert alone == twice
    assert other.value == pytest.approx(alone.value)
    assert other.high - other.low < alone.high - alone.low


def test_without_spread_a_score_interval_has_no_width():
    found = label_robust_interval([0.85] * 3, [0.65] * 4, [0.35] * 5)
    assert found.low == found.value == found.high == pytest.approx(0.2907552, abs=1e-7)


def test_one_student_of_a_sample_that_counts_costs_the_interval():
    found = label_robust_interval([0.85], [0.64, 0.66], [0.34, 0.36])
    assert found.value == pytest.approx(0.2907552, abs=1e-7)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    # With all weight on the improvement the full set does not count.
    found = label_robust_interval([0.85], [0.64, 0.66], [0.34, 0.36], weight=1.0)
    assert found.low < 0.4177920 < found.high


def test_score_intervals_need_students_and_pairs_equally_many():
    with pytest.raises(NcfmError, match="number of students of random must be at least 1, got 0"):
        label_robust_interval([0.8], [0.6], [])
    with pytest.raises(NcfmError, match="Paired samples must have equally many students, got 2, 2, 3"):
        label_robust_interval([0.8, 0.8], [0.6, 0.6, 0.6], [0.4, 0.4], paired=True)


def test_score_intervals_cover_the_true_score_as_often_as_claimed():
    # alpha = 0.5 (0.65 - 0.35) - 0.5 (0.85 - 0.60) = 0.025, students of unequal number and spread.
    repeats, truth = 600, score(0.025)
    samples = (
        draw(1, 0.85, 0.003, repeats, 3),
        draw(2, 0.60, 0.010, repeats, 5),
        draw(3, 0.35, 0.015, repeats, 4),
        draw(4, 0.65, 0.010, repeats, 5),
    )
    found = [label_robust_interval(f, h, r, synthetic=s) for f, h, r, s in zip(*samples, strict=True)]
    rate = sum(low <= truth <= high for _, low, high in found) / repeats
    assert rate == pytest.approx(0.95, abs=0.036)  # four standard errors of the rate


def test_paired_score_intervals_take_what_students_share_into_account():
    # What a seed does to hard and soft labels alike adds up: independent samples would be too sure of themselves.
    repeats = 600
    shared = 0.01 * normal(0, repeats, 5)
    hard, soft = 0.60 + shared, 0.65 + shared + 0.002 * normal(1, repeats, 5)
    full, random_images = (torch.tensor(draw(i, m, 0.002, repeats, 5)) for i, m in ((2, 0.85), (3, 0.35)))
    rates = []
    for paired in (True, False):
        rows = zip(full.tolist(), hard.tolist(), random_images.tolist(), soft.tolist(), strict=True)
        found = [label_robust_interval(f, h, r, synthetic=s, paired=paired) for f, h, r, s in rows]
        rates.append(sum(low <= score(0.025) <= high for _, low, high in found) / repeats)
    assert rates[0] == pytest.approx(0.95, abs=0.036)
    assert rates[1] < 0.9


def test_a_percentile_bootstrap_would_be_too_sure():
    # Why the intervals are no bootstrap: of three samples of five it holds the truth in 87 % of cases.
    repeats, resamples, weights = 300, 300, (-0.5, -0.5, 1.0)
    g, totals = rng(0), torch.zeros(repeats, resamples, dtype=torch.float64)
    for i, weight in enumerate(weights):
        sample = normal(i, repeats, 5)
        drawn = torch.randint(5, (repeats, resamples * 5), generator=g)
        totals += weight * sample.gather(1, drawn).view(repeats, resamples, 5).mean(2)
    ends = torch.quantile(totals, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=1)
    rate = float(((ends[0] <= 0) & (ends[1] >= 0)).double().mean())
    assert 0.79 < rate < 0.92


# --- from logits --------------------------------------------------------------------------------------------


def some_logits(seed, n=200, num_classes=4, scale=2.0):
    """Logits that are right more often than not, and labels."""
    labels = torch.randint(num_classes, (n,), generator=rng(seed))
    logits = scale * torch.randn(n, num_classes, generator=rng(seed + 1))
    logits[torch.arange(n), labels] += 1.0
    return logits, labels


@given(seeds, st.integers(1, 50), st.integers(1, 5))
@properties
def test_the_confusion_matrix_is_counted(seed, n, num_classes):
    logits, labels = some_logits(seed, n, num_classes)
    expected = [[0] * num_classes for _ in range(num_classes)]
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        expected[label][row.index(max(row))] += 1
    found = confusion_matrix(logits, labels)
    assert found.dtype == torch.int64
    assert found.tolist() == expected
    accuracies = per_class_accuracy(found).tolist()
    for label, (row, value) in enumerate(zip(expected, accuracies, strict=True)):
        assert math.isnan(value) if sum(row) == 0 else value == row[label] / sum(row)


def test_rows_are_true_classes_and_columns_predicted_ones():
    logits = torch.eye(3)[torch.tensor([2, 2, 0])]
    assert confusion_matrix(logits, torch.tensor([1, 1, 0])).tolist() == [[1, 0, 0], [0, 0, 2], [0, 0, 0]]
    first, second = per_class_accuracy(confusion_matrix(logits, torch.tensor([1, 1, 0])))[:2].tolist()
    assert (first, second) == (1.0, 0.0)


def test_confusions_of_parts_add_up():
    logits, labels = some_logits(0)
    parts = confusion_matrix(logits[:70], labels[:70]) + confusion_matrix(logits[70:], labels[70:])
    assert torch.equal(parts, confusion_matrix(logits, labels))
    assert int(parts.trace()) / 200 == pytest.approx(float((logits.argmax(1) == labels).double().mean()))


def test_a_confusion_is_square():
    for shape in ((2, 3), (4,)):
        with pytest.raises(NcfmError, match=r"confusion matrix of shape \(C, C\)"):
            per_class_accuracy(torch.ones(shape))


def calibration_error_loop(logits, labels, bins):
    """Guo et al., equations 2 to 5, image by image."""
    members = [[] for _ in range(bins)]
    for row, label in zip(logits.double().softmax(1).tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        for b in range(bins):
            if b / bins < confidence <= (b + 1) / bins:
                members[b].append((confidence, row.index(confidence) == label))
    total = 0.0
    for images in members:
        if images:
            confidence = sum(c for c, _ in images) / len(images)
            accuracy = sum(right for _, right in images) / len(images)
            total += len(images) / len(labels) * abs(accuracy - confidence)
    return total


@given(seeds, st.integers(1, 80), st.integers(1, 5), st.integers(1, 20), st.sampled_from([0.3, 2.0, 30.0]))
@properties
def test_the_calibration_error_is_its_loop(seed, n, num_classes, bins, scale):
    logits, labels = some_logits(seed, n, num_classes, scale)
    found = expected_calibration_error(logits, labels, bins=bins)
    assert found == pytest.approx(calibration_error_loop(logits, labels, bins), abs=1e-12)
    assert 0 <= found <= 1


def test_calibration_errors_in_closed_form():
    labels = torch.arange(4).repeat(5)
    sure = 1000.0 * torch.eye(4)
    assert expected_calibration_error(sure[labels], labels) == 0.0
    assert expected_calibration_error(sure[(labels + 1) % 4], labels) == 1.0
    # Uniform: a confidence of 1/4, and right for the one class in four that a tie is called.
    assert expected_calibration_error(torch.zeros(20, 4), labels) == pytest.approx(0.0, abs=1e-12)
    # Sure of one class that three quarters of the images do not belong to.
    assert expected_calibration_error(sure[torch.zeros_like(labels)], labels) == pytest.approx(0.75)
    # Two classes at odds 3 : 1, right in half the cases: 0.75 - 0.5.
    logits = torch.tensor([[math.log(3.0), 0.0]]).repeat(10, 1)
    assert expected_calibration_error(logits, torch.tensor([0, 1] * 5)) == pytest.approx(0.25)


def test_gaps_cancel_within_a_bin_but_not_between_bins():
    # Confidence 0.6 always right (gap -0.4), confidence 0.9 right in half the cases (gap 0.4).
    odds = torch.tensor([0.6 / 0.4, 0.6 / 0.4, 9.0, 9.0], dtype=torch.float64).log()
    logits, labels = torch.stack([odds, torch.zeros(4, dtype=torch.float64)], 1), torch.tensor([0, 0, 0, 1])
    assert expected_calibration_error(logits, labels) == pytest.approx(0.4)
    assert expected_calibration_error(logits, labels, bins=1) == pytest.approx(0.0, abs=1e-12)  # 0.75 and 0.75


def test_a_network_that_knows_its_chances_is_calibrated():
    # Labels drawn from the network's own probabilities: the error falls as 1 / sqrt(n), here from chance alone.
    errors = []
    for n in (400, 40_000):
        logits = 1.5 * normal(0, n, 5)
        labels = torch.multinomial(logits.softmax(1), 1, generator=rng(1))[:, 0]
        errors.append(expected_calibration_error(logits, labels))
        assert expected_calibration_error(3 * logits, labels) > 0.15  # too sure
    assert errors[1] < 0.015
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.6)


def test_a_bin_holds_its_upper_end():
    # Confidence 1/2 of two classes: the lower of two bins; a hair more: the upper.
    logits, labels = torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])
    logits[:2, 0] = 1e-3  # bins apart: right at 0.50025, wrong at 0.5 (a tie is called one way or the other)
    found = expected_calibration_error(logits, labels, bins=2)
    assert found == pytest.approx((0.5 - 0.00025) * 0.5 + 0.25, abs=1e-6)


@pytest.mark.parametrize("judge", [confusion_matrix, expected_calibration_error])
def test_logits_that_do_not_fit_are_reported(judge):
    logits, labels = some_logits(0, 6)
    for bad, other in ((logits[:5], labels), (logits[0], labels), (logits, labels[:, None]), (logits[:0], labels[:0])):
        with pytest.raises(NcfmError, match=r"Expected logits of shape \(n, C\)"):
            judge(bad, other)
    with pytest.raises(NcfmError, match=r"must lie in 0\.\.3"):
        judge(logits, labels + 4)
    with pytest.raises(NcfmError, match="int64"):
        judge(logits, labels.int())
    with pytest.raises(NcfmError, match="NaN or infinity"):
        judge(logits.index_fill(0, torch.tensor([2]), torch.nan), labels)


def test_no_bins_are_refused():
    with pytest.raises(NcfmError, match="bins must be at least 1, got 0"):
        expected_calibration_error(*some_logits(0), bins=0)


def test_half_precision_logits_will_do():
    logits, labels = some_logits(0)
    assert torch.equal(confusion_matrix(logits.bfloat16(), labels), confusion_matrix(logits.bfloat16().float(), labels))
    found = expected_calibration_error(logits.half().requires_grad_(), labels)
    assert found == pytest.approx(expected_calibration_error(logits.half().double(), labels), abs=1e-12)


# --- two sets of students -----------------------------------------------------------------------------------


def test_the_paired_comparison_by_hand():
    # Differences 0.02, 0.03, 0.01: mean 0.02, std 0.01, t = 2 sqrt(3); for 2 degrees of freedom the two-sided p
    # is 1 - t / sqrt(t^2 + 2) = 1 - sqrt(12 / 14), and the 95 % point 4.303.
    found = compare_runs([0.62, 0.64, 0.63], [0.60, 0.61, 0.62])
    assert found.difference == pytest.approx(0.02)
    assert found.p_value == pytest.approx(1 - math.sqrt(12 / 14))
    assert found.high - found.difference == pytest.approx(4.303 * 0.01 / math.sqrt(3), abs=1e-5)
    assert (found.degrees, found.paired) == (2, True)


@given(st.integers(2, 12), st.integers(2, 12), seeds)
@properties
def test_comparisons_are_scipys(n, m, seed):
    a, b = (0.5 + 0.05 * normal(seed, n)).tolist(), (0.52 + 0.1 * normal(seed + 1, m)).tolist()
    a, b = ([min(max(v, 0.0), 1.0) for v in values] for values in (a, b))
    pairs = min(n, m)
    for found, expected in (
        (compare_runs(a[:pairs], b[:pairs]), stats.ttest_rel(a[:pairs], b[:pairs])),
        (compare_runs(a, b, paired=False), stats.ttest_ind(a, b, equal_var=False)),
    ):
        ends = expected.confidence_interval(0.95)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-8)
        assert found.degrees == pytest.approx(expected.df, rel=1e-8)
        assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=1e-10)


@given(students, students)
@properties
def test_a_comparison_turned_round_is_its_mirror_image(a, b):
    there, back = compare_runs(a, b, paired=False), compare_runs(b, a, paired=False)
    assert back.difference == -there.difference
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-12)
    assert back.p_value == there.p_value
    assert there.low <= there.difference <= there.high
    assert 0 <= there.p_value <= 1
    # The interval holds 0 where the test sees nothing.
    if abs(there.p_value - 0.05) > 1e-6:
        assert (there.low <= 0 <= there.high) == (there.p_value > 0.05)


@pytest.mark.parametrize("paired", [True, False])
def test_without_spread_the_answer_is_certain(paired):
    same = compare_runs([0.1] * 3, [0.1] * 3, paired=paired)
    assert same[:4] == (0.0, 0.0, 0.0, 1.0)
    other = compare_runs([0.3] * 3, [0.1] * 3, paired=paired)
    assert other.low == other.difference == other.high == pytest.approx(0.2)
    assert other.p_value == 0.0


def test_equal_differences_are_without_spread_up_to_rounding():
    # 0.7 - 0.6, 0.6 - 0.5, 0.3 - 0.2 differ in the last bit.
    found = compare_runs([0.7, 0.6, 0.3], [0.6, 0.5, 0.2])
    assert found.low == found.difference == found.high == pytest.approx(0.1)
    assert found.p_value == 0.0
    shuffled = compare_runs([0.1 + 0.2, 0.5], [0.3, 0.5])
    assert shuffled.p_value == 1.0
    assert shuffled.low == shuffled.high


def test_one_set_without_spread_leaves_the_others_degrees():
    found = compare_runs([0.5, 0.6, 0.7], [0.4, 0.4], paired=False)
    assert found.degrees == pytest.approx(2)
    assert found.high - found.difference == pytest.approx(4.303 * 0.1 / math.sqrt(3), abs=1e-4)


def test_pairs_see_finer_differences_where_students_share_their_luck():
    luck = 0.02 * normal(0, 8)
    a, b = (0.61 + luck + 0.001 * normal(1, 8)).tolist(), (0.60 + luck + 0.001 * normal(2, 8)).tolist()
    assert compare_runs(a, b).p_value < 1e-4
    assert compare_runs(a, b, paired=False).p_value > 0.1


@pytest.mark.parametrize("paired", [True, False])
def test_the_test_errs_as_often_as_claimed(paired):
    repeats = 600
    pairs = zip(draw(0, 0.6, 0.01, repeats, 4), draw(1, 0.6, 0.01, repeats, 4), strict=True)
    found = [compare_runs(a, b, paired=paired) for a, b in pairs]
    wrong = sum(c.p_value < 0.05 for c in found) / repeats
    assert wrong == pytest.approx(0.05 if paired else 0.043, abs=0.036)  # Welch is a little careful with 4 and 4
    assert wrong == sum(not c.low <= 0 <= c.high for c in found) / repeats


def test_comparisons_need_two_students_and_pairs_equally_many():
    with pytest.raises(NcfmError, match="number of students of a must be at least 2, got 1"):
        compare_runs([0.5], [0.5, 0.6], paired=False)
    with pytest.raises(NcfmError, match="number of students of b must be at least 2, got 0"):
        compare_runs([0.5, 0.6], [])
    with pytest.raises(NcfmError, match="equally many students, got 3, 2; compare them unpaired"):
        compare_runs([0.5, 0.6, 0.7], [0.5, 0.6])


# --- how many students --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "pairs", "groups"),
    # Power 0.8 at the level 0.05, as G*Power and R's power.t.test print them.
    [(0.2, 199, 394), (0.5, 34, 64), (0.8, 15, 26), (1.0, 10, 17)],
)
def test_the_numbers_of_the_tables(effect, pairs, groups):
    assert runs_needed(1.0, effect) == pairs
    assert runs_needed(1.0, effect, paired=False) == groups


@pytest.mark.parametrize(
    ("level", "numbers"),
    # Cohen, "A power primer", Psychological Bulletin 1992, table 2, two means: effects 0.2, 0.5 and 0.8.
    [(0.01, (586, 95, 38)), (0.05, (393, 64, 26)), (0.10, (310, 50, 20))],
)
def test_cohens_table(level, numbers):
    for effect, number in zip((0.2, 0.5, 0.8), numbers, strict=True):
        assert abs(runs_needed(1.0, effect, level=level, paired=False) - number) <= 1  # his are interpolated


@pytest.mark.parametrize(
    # Critical values of Student's t for 33 and 126 degrees of freedom, printed tables.
    ("n", "degrees", "critical", "paired"),
    [(34, 33, 2.0345, True), (64, 126, 1.9790, False)],
)
def test_so_many_students_do_see_the_difference(n, degrees, critical, paired):
    repeats = 4000
    a, b = 0.5 + normal(0, repeats, n), torch.zeros(repeats, n) if paired else normal(1, repeats, n)
    spread = (a - b).var(1) if paired else a.var(1) + b.var(1)
    t = (a - b).mean(1) / (spread / n).sqrt()
    assert float((t.abs() > critical).double().mean()) == pytest.approx(0.8, abs=0.026)
    assert degrees == (n - 1 if paired else 2 * n - 2)


@given(st.floats(0.3, 3), st.floats(0.5, 0.99), st.booleans())
@properties
def test_more_is_asked_for_more(effect, power, paired):
    n = runs_needed(1.0, effect, power=power, paired=paired)
    assert n >= 2
    assert runs_needed(0.01, -0.01 * effect, power=power, paired=paired) == n  # unit and sign do not matter
    assert runs_needed(1.0, effect / 2, power=power, paired=paired) >= n
    assert runs_needed(1.0, effect, power=(1 + power) / 2, paired=paired) >= n
    assert runs_needed(1.0, effect, power=power, level=0.01, paired=paired) >= n


def test_a_difference_without_spread_takes_two_students():
    assert runs_needed(0.0, 0.01) == runs_needed(0.0, 0.01, paired=False) == 2
    assert runs_needed(1e-9, 1.0) == runs_needed(1e-6, 1.0, paired=False) == 2


@pytest.mark.parametrize("effect", [1.5, 3.0, 8.0, 20.0, 100.0])
@pytest.mark.parametrize("level", [0.05, 0.01, 1e-4])
def test_large_effects_take_few_students(effect, level):
    # scipy's noncentral t returns NaN in places out there.
    n = runs_needed(1.0, effect, level=level)
    assert 2 <= n <= runs_needed(1.0, 1.4, level=level) <= 40


@pytest.mark.parametrize(
    ("std", "difference", "options", "message"),
    [
        (-0.1, 0.1, {}, "std must be at least 0"),
        (math.nan, 0.1, {}, "std must be at least 0"),
        (0.1, 0.0, {}, "difference must be finite and not 0"),
        (0.1, math.inf, {}, "difference must be finite and not 0"),
        (1.0, 1e-4, {}, "millions of students"),
        (0.1, 0.1, {"power": 1.0}, "0 < level < power < 1"),
        (0.1, 0.1, {"power": 0.04}, "0 < level < power < 1"),
        (0.1, 0.1, {"level": 0.0}, "0 < level < power < 1"),
    ],
)
def test_senseless_questions_are_refused(std, difference, options, message):
    with pytest.raises(NcfmError, match=message):
        runs_needed(std, difference, **options)


# --- rankings -----------------------------------------------------------------------------------------------


def tied(seed, n, values):
    """Numbers with ties, not all equal."""
    drawn = torch.randint(values, (n,), generator=rng(seed)).tolist()
    return drawn if len(set(drawn)) > 1 else [values, *drawn[1:]]


def kendall_loop(x, y):
    """tau-b, pair by pair."""
    score = x_pairs = y_pairs = 0
    for (a, b), (c, d) in itertools.combinations(zip(x, y, strict=True), 2):
        score += ((a > c) - (a < c)) * ((b > d) - (b < d))
        x_pairs += a != c
        y_pairs += b != d
    return score / math.sqrt(x_pairs * y_pairs)


@given(st.integers(3, 15), st.integers(2, 20), seeds)
@properties
def test_rank_correlations_are_scipys(n, values, seed):
    x, y = tied(seed, n, values), tied(seed + 1, n, values)
    found = rank_correlation(x, y, resamples=100)
    assert found.spearman.value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert found.kendall.value == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert found.kendall.value == pytest.approx(kendall_loop(x, y), abs=1e-12)
    for low, high in (found.spearman[1:], found.kendall[1:]):
        assert -1 - 1e-12 <= low <= high <= 1 + 1e-12


def test_the_bootstrap_is_its_loop():
    x, y = normal(0, 10).tolist(), (normal(0, 10) + normal(1, 10)).tolist()
    y[3] = y[4]
    found = rank_correlation(x, y, resamples=100, seed=5)
    draws = torch.randint(10, (100, 10), generator=generator(5, "rank_correlation")).tolist()
    for estimate, correlation in ((found.spearman, stats.spearmanr), (found.kendall, stats.kendalltau)):
        values = [correlation([x[i] for i in items], [y[i] for i in items]).statistic for items in draws]
        ends = torch.quantile(*(torch.tensor(v, dtype=torch.float64) for v in (values, [0.025, 0.975])))
        assert estimate[1:] == pytest.approx(tuple(ends.tolist()), abs=1e-12)


def test_rank_correlations_by_hand():
    # One neighbouring pair of four is turned round: rho = 1 - 6 * 2 / (4 * 15), tau = (5 - 1) / 6.
    found = rank_correlation([0.5, 0.6, 0.7, 0.8], [0.55, 0.71, 0.68, 0.9])
    assert found.spearman.value == pytest.approx(0.8)
    assert found.kendall.value == pytest.approx(2 / 3)


def test_equal_and_reversed_rankings():
    x = [3.0, 1.0, 2.0, 7.0, 5.0]
    for y, expected in (([math.exp(v) for v in x], 1.0), ([-(v**3) for v in x], -1.0)):
        found = rank_correlation(x, y)
        assert found.spearman == found.kendall == (expected, expected, expected)


@given(st.lists(st.integers(-20, 20), min_size=4, max_size=8, unique=True), st.randoms(use_true_random=False))
@properties
def test_only_the_order_counts(x, shuffler: random.Random):
    y = shuffler.sample(x, len(x))
    found = rank_correlation(x, y, resamples=100)
    assert rank_correlation([math.atan(v) for v in x], [v**3 for v in y], resamples=100) == found
    assert rank_correlation(y, x, resamples=100) == found
    turned = rank_correlation(x, [-v for v in y], resamples=100)
    assert turned.spearman == pytest.approx((-found.spearman.value, -found.spearman.high, -found.spearman.low))


def test_one_seed_is_one_interval():
    x, y = normal(0, 12).tolist(), normal(1, 12).tolist()
    assert rank_correlation(x, y, seed=1) == rank_correlation(x, y, seed=1)
    first, second = rank_correlation(x, y, seed=1), rank_correlation(x, y, seed=2)
    assert first.spearman.low != second.spearman.low
    assert first.spearman.value == second.spearman.value
    assert first.spearman.low == pytest.approx(second.spearman.low, abs=0.1)


def test_three_items_have_an_interval():
    # One draw in nine holds one item thrice and has no ranking.
    found = rank_correlation([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    assert found.spearman == pytest.approx((0.5, -1.0, 1.0))
    assert found.kendall == pytest.approx((1 / 3, -1.0, 1.0))


def test_rank_intervals_cover_the_truth_about_as_often_as_claimed():
    # Two normal variables of correlation r: rho = 6 / pi asin(r / 2) and tau = 2 / pi asin(r).
    r, repeats, n = 0.6, 150, 30
    x, z = normal(0, repeats, n), normal(1, repeats, n)
    y = r * x + math.sqrt(1 - r**2) * z
    found = [rank_correlation(a, b, resamples=200) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    for truth, estimates in (
        (6 / math.pi * math.asin(r / 2), [c.spearman for c in found]),
        (2 / math.pi * math.asin(r), [c.kendall for c in found]),
    ):
        rate = sum(low <= truth <= high for _, low, high in estimates) / repeats
        assert rate == pytest.approx(0.93, abs=0.07)
        assert sum(e.value for e in estimates) / repeats == pytest.approx(truth, abs=0.04)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ([0.5] * 4, [1, 2, 3, 4], {}, "A ranking needs differing values; all 4 of x are 0.5"),
        ([1, 2, 3], [7, 7, 7], {}, "A ranking needs differing values; all 3 of y are 7.0"),
        ([1, 2], [1, 2], {}, "number of items to rank must be at least 3, got 2"),
        ([], [], {}, "number of items to rank must be at least 3, got 0"),
        ([1, 2, 3], [1, 2], {}, "one x and one y for every item, got 3 and 2"),
        ([1, 2, math.nan], [1, 2, 3], {}, "values of x must be finite"),
        ([1, 2, 3], [1, 2, math.inf], {}, "values of y must be finite"),
        ([1, 2, 3], [1, 2, 3], {"resamples": 10}, "resamples must be at least 100, got 10"),
    ],
)
def test_what_cannot_be_ranked_is_reported(x, y, options, message):
    with pytest.raises(NcfmError, match=message):
        rank_correlation(x, y, **options)
