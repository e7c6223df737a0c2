"""Entropic weights of frequencies, and the bank they are weights of."""

import math

import pytest
import torch
from torch.testing import assert_close

from ncfm import InputError
from ncfm.discrepancy.entropic import NOISE_FLOOR, entropic_weights, structured_frequencies
from strategies import normal


def test_weights_are_the_answer_to_their_problem():
    gap, variance, tau = normal(0, 6).abs(), normal(1, 6).abs(), 0.7
    reward = gap / (variance + NOISE_FLOOR)

    def value(q):
        return (q * reward).sum() - tau * (q * (q * len(q)).clamp(min=1e-300).log()).sum()

    best = entropic_weights(gap, variance, tau)
    assert float(best.sum()) == pytest.approx(1)
    for seed in range(50):
        assert float(value(torch.softmax(best.log() + normal(seed, 6), 0))) <= float(value(best)) + 1e-12


def test_hot_weights_are_uniform_and_cold_ones_choose():
    gap, variance = normal(0, 2, 5), 0.1 + normal(1, 2, 5).abs()
    assert_close(entropic_weights(gap, variance, 1e9), torch.full((2, 5), 0.2, dtype=torch.float64))
    cold = entropic_weights(gap, variance, 1e-6)
    assert cold.argmax(1).tolist() == (gap / (variance + NOISE_FLOOR)).argmax(1).tolist()
    assert float(cold.max(1).values.min()) == pytest.approx(1)


def test_a_higher_gap_at_the_same_noise_has_more_weight():
    gap, variance = torch.tensor([0.1, 0.3, 0.2]), torch.full((3,), 0.05)
    q = entropic_weights(gap, variance, 2.0)
    assert q.argsort().tolist() == [0, 2, 1]
    ratio = math.exp(0.2 / (2.0 * (0.05 + NOISE_FLOOR)))
    assert float(q[1] / q[0]) == pytest.approx(ratio, rel=1e-5)


def test_weights_have_no_gradient():
    gap, variance = normal(0, 4).requires_grad_(), normal(1, 4).abs().requires_grad_()
    assert not entropic_weights(gap, variance, 1.0).requires_grad


def planted():
    """Groups that differ along the first axis, and vary most along the second."""
    x = 0.1 * normal(0, 4, 200, 6)
    x[..., 0] += torch.tensor([-3.0, -1.0, 1.0, 3.0])[:, None]
    x[..., 1] += 2 * normal(1, 4, 200)
    return x


def test_structured_frequencies_find_what_differs_and_what_varies():
    t = structured_frequencies(planted(), 4)
    first = t / t.norm(dim=1, keepdim=True)
    assert float(first[0, 0].abs()) > 0.99  # between the groups
    assert float(first[2:, 1].abs().max()) > 0.99  # within them
    x = planted()
    projected = (x - x.mean(1, keepdim=True)).flatten(0, 1) @ t.T
    assert_close(projected.square().mean(0).sqrt(), torch.ones(len(t), dtype=torch.float64))


def test_there_are_no_more_frequencies_than_directions():
    x = normal(0, 3, 1, 5)  # one row a group: nothing varies within it
    t = structured_frequencies(x, 8)
    assert t.shape == (6, 5)
    assert (t.norm(dim=1) > 0).tolist() == [True, True, False, False, False, False]  # three means span a plane
    assert structured_frequencies(normal(0, 3, 20, 5), 0).shape == (0, 5)
    assert structured_frequencies(normal(0, 3, 20, 4).requires_grad_(), 100).requires_grad is False


def test_the_temperature_is_above_zero():
    with pytest.raises(InputError, match="temperature"):
        entropic_weights(torch.ones(2), torch.ones(2), 0.0)
