"""Soft labels: what is stored, how exactly, at what price."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncfm._utils.checks import NcfmError
from ncfm.synthetic.soft_labels import SoftLabels, SoftTargets, TeacherTargets
from strategies import rng


def distributions(n=5, classes=10, spread=3.0, seed=0):
    return torch.log_softmax(spread * torch.randn(n, classes, generator=rng(seed)), dim=1)


def test_half_precision_is_within_a_percent():
    p = distributions()
    stored = SoftLabels.of(p)
    assert stored.values.dtype == torch.float16
    assert stored.classes is None
    torch.testing.assert_close(stored.log_probabilities().exp(), p.exp(), rtol=0.01, atol=0)


@given(st.integers(0, 10**6), st.floats(0.1, 4))
def test_eight_bits_are_within_the_stated_error(seed, spread):
    p = distributions(seed=seed, spread=spread)
    found = SoftLabels.of(p, precision="uint8").log_probabilities()
    seen = p > -16
    # Half a step of 16 / 255, and once more by the normalisation that follows.
    assert float((found - p)[seen].abs().max()) <= 2 * 16 / 255 / 2 + 1e-5
    torch.testing.assert_close(found.exp().sum(1), torch.ones(5))


@pytest.mark.parametrize("precision", ["float16", "uint8"])
def test_the_largest_classes_are_kept_and_the_rest_shared_alike(precision):
    p = torch.tensor([[0.5, 0.02, 0.3, 0.1, 0.08]]).log()
    found = SoftLabels.of(p, top_k=2, precision=precision).log_probabilities().exp()
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.2 / 3, 0.3, 0.2 / 3, 0.2 / 3]]), rtol=0.04, atol=0)


@given(st.integers(1, 10), st.integers(0, 1000))
def test_rows_are_distributions_whatever_is_kept(top_k, seed):
    found = SoftLabels.of(distributions(seed=seed), top_k=top_k).log_probabilities()
    assert found.shape == (5, 10)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(5), atol=1e-5, rtol=0)
    assert torch.equal(found.argmax(1), distributions(seed=seed).argmax(1))


def test_all_classes_need_no_indices():
    assert SoftLabels.of(distributions(), top_k=10).classes is None


@pytest.mark.parametrize(
    ("options", "bytes_each"),
    [({}, 20), ({"precision": "uint8"}, 10), ({"top_k": 3}, 12), ({"top_k": 3, "precision": "uint8"}, 9)],
)
def test_the_storage_by_hand(options, bytes_each):
    stored = SoftLabels.of(distributions(n=40), **options)
    assert stored.num_bytes == 40 * bytes_each
    assert stored.image_equivalents(3, 32) == pytest.approx(40 * bytes_each / 3072)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, r"top_k must lie in 1..10 .* got 0"),
        ({"top_k": 11}, r"top_k must lie in 1..10 .* got 11"),
        ({"precision": "float8"}, "Unknown precision of soft labels 'float8'. Did you mean 'float16'"),
    ],
)
def test_impossible_labels_are_refused(options, message):
    with pytest.raises(NcfmError, match=message):
        SoftLabels.of(distributions(), **options)


def test_logits_are_no_log_probabilities():
    with pytest.raises(NcfmError, match="log_softmax"):
        SoftLabels.of(torch.randn(4, 10))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (SoftTargets(distributions(4)), r"shape \(5, 10\).*got \(4, 10\)"),
        (SoftTargets(distributions(), weight=1.5), "weight of the soft labels"),
        (SoftTargets(distributions(), temperature=0), "temperature must be above 0"),
    ],
)
def test_targets_that_do_not_fit_are_reported(targets, message):
    with pytest.raises(NcfmError, match=message):
        targets.checked(5, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"weight": -0.1}, "weight of the soft labels"), ({"temperature": 0}, "temperature must be above 0")],
)
def test_teachers_that_cannot_be_used_so_are_reported(changes, message):
    with pytest.raises(NcfmError, match=message):
        TeacherTargets(lambda x: x, "", **changes).checked()


def test_uses_of_labels_are_not_mistaken_for_each_other():
    assert SoftTargets(distributions(), 0.5, 4).name == "soft(T=4 weight=0.5)"
    assert TeacherTargets(lambda x: x, "", 0.5, 4).name == "teacher(T=4 weight=0.5)"


def test_a_high_temperature_makes_labels_alike():
    p = SoftTargets(distributions(), temperature=1e4).probabilities()
    torch.testing.assert_close(p, torch.full((5, 10), 0.1), atol=1e-3, rtol=0)
