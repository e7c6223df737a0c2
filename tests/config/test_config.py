"""Configuration: who wins over whom, every mistake at once, and every packaged recipe valid."""

from __future__ import annotations

import dataclasses
import importlib.resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from ncfm._utils.checks import NcfmError
from ncfm.config import build, trajectory_matching
from ncfm.config import distribution_matching as config_matching
from ncfm.config.recipes import read_recipe, recipe_names, recipe_path
from ncfm.config.resolve import resolve_config
from ncfm.config.schema import RunConfig, describe_keys, known_keys, make_config, nest, parse_setting
from ncfm.distillation import StartRange, distill, distribution_matching
from ncfm.distillation.budget import Budget
from ncfm.distillation.control import RunControl
from ncfm.distillation.options import Extraction, Matching, Trajectories
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import Start
from tiny import SETTINGS, WIDTH, few, random_pool


def write(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


# --- precedence ---------------------------------------------------------------------------------------------


def test_command_over_recipe_over_default(tmp_path):
    recipe = write(tmp_path, "seed = 5\n[distill]\niterations = 7\nfactor = 1\n")
    config = resolve_config("digits", 1, recipe, {"distill.iterations": 9}, None)
    default = RunConfig()
    assert config.distill.iterations == 9  # command line
    assert config.distill.factor == 1  # recipe
    assert config.distill.image_lr == default.distill.image_lr
    assert config.seed == 5
    assert resolve_config("digits", 1, recipe, {"seed": 6}, None).seed == 6
    assert resolve_config("digits", 1, recipe, {"seed": 6}, 7).seed == 7  # --seed over --set seed
    assert resolve_config("digits", 1, recipe, None, 0).seed == 0


def test_none_is_the_defaults():
    assert resolve_config("digits", 1, "none", None, None) == RunConfig()
    assert resolve_config("no such data", 17, None, None, None) == RunConfig()  # no recipe fits


def test_the_fitting_recipe_is_taken(tmp_path, monkeypatch, digits):
    monkeypatch.setattr("ncfm.config.recipes.RECIPES", tmp_path)
    write(tmp_path, "seed = 11", "digits-ipc3.toml")
    assert resolve_config("digits", 3, None, None, None).seed == 11
    assert resolve_config(digits, 3, None, None, None).seed == 11
    assert resolve_config("digits", 4, None, None, None).seed == 0
    assert resolve_config("digits", 3, "none", None, None).seed == 0


def test_layers_merge_key_by_key():
    first = {"distill": {"factor": 1, "iterations": 5}, "seed": 1}
    config = make_config(first, {"distill": {"iterations": 6}}, {})
    assert (config.distill.factor, config.distill.iterations, config.seed) == (1, 6, 1)
    assert first == {"distill": {"factor": 1, "iterations": 5}, "seed": 1}  # layers are left as they were


def test_a_configuration_written_and_read_is_itself():
    config = make_config(nest(SETTINGS))
    assert make_config(config.model_dump()) == config
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


# --- mistakes -----------------------------------------------------------------------------------------------


def test_an_unknown_key_of_a_recipe_names_the_nearest():
    with pytest.raises(NcfmError, match=r"unknown key 'distill\.itertions'\. Did you mean 'distill\.iterations'"):
        make_config({"distill": {"itertions": 3}})


def test_an_unknown_section_is_refused():
    with pytest.raises(NcfmError, match="unknown key 'distil'"):
        make_config({"distil": {"iterations": 3}})


@pytest.mark.parametrize(
    ("key", "guess"),
    [("distill.itertions", "distill.iterations"), ("iteration", "distill.iterations"), ("sed", "seed")],
)
def test_an_unknown_setting_names_the_nearest(key, guess):
    with pytest.raises(NcfmError, match=rf"unknown key '{key}'\. Did you mean '{guess}'.*ncfm recipes keys"):
        make_config(nest({key: 1}))


@pytest.mark.parametrize("key", ["lr", "runs"])
def test_the_guess_is_a_setting(key):
    with pytest.raises(NcfmError) as error:
        make_config(nest({key: 1}))
    assert str(error.value).split("Did you mean '")[1].split("'")[0] in known_keys()


def test_a_section_is_no_setting():
    with pytest.raises(NcfmError, match=r"distill: .*got 3"):
        make_config(nest({"distill": 3}))


def test_every_mistake_is_told_at_once():
    wrong = {
        "distill": {"itertions": 3, "factor": 0, "mode": "triple"},
        "objective": {"amplitude_weight": 1.5},
        "teachers": {"epochs": "many"},
        "sed": 1,
    }
    with pytest.raises(NcfmError) as error:
        make_config(wrong)
    text = str(error.value)
    assert len(text.splitlines()) == 7
    for part in (
        "'distill.itertions'",
        "distill.factor: input should be greater than or equal to 1, got 0",
        "distill.mode: input should be 'single', 'multi' or 'bounded', got 'triple'",
        "objective.amplitude_weight",
        "teachers.epochs",
        "'sed'",
    ):
        assert part in text


def test_every_mistake_of_the_command_line_is_told_at_once():
    with pytest.raises(NcfmError) as error:
        resolve_config("digits", 1, "none", {"distill.itertions": 3, "distill.fctor": 1, "distill.bound": 0}, None)
    assert all(key in str(error.value) for key in ("itertions", "fctor", "bound"))


@pytest.mark.parametrize(
    "setting",
    [
        {"distill.image_lr": 0},
        {"distill.image_lr": float("nan")},
        {"distill.matching_weight": float("inf")},
        {"distill.matching_weight": -1.0},
        {"distill.descent_steps": 0},
        {"frequencies.spread": 1.0},
        {"frequencies.family": "cauchy"},
        {"data.validation": 1.0},
        {"data.channels": 0},
        {"data.fit": "squash"},
        {"teachers.number": 0},
        {"teachers.cutmix": 1.1},
        {"evaluate.runs": 0},
        {"machine.precision": "float64"},
        {"seed": -1},
        {"seed": 1.5},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(setting):
    (key,) = setting
    with pytest.raises(NcfmError, match=key.replace(".", r"\.")):
        make_config(nest(setting))


# --- settings as text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("distill.factor=1", ("distill.factor", 1)),
        ("distill.image_lr=1e-3", ("distill.image_lr", 0.001)),
        ("distill.image_lr = 0.5", ("distill.image_lr", 0.5)),
        ("objective.corrected=true", ("objective.corrected", True)),
        ("distill.mode=multi", ("distill.mode", "multi")),
        ('distill.mode="multi"', ("distill.mode", "multi")),
        ("distill.augment=color_crop", ("distill.augment", "color_crop")),
        ("machine.device=cuda:1", ("machine.device", "cuda:1")),
        ("distill.early_stop_patience=none", ("distill.early_stop_patience", None)),
        ("data.image_size=None", ("data.image_size", None)),
        ("a=b=c", ("a", "b=c")),
        ("a=", ("a", "")),
    ],
)
def test_settings_are_read_with_their_types(text, expected):
    key, value = parse_setting(text)
    assert (key, value) == expected
    assert type(value) is type(expected[1])


def test_a_setting_without_equals_is_told():
    with pytest.raises(NcfmError, match=r"Expected --set key=value, got 'distill.factor'; for example"):
        parse_setting("distill.factor")


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_numbers_survive_their_text(value):
    assert parse_setting(f"k={str(value).lower()}") == ("k", value)


@pytest.mark.parametrize("key", ["distill.augment", "teachers.augment"])
def test_no_augmentation_can_be_asked_for(key):
    section, name = key.split(".")
    config = make_config(nest(dict([parse_setting(f"{key}=none")])))
    assert getattr(getattr(config, section), name) == "none"


def test_students_without_augmentation_can_be_asked_for():
    config = make_config(nest(dict([parse_setting("evaluate.augment=none")])))
    assert build.build_protocol(config).recipe.augment == "none"


# --- the keys -----------------------------------------------------------------------------------------------


def test_every_key_is_listed_once_and_can_be_set():
    keys = known_keys()
    assert len(keys) == len(set(keys))
    assert {"distill.iterations", "frequencies.family", "seed"} <= set(keys)
    default = RunConfig().model_dump()
    for key in keys:
        *sections, last = key.split(".")
        value = default[sections[0]][last] if sections else default[last]
        assert make_config(nest({key: value})) == RunConfig()
    assert len(keys) == 1 + sum(len(section) for section in default.values() if isinstance(section, dict))


def test_keys_are_listed_with_their_defaults():
    told = dict(describe_keys())
    assert told["distill.factor"].startswith("2  A stored image")
    assert told["seed"] == "0"


def test_configurations_are_frozen():
    config = RunConfig()
    for target in (config, *(v for _, v in config if isinstance(v, BaseModel))):
        name = next(iter(type(target).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(target, name, None)
    for section in (config.distill, config.trajectory):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(section, dataclasses.fields(section)[0].name, None)


def test_the_defaults_share_nothing_that_changes():
    assert make_config({"distill": {"iterations": 3}}) != RunConfig()
    assert RunConfig().distill.iterations == 1000


# --- recipes ------------------------------------------------------------------------------------------------


def packaged():
    """Every .toml file of the package, at any depth, found without the code under test."""
    todo, found = [importlib.resources.files("ncfm")], []
    while todo:
        for entry in todo.pop().iterdir():
            if entry.is_dir() and entry.name != "ablations":  # tests/test_comparison.py has those
                todo.append(entry)
            elif entry.name.endswith(".toml"):
                found.append(entry)
    return found


def test_every_packaged_recipe_is_found():
    files = packaged()
    assert len(files) >= 1
    assert sorted(f.name.removesuffix(".toml") for f in files) == list(recipe_names())
    assert len(set(recipe_names())) == len(files)


def test_every_packaged_recipe_is_valid():
    checked = [make_config(read_recipe(name)) for name in recipe_names()]
    assert len(checked) == len(packaged())
    for config in checked:
        build.build_protocol(config)  # names that only the builders know
        config_matching.build_objective(config, num_features=8, num_classes=10)


def test_every_packaged_recipe_begins_with_its_title():
    for file in packaged():
        assert file.read_text(encoding="utf-8").startswith("# ")


def test_the_recipe_of_dance_is_that_of_its_authors():
    # Hansong-Zhang/DANCE; the files stand next to the settings.
    config = make_config(read_recipe("cifar10-ipc10-dance"))
    d, t = config.distill, config.teachers
    assert (d.iterations, d.real_batch_per_class, d.augment, d.init) == (10000, 128, "dsa:color_crop_cutout", "first")
    assert (d.image_optimizer, d.image_lr, d.image_momentum, d.image_schedule) == ("sgd", 0.1, 0.5, "constant")
    assert (d.calibration_step, d.calibration_reduction, d.normalize_features) == ("separate", "sum", False)
    assert (t.number, t.epochs, t.optimizer, t.lr, t.batch_size) == (5, 60, "heavy-ball", 0.01, 64)
    assert (config.objective.name, config.evaluate.protocol, config.data.deviation) == ("mean", "dance-2024", "images")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"teachers.last_epoch": 9, "teachers.extractor": "checkpoint"},
            r"must be at most teachers\.epochs=4, got 9",
        ),
        ({"teachers.blend_high": 0.5, "teachers.extractor": "trained"}, "is for teachers.extractor=blended"),
        ({"teachers.pool": "x", "teachers.extractor": "checkpoint"}, "teachers.pool has its start and its end only"),
        ({"distill.image_weight_decay": 0.1}, "is for distill.image_optimizer=adamw"),
        ({"distill.num_clusters": 5}, "is for distill.real_batches=clustered"),
    ],
)
def test_settings_of_another_choice_are_refused(settings, message):
    with pytest.raises(NcfmError, match=message):
        make_config(nest(settings))


def test_a_recipe_extends_another(tmp_path):
    (tmp_path / "base.toml").write_text(
        'extends = "paper"\nseed = 3\n[distill]\nfactor = 1\n[evaluate]\nprotocol = "brief"\nruns = 7\n'
    )
    inner = tmp_path / "rows"
    inner.mkdir()
    (inner / "mine.toml").write_text('extends = "../base.toml"\n[distill]\nimage_lr = 0.5\n')
    config = make_config(read_recipe(str(inner / "mine.toml")))
    assert config.distill.image_lr == 0.5  # its own
    assert (config.seed, config.distill.factor, config.evaluate.runs) == (3, 1, 7)  # of what it extends
    assert (config.teachers.number, config.distill.iterations) == (20, 20000)  # of what that extends
    (inner / "other.toml").write_text('extends = "../base.toml"\n[evaluate]\nprotocol = "quick"\n')
    assert make_config(read_recipe(str(inner / "other.toml"))).evaluate.runs is None  # a protocol begins anew


def test_recipes_that_extend_each_other_are_told(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.toml").write_text(f'extends = "{other}.toml"\n')
    with pytest.raises(NcfmError, match=r"a\.toml extends itself, by way of a\.toml, b\.toml"):
        read_recipe(str(tmp_path / "a.toml"))


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("3", r'expected extends = "NAME"'),
        ('"papre"', r"Unknown recipe 'papre'. Did you mean 'paper"),
        ('"gone.toml"', "Expected a recipe file"),
    ],
)
def test_what_cannot_be_extended_is_told(tmp_path, base, message):
    (tmp_path / "mine.toml").write_text(f"extends = {base}\n")
    with pytest.raises(NcfmError, match=message):
        read_recipe(str(tmp_path / "mine.toml"))


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(NcfmError, match=r"Unknown recipe 'digits-ipc'. Did you mean 'digits-ipc1\d*'.*\.toml"):
        recipe_path("digits-ipc")


def test_a_missing_recipe_file_is_told(tmp_path):
    with pytest.raises(NcfmError, match="Expected a recipe file"):
        read_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("content", [b"distill = [", b"\xff\xfe\x00", b"a = 1\na = 2"])
def test_a_recipe_that_is_not_toml_is_told(tmp_path, content):
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(NcfmError, match=r"Could not read the recipe .*mine\.toml"):
        read_recipe(str(tmp_path / "mine.toml"))


# --- from configuration to objects --------------------------------------------------------------------------


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


def test_a_layer_that_names_a_protocol_starts_from_it():
    recipe = {"evaluate": {"protocol": "quick", "epochs": 300, "runs": 5, "augment": "crop"}}
    named = make_config(recipe, {"evaluate": {"protocol": "brief", "looks": 2}}).evaluate
    assert (named.protocol, named.epochs, named.runs, named.looks) == ("brief", None, None, 2)
    assert named.augment == "crop"  # of the data, not of the protocol
    kept = make_config(recipe, {"evaluate": {"runs": 2}}).evaluate
    assert (kept.protocol, kept.epochs, kept.runs) == ("quick", 300, 2)
    assert make_config(recipe, {"evaluate": {"protocol": "brief", "epochs": 7}}).evaluate.epochs == 7
