"""Samplers that are conditioned on the extractor: one for each teacher, of which one is learned at a time."""

import pytest
import torch
from torch import nn

from ncfm._utils.checks import NcfmError
from ncfm.discrepancy.frequencies import LEARNED_SAMPLERS, FrequencySampler, GaussianFrequencies
from ncfm.discrepancy.per_teacher import ConditionedSampler, PerTeacherFrequencies, conditioned_samplers
from strategies import rng

D, K, TEACHERS = 3, 32, 3
every_family = pytest.mark.parametrize("family", LEARNED_SAMPLERS)


def samplers(family, number=TEACHERS):
    """With other weights each."""
    return [LEARNED_SAMPLERS[family](D, K, seed_generator=rng(seed)) for seed in range(number)]


@every_family
def test_it_samples_as_the_teachers_sampler_does_whatever_the_blend(family):
    parts = samplers(family)
    whole = PerTeacherFrequencies(parts)
    assert isinstance(whole, FrequencySampler)
    assert isinstance(whole, ConditionedSampler)
    assert (whole.num_features, whole.num_frequencies) == (D, K)
    drawn = []
    for teacher, part in enumerate(parts):
        for blend in (0.0, 0.7):
            whole.condition(teacher, blend)
            assert torch.equal(whole.sample(rng(5)), part.sample(rng(5)))
        drawn.append(whole.sample(rng(5)))
    assert not torch.equal(drawn[0], drawn[1])


@every_family
def test_only_the_teachers_sampler_requires_gradients(family):
    whole = PerTeacherFrequencies(samplers(family))
    for teacher in (0, 2, 1):
        whole.condition(teacher, 0.0)
        learned = {name.split(".")[1] for name, p in whole.named_parameters() if p.requires_grad}
        assert learned == {str(teacher)}
        whole.sample(rng(1)).sum().backward()
        assert all((p.grad is None) != p.requires_grad for p in whole.parameters())
        whole.zero_grad()


def test_parameters_that_are_frozen_stay_frozen():
    parts = samplers("mixture", 2)
    for part in parts:
        part.bias_out.requires_grad_(False)
    whole = PerTeacherFrequencies(parts)
    for teacher in (1, 0, 1):
        whole.condition(teacher, 0.0)
        assert not any(part.bias_out.requires_grad for part in parts)
        assert parts[teacher].bias_in.requires_grad


def test_a_teacher_without_a_sampler_is_refused():
    whole = PerTeacherFrequencies(samplers("direct", 2))
    for teacher in (2, -1):
        with pytest.raises(NcfmError, match=rf"a teacher of 0\.\.1, which have a sampler each, got {teacher}"):
            whole.condition(teacher, 0.0)
    with pytest.raises(NcfmError, match="number of samplers must be at least 1"):
        PerTeacherFrequencies([])
    with pytest.raises(NcfmError, match="parameters in common; make a new sampler at each call"):
        PerTeacherFrequencies(2 * samplers("direct", 1))


def test_conditioned_samplers_are_found_inside_an_adversary():
    own = PerTeacherFrequencies(samplers("mixture", 2))
    assert conditioned_samplers(None) == []
    assert conditioned_samplers(GaussianFrequencies(D, K)) == []
    assert conditioned_samplers(nn.ModuleDict({"psi": own, "more": nn.Linear(2, 2)})) == [own]
