"""From a configuration to objects: every setting arrives."""

from __future__ import annotations

import dataclasses

import pytest

from ncfm._utils.checks import NcfmError
from ncfm.config import build, trajectory_matching
from ncfm.config import distribution_matching as config_matching
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.schema import RunConfig
from ncfm.distillation import StartRange, distill, distribution_matching
from ncfm.distillation.budget import Budget
from ncfm.distillation.control import RunControl
from ncfm.distillation.options import Extraction, Matching, Trajectories
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import Start
from tiny import WIDTH, few, random_pool


@pytest.mark.parametrize(
    ("settings", "kind", "learned"),
    [
        ({}, "CharacteristicMatching", True),
        ({"frequencies.family": "gaussian"}, "CharacteristicMatching", False),
        ({"frequencies.family": "student"}, "CharacteristicMatching", False),
        ({"frequencies.family": "direct"}, "CharacteristicMatching", True),
        ({"objective.name": "mean"}, "MeanMatching", False),
        ({"objective.name": "mse"}, "PointMatching", False),
        ({"objective.name": "mmd"}, "KernelMatching", False),
        ({"objective.name": "dsdm"}, "CovarianceMatching", False),
    ],
)
def test_objectives_are_built_by_name(settings, kind, learned):
    objective = config_matching.build_objective(make_config(nest(settings)), num_features=8, num_classes=10)
    assert type(objective).__name__ == kind
    assert (objective.adversary is not None) == learned


def test_settings_of_the_peers_reach_them():
    def built(**settings):
        dotted = {f"objective.{key}": value for key, value in settings.items()}
        return config_matching.build_objective(make_config(nest(dotted)), num_features=8, num_classes=10)

    dsdm = built(name="dsdm", covariance_weight=0.3, history_weight=0.4, history_decay=0.5)
    assert (dsdm.covariance_weight, dsdm.history_weight, dsdm.decay) == (0.3, 0.4, 0.5)
    assert dsdm.state()["mean"].shape == (10, 8)
    mmd = built(name="mmd", bandwidths=[0.5, 2.0], bandwidth_factors=[3.0])
    assert (mmd.bandwidths, mmd.factors) == ((0.5, 2.0), (3.0,))
    student = make_config(nest({"frequencies.family": "student", "frequencies.degrees_of_freedom": 7}))
    sampler = config_matching.build_objective(student, num_features=8, num_classes=10).sampler
    assert sampler.degrees_of_freedom == 7


def test_settings_reach_the_objective():
    settings = {"frequencies.number": 48, "frequencies.scale": 0.7, "objective.amplitude_weight": 0.2}
    objective = config_matching.build_objective(make_config(nest(settings)), num_features=8, num_classes=10)
    assert (objective.sampler.num_frequencies, objective.sampler.scale) == (48, 0.7)
    assert objective.amplitude_weight == 0.2


def test_every_distill_setting_reaches_the_loop(monkeypatch, digits):
    # A setting that the builder forgets would be silently ignored.
    given_ = {}
    monkeypatch.setattr(config_matching, "distill", lambda *a, **k: given_.update(k))
    monkeypatch.setattr(config_matching, "build_objective", lambda *a, **k: None)
    config = RunConfig()
    machine = build.build_machine(config.machine, 8)

    class Pool:
        class blended:  # noqa: N801 - stands for an attribute
            num_features = 8
            forward_features = object

    changes = {"factor": 3, "iterations": 7, "ascent_steps": 4, "init": "noise", "extend": None, "image_lr": 0.5}
    config = make_config({"distill": changes, "teachers": {"extractor": "random"}, "machine": {"diagnose_every": 5}})
    config_matching.run_distillation(digits, Pool, config, machine, ipc=3, control=RunControl(log_every=2))
    d = config.distill
    assert (given_["formation"], given_["matching"], given_["budget"]) == (
        Formation(3, d.mode, d.bound),
        Matching.of(d),
        Budget(7, d.seconds, 0.5, d.image_schedule, d.early_stop_patience),
    )
    assert (given_["start"], given_["extraction"]) == (Start("noise"), Extraction("random"))
    assert given_["control"] == RunControl(log_every=2, diagnose_every=5)
    # Every setting of the section is one of an options object, of the start, or of how the set to extend is read.
    known = {field.name for part in (Formation, Matching, Budget, Start) for field in dataclasses.fields(part)}
    known |= {"extend_normalized_by", "extend_factor"}
    assert known == {field.name for field in dataclasses.fields(d)}
    assert (given_["ipc"], given_["compute"]) == (3, machine)


def test_the_loop_has_the_defaults_of_the_front_function(monkeypatch, digits):
    """`ncfm.distillation.distill` and `ncfm.distill` agree where nothing is said."""
    images, config, calls = few(digits, 8), RunConfig(), []

    def step(*arguments, **options):
        calls.append(options)
        raise NcfmError("enough")

    monkeypatch.setattr(distribution_matching, "MinMaxStep", step)
    pool = random_pool(digits)
    objective = config_matching.build_objective(config, num_features=WIDTH, num_classes=10)
    machine = build.build_machine(config.machine, 8)
    with pytest.raises(NcfmError, match="enough"):
        distill(images, pool, objective, ipc=1)
    with pytest.raises(NcfmError, match="enough"):
        config_matching.run_distillation(images, pool, config, machine, ipc=1, control=RunControl())
    for name in ("formation", "matching", "extraction"):
        assert calls[0][name] == calls[1][name]
    assert Budget.of(config.distill) == Budget()
    assert Start().init == config.distill.init
    assert Trajectories.of(config.trajectory) == Trajectories()
    assert build.build_control(config, RunControl()) == RunControl()


@pytest.mark.parametrize("name", ["mtt", "datm"])
def test_every_trajectory_setting_reaches_its_loop(monkeypatch, digits, name):
    given_ = {}
    monkeypatch.setattr(trajectory_matching, "distill_trajectories", lambda *a, **k: given_.update(k))
    settings = {"objective.name": name, "trajectory.start_low": 1, "trajectory.start_high": 5}
    settings |= {"trajectory.start_growth": 7, "trajectory.step_size_lr": 0.5, "distill.init": "noise"}
    config = make_config(nest(settings))
    trajectory_matching.run_trajectory_matching(digits, None, config, ipc=3, control=RunControl())
    t, d = config.trajectory, config.distill
    assert given_["options"] == Trajectories.of(t)
    assert (given_["options"].step_size_lr, given_["options"].start_growth) == (0.5, 7)
    assert (given_["formation"], given_["budget"], given_["augment"]) == (Formation.of(d), Budget.of(d), d.augment)
    assert given_["label_precision"] == ("float16" if name == "datm" else None)
    assert given_["init"] == ("correct" if name == "datm" else "noise")
    assert given_["start"] == (StartRange(1, 5, 2, 7) if name == "datm" else StartRange(1, 5))


def test_experts_that_would_be_too_short_are_refused_before_they_are_trained(monkeypatch, digits):
    monkeypatch.setattr(trajectory_matching, "record_experts", None)
    config = make_config(nest({"objective.name": "mtt", "trajectory.start_high": 8}))
    with pytest.raises(NcfmError, match="experts have 8 epochs"):
        trajectory_matching.build_experts(digits, config, build.build_machine(config.machine, 8))


def test_validation_replaces_the_test_split_by_a_part_of_the_training_split(digits):
    small = few(digits, 8)
    config = make_config(nest({"data.validation": 0.25}))
    carved = build.build_data(small, config)
    assert carved.name == "few digits@validation"
    assert carved.train.counts.tolist() == [6] * 10
    assert carved.test.counts.tolist() == [2] * 10
    assert build.build_data(small, RunConfig()) is small
