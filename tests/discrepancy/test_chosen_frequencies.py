"""Frequencies by family, sampler or tensor: what is built, and what is refused."""

import pytest
import torch

from ncfm import NcfmError
from ncfm.discrepancy.chosen_frequencies import checked_sampler, kept_frequencies, sampler_of_family
from ncfm.discrepancy.frequencies import SAMPLERS, GaussianFrequencies
from strategies import rng

D = 3


@pytest.mark.parametrize("family", SAMPLERS)
def test_a_family_is_built_with_its_sizes_and_seed(family):
    first, again = (sampler_of_family(family, D, 16, 0.8, seed=0) for _ in range(2))
    assert (first.num_features, first.num_frequencies) == (D, 16)
    assert first.sample(rng(1)).shape == (16, D)
    assert torch.equal(first.sample(rng(1)), again.sample(rng(1)))


def test_an_unknown_family_is_refused():
    with pytest.raises(NcfmError, match="Did you mean 'gaussian'"):
        sampler_of_family("gausian", D, 16, 0.8, seed=0)


def test_a_sampler_is_returned_and_its_width_checked():
    sampler = GaussianFrequencies(D, 16)
    assert checked_sampler(sampler, D) is sampler
    with pytest.raises(NcfmError, match="width 3, the samples have 4"):
        checked_sampler(sampler, 4)
    with pytest.raises(NcfmError, match=r"a sampler of ncfm.discrepancy.frequencies or a tensor \(k, d\), got list"):
        checked_sampler([1.0], D)


def test_a_tensor_is_copied_without_its_gradient():
    t = torch.ones(4, D, requires_grad=True)
    kept = kept_frequencies(t, D)
    assert torch.equal(kept, t)
    assert not kept.requires_grad
    assert kept.data_ptr() != t.data_ptr()


@pytest.mark.parametrize("t", [torch.zeros(4, 2), torch.zeros(0, D), torch.zeros(D), torch.zeros(4, D).long()])
def test_other_tensors_are_refused(t):
    with pytest.raises(NcfmError, match=r"Expected floating-point frequencies of shape \(k, 3\)"):
        kept_frequencies(t, D)
