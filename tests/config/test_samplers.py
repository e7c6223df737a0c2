"""Settings of the adversary: what is built from them, what is refused before teachers are trained, what is unread."""

from __future__ import annotations

import warnings

import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm.config.distribution_matching import DistributionMatching, build_objective
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.resolve import variant_of
from ncfm.config.samplers import build_sampler
from ncfm.discrepancy.frequencies import LEARNED_SAMPLERS, GaussianFrequencies
from ncfm.discrepancy.halves import CRITERIA
from ncfm.discrepancy.per_teacher import PerTeacherFrequencies
from ncfm.workflows.preparation import prepare
from strategies import rng
from tiny import NETWORK

D = 6
OWN = """
import torch
from torch import nn
from ncfm.discrepancy import mean_gap
from ncfm.distillation.objectives import CharacteristicMatching, PlainObjective

class Axes(nn.Module):
    def __init__(self, num_features, num_frequencies):
        super().__init__()
        self.num_features, self.num_frequencies = num_features, num_frequencies
        self.weight = nn.Parameter(torch.rand(num_features))
    def sample(self, generator):
        return self.weight * torch.randn(self.num_frequencies, self.num_features, generator=generator)

class Heavier(CharacteristicMatching):
    def __init__(self, sampler, criterion):
        super().__init__(sampler, criterion=criterion)

class Deaf(CharacteristicMatching):
    def __init__(self, sampler):
        super().__init__(sampler)
"""


@pytest.fixture(autouse=True)
def own(own_module):
    own_module("own_sampler", OWN)


def config_of(**settings):
    fixed = {"teachers.network": NETWORK, "frequencies.number": 16, "distill.real_batch_per_class": 4}
    return make_config(nest(fixed | {key.replace("__", "."): value for key, value in settings.items()}))


def check(images, **settings):
    config = config_of(**settings)
    _, machine = prepare(images, config, None)
    DistributionMatching().check(images, config, machine)


# ---------------------------------------------------------------- what is built


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("family", [*LEARNED_SAMPLERS, "own_sampler:Axes"])
def test_the_criterion_reaches_the_objective(family, criterion):
    objective = build_objective(config_of(frequencies__family=family, frequencies__criterion=criterion), D, 3)
    assert objective.criterion == criterion
    own = build_objective(config_of(objective__name="own_sampler:Heavier", frequencies__criterion=criterion), D, 3)
    assert own.criterion == criterion


@pytest.mark.parametrize("family", [*LEARNED_SAMPLERS, "own_sampler:Axes"])
def test_every_teacher_has_a_sampler_and_all_start_as_the_one_for_all_does(family):
    settings = {"frequencies__family": family, "teachers__number": 3}
    one = build_objective(config_of(**settings), D, 3).sampler
    each = build_objective(config_of(**settings, frequencies__per_teacher=True), D, 3).sampler
    assert isinstance(each, PerTeacherFrequencies)
    assert len(each.samplers) == 3
    expected = one.sample(rng(1))
    for teacher in range(3):
        each.condition(teacher, 0.5)
        assert torch.equal(each.sample(rng(1)), expected)
    assert len({p.data_ptr() for p in each.parameters()}) == 3 * len(list(one.parameters()))


def test_fixed_frequencies_are_the_same_for_all_teachers():
    config = config_of(frequencies__family="gaussian", frequencies__per_teacher=True)
    assert isinstance(build_sampler(config.frequencies, D, 0, 3), GaussianFrequencies)


def test_an_objective_of_ones_own_is_tried_with_the_samplers_of_teachers():
    settings = {"frequencies__per_teacher": True, "teachers__number": 2}
    objective = build_objective(config_of(objective__name="own_sampler:Heavier", **settings), D, 3)
    assert isinstance(objective.adversary, PerTeacherFrequencies)


def test_defaults_have_no_name_in_results_and_others_have():
    def named(**settings):
        return variant_of("digits", 2, make_config(nest(settings)))

    assert named(**{"frequencies.criterion": "discrepancy", "frequencies.per_teacher": False}) == ""
    assert named(**{"frequencies.criterion": "halves", "frequencies.per_teacher": True}) == (
        "frequencies.criterion=halves,frequencies.per_teacher=True"
    )


def test_criteria_are_listed_where_one_is_unknown():
    with pytest.raises(NcfmError, match=r"frequencies\.criterion: .*'halves'"):
        make_config(nest({"frequencies.criterion": "half"}))


# ---------------------------------------------------------------- what is refused


def test_settings_that_fit_are_not_mentioned(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(images)
        check(images, frequencies__criterion="halves", frequencies__per_teacher=True, teachers__number=2)
        check(images, frequencies__family="own_sampler:Axes", frequencies__criterion="studentised")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"distill__real_batch_per_class": 9}, r"of 2\.\.8, got 9"),  # the smallest class has 8 images
        ({"distill__real_batch_per_class": 1}, r"of 2\.\.8, got 1"),
        ({"distill__real_pool_per_class": 3}, r"of 2\.\.3, got 4"),
    ],
)
def test_halves_of_a_batch_with_repeated_images_are_refused(images, settings, expected):
    with pytest.raises(NcfmError, match=rf"real_batch_per_class {expected}; change it, or choose .*=discrepancy"):
        check(images, frequencies__criterion="halves", **settings)
    check(images, **settings)


def test_samplers_of_teachers_need_teachers(images):
    with pytest.raises(NcfmError, match=r"teachers\.extractor=random; choose blended or trained"):
        check(images, frequencies__per_teacher=True, teachers__extractor="random")
    with pytest.raises(NcfmError, match=r"machine\.compile=step compiles one sampler"):
        check(images, frequencies__per_teacher=True, machine__compile="step")


# ---------------------------------------------------------------- what is unread


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"frequencies__family": "gaussian", "frequencies__criterion": "halves"},
            r"frequencies\.criterion=halves has no effect: nothing is learned with objective\.name=ncfd and "
            r"frequencies\.family=gaussian\.",
        ),
        (
            {"objective__name": "mean", "frequencies__per_teacher": True},
            r"frequencies\.per_teacher=True has no effect: nothing is learned with objective\.name=mean",
        ),
        (
            {"objective__name": "own_sampler:Deaf", "frequencies__criterion": "studentised"},
            r"has no effect: the objective 'own_sampler:Deaf' does not take the argument 'criterion'\.",
        ),
    ],
)
def test_settings_that_nothing_reads_are_named(images, settings, expected):
    with pytest.warns(UserWarning, match=expected):
        check(images, **settings)
