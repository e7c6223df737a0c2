"""Plans: every stage is counted right, timed for real, and nothing is left behind."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest

import ncfm
from ncfm._utils.checks import NcfmError
from ncfm._utils.files import cache_dir
from ncfm.cli.main import main
from ncfm.results.formatting import duration
from ncfm.training.teachers import network_for
from ncfm.workflows import plan as planning
from ncfm.workflows import timing
from tiny import SETTINGS, few


@pytest.fixture(scope="module")
def images(digits):
    return few(digits, 16)


def stages_of(plan):
    return {stage.name: stage for stage in plan.stages}


def test_every_stage_is_counted(images):
    settings = SETTINGS | {"teachers.number": 3, "teachers.epochs": 4, "evaluate.looks": 5, "distill.iterations": 70}
    plan = planning.plan(images, ipc=1, settings=settings, steps=2)
    stages = stages_of(plan)
    assert list(stages) == ["teachers", "distilling", "students", "testing"]
    assert stages["teachers"].units == 3 * 4
    assert stages["distilling"].units == 70
    assert stages["students"].units == 2 * 2  # SETTINGS: two students of two epochs
    assert stages["testing"].units == 2 * 5
    assert all(0 < stage.seconds_per_unit < 10 for stage in stages.values())
    assert plan.seconds == pytest.approx(math.fsum(s.units * s.seconds_per_unit for s in stages.values()))
    assert plan.peak_memory_mb > 50
    assert plan.images_per_pass is None
    assert plan.threads >= 1


@pytest.fixture
def second_per_image(monkeypatch):
    """A clock that an image in a forward pass of a training moves by a second, and nothing else."""
    seconds, fit = [0], timing.fit

    def counting(*arguments, forward, **options):
        def forward_by_the_clock(images):
            seconds[0] += len(images)
            return forward(images)

        return fit(*arguments, forward=forward_by_the_clock, **options)

    monkeypatch.setattr(timing, "fit", counting)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: float(seconds[0])))


def test_an_epoch_costs_its_batches(images, digits, second_per_image):
    few_, all_ = (
        stages_of(planning.plan(d, ipc=1, recipe="none", settings=SETTINGS, steps=5)) for d in (images, digits)
    )
    assert few_["teachers"].seconds_per_unit == 2 * 64  # 160 images make 2 whole batches of 64
    assert all_["teachers"].seconds_per_unit == 20 * 64  # 1,343 make 20


def test_teachers_in_the_cache_are_not_counted(images):
    settings = SETTINGS | {"teachers.number": 1}
    ncfm.pretrain(images, settings=settings)
    assert stages_of(planning.plan(images, ipc=1, settings=settings, steps=1))["teachers"].units == 0
    more = stages_of(planning.plan(images, ipc=1, settings=settings | {"teachers.number": 3}, steps=1))
    assert more["teachers"].units == 2
    other = stages_of(planning.plan(images, ipc=1, settings=settings, seed=5, steps=1))
    assert other["teachers"].units == 1


@pytest.mark.parametrize("name", ["mtt", "datm"])
def test_experts_are_counted_in_place_of_teachers(images, name):
    short = {"epochs": 3, "start_high": 1, "student_steps": 2, "experts": 2}
    settings = SETTINGS | {"objective.name": name, "distill.factor": 1, "distill.init": "real"}
    settings |= {f"trajectory.{key}": value for key, value in short.items()}
    stages = stages_of(planning.plan(images, ipc=1, settings=settings, steps=1))
    assert list(stages) == ["experts", "distilling", "students", "testing"]
    assert stages["experts"].units == 2 * 3
    ncfm.distill(images, ipc=1, recipe="none", settings=settings | {"trajectory.experts": 1})
    assert stages_of(planning.plan(images, ipc=1, settings=settings, steps=1))["experts"].units == 3
    labelled = planning.plan(images, ipc=1, settings=settings | {"evaluate.labels": "teacher"}, steps=1)
    assert list(stages_of(labelled)) == ["experts", "teachers", "distilling", "students", "testing"]


def test_fresh_networks_take_no_training(images):
    settings = SETTINGS | {"teachers.extractor": "random", "distill.calibration_weight": 0}
    stages = stages_of(planning.plan(images, ipc=1, settings=settings, steps=1))
    assert list(stages) == ["distilling", "students", "testing"]


def test_teachers_of_another_seed_are_found(images):
    settings = SETTINGS | {"teachers.number": 1, "teachers.seed": 3}
    ncfm.pretrain(images, settings=settings)
    assert stages_of(planning.plan(images, ipc=1, settings=settings, steps=1))["teachers"].units == 0


def test_nothing_is_left_behind(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planning.plan(images, ipc=1, settings=SETTINGS, steps=1)
    assert list(tmp_path.iterdir()) == []
    assert not (cache_dir() / "teachers").exists()


def test_short_memory_shows_in_the_plan(images, monkeypatch):
    monkeypatch.setattr("ncfm.distillation.step_memory.available_memory", lambda device: 10_000)
    plan = planning.plan(images, ipc=2, settings=SETTINGS, steps=1)
    assert 1 <= plan.images_per_pass < 80


@pytest.mark.parametrize("arguments", [{"ipc": 0}, {"steps": 0}])
def test_impossible_plans_are_refused(images, arguments):
    with pytest.raises(NcfmError, match="at least 1"):
        planning.plan(images, **{"ipc": 1, "settings": SETTINGS} | arguments)


def command(monkeypatch, capsys, *arguments):
    settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    monkeypatch.setattr("sys.argv", ["ncfm", "plan", "digits", "--ipc", "1", "--steps", "1", *settings, *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_the_command_prints_a_table(monkeypatch, capsys):
    monkeypatch.setattr("ncfm.cli._output.console.width", 100, raising=False)
    out = command(monkeypatch, capsys)
    for word in ("teachers", "distilling", "students", "testing", "Peak memory:", "2 iterations", "1 epoch "):
        assert word in out


def test_the_command_prints_json(monkeypatch, capsys):
    found = json.loads(command(monkeypatch, capsys, "--json"))
    assert [stage["name"] for stage in found["stages"]] == ["teachers", "distilling", "students", "testing"]
    assert found["seconds"] > 0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.3456, "0.35 s"),
        (9.99, "10 s"),
        (42.4, "42 s"),
        (98, "98 s"),
        (720, "12 min"),
        (5940, "99 min"),
        (7199, "120 min"),
        (11100, "3.1 h"),
        (48 * 3600 - 1, "48.0 h"),
        (48 * 3600, "2.0 days"),
        (340 * 86400, "340.0 days"),
    ],
)
def test_durations_as_people_say_them(seconds, expected):
    assert duration(seconds) == expected


def test_the_disk_for_checkpoints_of_teachers_is_predicted(images):
    settings = SETTINGS | {"teachers.number": 2, "teachers.epochs": 5, "teachers.extractor": "checkpoint"}
    found = planning.plan(images, ipc=1, settings=settings, steps=1)
    network = network_for(images, SETTINGS["teachers.network"], seed=0)
    weights = sum(p.numel() for p in network.parameters())
    assert found.checkpoints_mb == pytest.approx(2 * 4 * 4 * weights / 2**20)  # four epochs of each between its ends
    assert planning.plan(images, ipc=1, settings=SETTINGS, steps=1).checkpoints_mb == 0


def test_a_plan_neither_clusters_nor_writes(images, own_cache):
    settings = SETTINGS | {"distill.real_batches": "clustered", "distill.num_clusters": 2}
    planning.plan(images, ipc=1, settings=settings, steps=1)
    assert not list(own_cache.rglob("*.safetensors"))
