"""Objectives and samplers of one's own, named ``module:callable``: how they are called, checked and told apart."""

from __future__ import annotations

import sys

import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm.config.distribution_matching import build_objective, build_sampler
from ncfm.config.keys import dotted, nest
from ncfm.config.layers import make_config
from ncfm.config.loops import LOOPS, loop_of
from ncfm.config.methods import METHODS, method_named, method_of_row, read_ablation, usual_method
from ncfm.config.resolve import resolve_config, variant_of
from ncfm.config.schema import RunConfig
from ncfm.discrepancy import mean_gap
from ncfm.distillation.objectives import OBJECTIVES, CharacteristicMatching, KernelMatching
from strategies import normal, rng

C, D = 3, 6

OWN = """
import torch
from torch import nn
from ncfm.discrepancy import mean_gap
from ncfm.distillation.objectives import CharacteristicMatching, Measured, PlainObjective

drawn = torch.rand(1)  # a module may draw when it is imported
made = []

class Tempered(PlainObjective):
    def __init__(self, *, num_features, num_classes, seed_generator, temperature=1.0):
        made.append((num_features, num_classes, seed_generator.initial_seed(), temperature))
        self.temperature = temperature
    def discrepancy(self, real, synthetic, generator):
        return self.temperature * mean_gap(real, synthetic)

class Plain(PlainObjective):  # names no argument
    def discrepancy(self, real, synthetic, generator):
        return mean_gap(real, synthetic)

class Heavier(CharacteristicMatching):
    def __init__(self, sampler, *, amplitude_weight, power=1):
        super().__init__(sampler, amplitude_weight=amplitude_weight)
        self.power = power

class Remembering(Plain):
    def __init__(self, **more):
        self.more, self.seen = more, torch.zeros(())
    def state(self):
        return {"seen": self.seen}
    def remember(self, real):
        self.seen += 1

class Learned(Plain):  # a layer of torch's own draws its weights from torch's generator
    def __init__(self, num_features):
        self.adversary = nn.Linear(num_features, 2)
    def discrepancy(self, real, synthetic, generator):
        return mean_gap(self.adversary(real), self.adversary(synthetic))

class Axes(nn.Module):
    def __init__(self, num_features, num_frequencies, scale=1.0, *, shift=0.0):
        super().__init__()
        self.num_features, self.num_frequencies, self.scale, self.shift = num_features, num_frequencies, scale, shift
    def sample(self, generator):
        z = torch.randn(self.num_frequencies, self.num_features, generator=generator)
        return self.scale * z + self.shift

class LearnedAxes(Axes):
    def __init__(self, num_features, num_frequencies, seed_generator):
        super().__init__(num_features, num_frequencies)
        self.weight = nn.Parameter(torch.rand(num_features, generator=seed_generator))
    def sample(self, generator):
        return self.weight * super().sample(generator)

# --- mistakes

class Half:
    adversary = None
    def to(self, device): ...
    def discrepancy(self, real, synthetic, generator):
        return mean_gap(real, synthetic)
    def state(self):
        return {}
    def remember(self, real): ...

class Scalar(Plain):
    def discrepancy(self, real, synthetic, generator):
        return mean_gap(real, synthetic).sum()

class Infinite(Plain):
    def discrepancy(self, real, synthetic, generator):
        return mean_gap(real, synthetic) / 0

class Detached(Plain):
    def discrepancy(self, real, synthetic, generator):
        return mean_gap(real, synthetic.detach())

class Rooted(Plain):  # finite, but not its gradient
    def discrepancy(self, real, synthetic, generator):
        return ((synthetic - synthetic) * real.mean(-2, keepdim=True)).square().sum(-1).sqrt().sum(-1)

class Failing(Plain):
    def discrepancy(self, real, synthetic, generator):
        return real - synthetic

class Unmeasured(Plain):
    def measure(self, real, synthetic, generator):
        return mean_gap(real, synthetic)

class Listed(Plain):
    def state(self):
        return []

class Unused(Learned):
    def discrepancy(self, real, synthetic, generator):
        return mean_gap(real, synthetic)

class NoModule(Plain):
    adversary = 3

def broken(num_classes):
    raise RuntimeError("no such thing")

def needy(num_classes, width): ...

def no_module(num_features, num_frequencies): ...

class Wide(Axes):
    def sample(self, generator):
        return torch.ones(self.num_frequencies, 1)

class NotFinite(Axes):
    def sample(self, generator):
        return super().sample(generator) / 0

class Frozen(LearnedAxes):
    def sample(self, generator):
        return super().sample(generator).detach()

class Stumbling(Axes):
    def sample(self, generator):
        return self.nothing

number = 3
"""


@pytest.fixture(autouse=True)
def own(own_module):
    own_module("own_code", OWN)


def config_of(**settings):
    return make_config(nest({key.replace("__", "."): value for key, value in settings.items()}))


def objective_of(name, **settings):
    return build_objective(config_of(objective__name=name, **settings), D, C)


def sampler_of(name, **settings):
    return build_sampler(config_of(frequencies__family=name, **settings).frequencies, D, seed=0)


def features():
    return normal(0, C, 8, D).float(), 0.5 + normal(1, C, 4, D).float()


# --- how they are called ------------------------------------------------------------------------------------


def test_an_objective_gets_the_arguments_that_it_names_and_its_options():
    objective = objective_of("own_code:Tempered", objective__options__temperature=2.5)
    expected = 2.5 * mean_gap(*features())
    torch.testing.assert_close(objective.discrepancy(*features(), rng(0)), expected)
    torch.testing.assert_close(objective.measure(*features(), rng(0)).discrepancy, expected)
    made = sys.modules["own_code"].made
    assert [one[:2] for one in made] == [(D, C)] * 2  # one for the trial, one to use
    assert made[0] == made[1]
    objective_of("own_code:Tempered", seed=1)
    assert made[2][2] != made[0][2]  # generators of other seeds


def test_an_objective_may_name_no_argument():
    assert torch.equal(
        objective_of("own_code:Plain").discrepancy(*features(), rng(0)),
        objective_of("mean").discrepancy(*features(), rng(0)),
    )


def test_an_objective_gets_the_sampler_and_the_settings_that_it_names():
    settings = {"frequencies__number": 32, "frequencies__family": "gaussian", "objective__amplitude_weight": 0.2}
    own = objective_of("own_code:Heavier", objective__options__power=3, **settings)
    assert (own.power, own.amplitude_weight, own.sampler.num_frequencies) == (3, 0.2, 32)
    same = objective_of("ncfd", **settings)
    assert torch.equal(own.discrepancy(*features(), rng(0)), same.discrepancy(*features(), rng(0)))
    assert own.has_frequencies
    assert own.spectrum(rng(0)) == same.spectrum(rng(0))
    # A class of the package is as good as one's own.
    assert type(objective_of("ncfm.distillation.objectives:KernelMatching")) is KernelMatching


def test_what_collects_arguments_gets_only_its_options():
    objective = objective_of("own_code:Remembering", objective__options={"a": 1, "b": [1, 2]})
    assert objective.more == {"a": 1, "b": [1, 2]}
    assert float(objective.state()["seen"]) == 0  # the trial's memory is not this one's


def test_layers_get_their_weights_from_the_seed_and_nothing_else_notices():
    state = torch.get_rng_state()
    one, same, other = (objective_of("own_code:Learned", seed=seed).adversary.weight for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_sampler_gets_the_arguments_that_it_names_and_its_options():
    options = {"frequencies__number": 16, "frequencies__scale": 0.5}
    sampler = sampler_of("own_code:Axes", frequencies__options__shift=10, **options)
    assert (sampler.num_features, sampler.num_frequencies, sampler.scale, sampler.shift) == (D, 16, 0.5, 10)
    learned = sampler_of("own_code:LearnedAxes", **options)
    assert torch.equal(learned.weight, sampler_of("own_code:LearnedAxes", **options).weight)


def test_ncfd_takes_a_sampler_of_ones_own_as_its_adversary():
    settings = {"frequencies__number": 16}
    fixed = objective_of("ncfd", frequencies__family="own_code:Axes", **settings)
    learned = objective_of("ncfd", frequencies__family="own_code:LearnedAxes", **settings)
    assert type(fixed) is type(learned) is CharacteristicMatching
    assert (fixed.adversary, learned.adversary) == (None, learned.sampler)


def test_the_packages_own_take_options_too():
    assert sampler_of("mixture", frequencies__options__hidden=5).weight_in.shape[0] == 5
    with pytest.raises(NcfmError, match=r"'mixture' cannot be made: .*hiden.*frequencies\.options\.NAME"):
        sampler_of("mixture", frequencies__options__hiden=5)
    with pytest.raises(NcfmError, match=r"'mixture' cannot be made: (Type|Runtime)Error"):
        sampler_of("mixture", frequencies__options__hidden="many")
    with pytest.raises(NcfmError, match=r"objective\.options\.corrected is given already"):
        objective_of("ncfd", objective__options__corrected=True)


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Half", "has no couples_classes, has_frequencies, measure, diagnose, spectrum .*PlainObjective"),
        ("Scalar", r"one value for each class, a tensor of shape \(3,\), got Tensor of shape \(\)"),
        ("Infinite", "is not finite on random features"),
        ("Detached", "not differentiable: no gradient reaches the synthetic features"),
        ("Rooted", "gradient that is not finite, on the synthetic features"),
        ("Failing", r"fails on real features \(3, 4, 6\) and synthetic ones \(3, 2, 6\): RuntimeError"),
        ("Unmeasured", "must measure a Measured"),
        ("Listed", r"state\(\) .* must be a dict of tensors, got list"),
        ("Unused", "no gradient reaches the adversary's weight"),
        ("NoModule", "adversary .* must be a torch.nn.Module or None, got int"),
        ("broken", "cannot be made: RuntimeError: no such thing"),
        ("needy", "cannot be made: missing a required argument: 'width'.*num_features.*objective.options.NAME"),
        ("number", "must be callable"),
        ("Temperd", "Nearest: Tempered"),
    ],
)
def test_what_is_no_objective_is_told_in_a_line(name, message):
    with pytest.raises(NcfmError, match=message) as told:
        objective_of(f"own_code:{name}")
    assert "own_code" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_module", "must return a torch.nn.Module with num_frequencies.*got NoneType"),
        ("Wide", r"shape \(num_frequencies, num_features\) = \(1024, 6\), got Tensor of shape \(1024, 1\)"),
        ("NotFinite", "not finite"),
        ("Frozen", "no gradient reaches them"),
        ("Stumbling", r"fails in sample\(generator\): AttributeError"),
        ("broken", "missing a required argument: 'num_classes'"),
        ("missing", "has no 'missing'"),
    ],
)
def test_what_is_no_sampler_is_told_in_a_line(name, message):
    for build in (sampler_of, lambda family: objective_of("ncfd", frequencies__family=family)):
        with pytest.raises(NcfmError, match=message) as told:
            build(f"own_code:{name}")
        assert "own_code" in str(told.value)
        assert "\n" not in str(told.value)


def test_options_that_do_not_fit_are_told():
    with pytest.raises(NcfmError, match=r"own_code:Tempered.*temprature.*objective\.options\.NAME"):
        objective_of("own_code:Tempered", objective__options__temprature=1)
    with pytest.raises(NcfmError, match=r"objective\.options\.num_classes is given already"):
        objective_of("own_code:Tempered", objective__options__num_classes=1)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("objective.name", "mnd", "Unknown objective 'mnd'. Did you mean 'mmd'"),
        ("objective.name", "MyObjective", "Unknown objective 'MyObjective'"),
        ("objective.name", "a b:c", "Unknown objective"),
        ("frequencies.family", "mixtur", "Unknown family of frequencies 'mixtur'. Did you mean 'mixture'"),
        ("objective.options", 3, r"objective\.options"),
    ],
)
def test_typos_in_plain_names_are_told(setting, value, message):
    with pytest.raises(NcfmError, match=message):
        make_config(nest({setting: value}))


def test_settings_alone_import_nothing():
    make_config(nest({"objective.name": "own_code:Tempered", "frequencies.family": "own_code:Axes"}))
    assert "own_code" not in sys.modules


# --- options as settings ------------------------------------------------------------------------------------


def test_options_are_nested_flattened_and_merged_key_by_key():
    config = config_of(objective__options__a=1, objective__options__deep={"x": 2.5}, frequencies__options__b="two")
    flat = dotted(config)
    assert {key: value for key, value in flat.items() if "options" in key} == {
        "objective.options.a": 1,
        "objective.options.deep.x": 2.5,
        "frequencies.options.b": "two",
    }
    assert make_config(nest(flat)) == config
    merged = make_config(nest({"objective.options.a": 1, "objective.options.b": 2}), nest({"objective.options.a": 3}))
    assert merged.objective.options == {"a": 3, "b": 2}
    assert not any("options" in key for key in dotted(RunConfig()))


def test_nesting_leaves_the_given_table_alone():
    table = {"a": 1}
    assert nest({"objective.options": table, "objective.options.b": 2})["objective"]["options"] == {"a": 1, "b": 2}
    layers = ({"objective": {"options": table}}, {"objective": {"options": {"c": 3}}})
    assert make_config(*layers).objective.options == {"a": 1, "c": 3}
    assert table == {"a": 1}


def test_a_layer_that_names_another_objective_starts_without_options():
    recipe = nest({"objective.name": "own_code:Tempered", "objective.options.temperature": 2, "frequencies.number": 8})
    assert make_config(recipe, nest({"objective.name": "mean"})).objective.options == {}
    assert make_config(recipe, nest({"frequencies.family": "gaussian"})).objective.options == {"temperature": 2}


def test_a_configuration_without_options_is_that_of_the_version_before():
    stored = RunConfig().model_dump(mode="json")
    for section in ("objective", "frequencies"):
        del stored[section]["options"]
    assert make_config(stored) == RunConfig()


def test_variants_name_the_options_that_differ():
    def variant(**settings):
        named = {key.replace("__", "."): value for key, value in settings.items()}
        return variant_of("digits", 7, resolve_config("digits", 7, "none", named, None), recipe="none")

    assert variant() == ""
    assert variant(frequencies__family="gaussian", distill__factor=1) == "gaussian,distill.factor=1"
    assert variant(objective__name="own_code:Tempered") == ""  # the method says it
    assert variant(objective__name="own_code:Tempered", objective__options__temperature=2) == (
        "objective.options.temperature=2"
    )
    assert variant(frequencies__family="own_code:Axes", frequencies__options__shift=1) == (
        "frequencies.family=own_code:Axes,frequencies.options.shift=1"
    )


# --- methods ------------------------------------------------------------------------------------------------


def test_every_objective_has_a_loop_and_a_method():
    assert LOOPS.keys() == {*OBJECTIVES, "mtt", "datm"}
    for name in LOOPS:
        usual = usual_method(name)
        assert usual.distils
        assert make_config(nest(usual.settings)).objective.name == name
        assert METHODS[usual.name] is usual is method_of_row(usual.name)
    trajectories = [name for name in LOOPS if "trajectory." in loop_of(config_of(objective__name=name)).sections]
    assert trajectories == ["mtt", "datm"]


FRESH = {"teachers__extractor": "random", "distill__calibration_weight": 0}


@pytest.mark.parametrize(
    ("settings", "needed", "trained"),
    [
        ({}, "teachers", True),
        ({"objective__name": "own_code:Plain"}, "teachers", True),
        ({"teachers__extractor": "random"}, "teachers", True),  # of the calibration
        (FRESH, "fresh networks", False),
        (FRESH | {"labels__kind": "soft"}, "teachers", True),  # which give the labels
        (FRESH | {"distill__init": "rded"}, "teachers", True),  # which choose the crops
        (FRESH | {"distill__real_batches": "clustered"}, "teachers", True),  # whose features are clustered
        (FRESH | {"distill__real_batches": "clustered", "distill__cluster_space": "pixels"}, "fresh networks", False),
        ({"objective__name": "mtt"}, "experts", True),
        ({"objective__name": "datm", "teachers__extractor": "random"}, "experts", True),
    ],
)
def test_methods_say_what_networks_they_need(settings, needed, trained):
    config = config_of(**settings)
    source = loop_of(config).needs(config)
    assert (source.name, source.is_trained) == (needed, trained)
    assert (source.count(config) > 0) == trained


def test_selections_say_what_networks_they_need():
    needs = {name: method.selection.needs for name, method in METHODS.items() if method.selection is not None}
    assert {name for name, needed in needs.items() if needed is not None} == {
        "herding",
        "kcenter",
        "kmeans",
        "rded",
        "rded-teacher",
    }


def test_an_objective_of_ones_own_is_a_method():
    method = method_named("own_code:Tempered")
    assert (method.name, method.settings) == ("own_code:Tempered", {"objective.name": "own_code:Tempered"})
    assert method.distils
    assert method_of_row("own_code:Tempered") == method
    with pytest.raises(NcfmError, match=r"Unknown method 'herdin'\. Did you mean 'herding'"):
        method_named("herdin")


def test_an_ablation_may_use_an_objective_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("""method = "own_code:Tempered"
[variants.cold]
"objective.options.temperature" = 0.5
[variants.hot]
"objective.options.temperature" = 4.0
"distill.factor" = 1
[variants.other]
"objective.name" = "own_code:Plain"
[variants.mean]
"objective.name" = "mean"
""")
    variants = read_ablation(str(path))
    assert [method.name for method in variants.values()] == [*["own_code:Tempered"] * 2, "own_code:Plain", "mean"]
    hot = resolve_config("digits", 7, "none", variants["hot"].settings, None)
    assert variant_of("digits", 7, hot, method=variants["hot"], recipe="none") == (
        "objective.options.temperature=4.0,distill.factor=1"
    )
    assert "own_code" not in sys.modules
