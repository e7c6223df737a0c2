"""Estimates by arithmetic, and plans that stay within their memory."""

from __future__ import annotations

import json

import pytest
import torch

from ncfm._utils.compute import Compute
from ncfm._utils.progress import Silent
from ncfm.config.pools import TEACHERS
from ncfm.config.resolve import resolve_config
from ncfm.workflows import estimate as estimating
from ncfm.workflows import plan as planning
from ncfm.workflows.estimate import NetworkCost, estimate, fitting_images
from tiny import SETTINGS, few

COST = NetworkCost(seconds=0.5, kept_bytes=2**20)


@pytest.fixture
def known(monkeypatch):
    """Networks of a known cost."""
    monkeypatch.setattr(estimating, "cost_of", lambda name, images, machine: COST)


def test_an_estimate_counts_passes(digits, known):
    config = resolve_config(
        "x",
        2,
        "none",
        SETTINGS | {"distill.factor": 2, "teachers.number": 3, "teachers.epochs": 4, "teachers.batch_size": 50},
        None,
    )
    images = few(digits, 16)  # 160 images, 3 whole batches of 50
    found = estimate(images, config, Compute(), 2, [TEACHERS], None)
    stages = {name: (unit, units, seconds) for name, unit, units, seconds in found.stages}
    decoded = 10 * 2 * 4
    assert found.decoded == decoded
    assert stages["teachers"] == ("epoch", 3 * 4, 3 * 150 * 0.5)
    assert stages["distilling"] == ("iteration", 2, (10 * 4 + 3 * 2 * decoded) * 0.5)
    assert stages["students"] == ("epoch", 2 * 2, 3 * decoded * 0.5)
    assert found.seconds == pytest.approx(sum(units * each for _, units, each in stages.values()))
    held = images.train.images.numel() / 2**20
    assert found.peak_memory_mb == pytest.approx(max(2.5 * decoded, 2.0 * 64) + held)


def test_passes_of_an_iteration_are_limited_by_memory(digits, known):
    config = resolve_config("x", 2, "none", SETTINGS | {"distill.calibration_weight": 0.0}, None)
    images = few(digits, 16)
    found = estimate(images, config, Compute(), 2, [], 2**30)
    # On a CPU a pass holds activations of 64 MiB, here of 64 of the 80 images.
    assert found.peak_memory_mb == pytest.approx(2.5 * 64 + images.train.images.numel() / 2**20)
    low = estimate(images, config, Compute(), 2, [], 100 * 2**20)
    assert low.peak_memory_mb == pytest.approx(128 + images.train.images.numel() / 2**20)  # the batch of students


def test_how_many_images_fit():
    assert fitting_images(COST, None, 2.0) is None
    assert fitting_images(COST, 64 * 2**20, 2.0) == 16  # half of the memory, twice the activations
    assert fitting_images(COST, 10, 2.0) == 1


def test_the_cost_of_a_network_is_measured(digits):
    cost = estimating.cost_of("convnet1w8", digits, Compute())
    larger = estimating.cost_of("convnet1w16", digits, Compute())
    assert 0 < cost.seconds < 1
    assert 8 * 16 * 4 <= cost.kept_bytes < larger.kept_bytes  # at least the pooled output of the block


class Heard(Silent):
    def __init__(self):
        self.events = []

    def begin(self, stage, total, unit="step"):
        self.events.append(("begin", stage, total))

    def update(self, done, note=""):
        self.events.append(("update", done, note))

    def remark(self, text):
        self.events.append(("remark", text))


def test_the_estimate_comes_first_and_every_step_is_reported(digits):
    heard = Heard()
    found = planning.plan(few(digits, 16), ipc=1, recipe="none", settings=SETTINGS, steps=2, reporter=heard)
    kinds = [event[0] for event in heard.events]
    assert kinds[:2] == ["remark", "begin"]
    assert heard.events[0][1].startswith("few digits: by arithmetic about ")
    assert heard.events[1] == ("begin", "timing", 3 * 4)
    assert [event[1] for event in heard.events if event[0] == "update"] == list(range(1, 13))
    assert [event[2] for event in heard.events if event[0] == "update"][::4] == ["distilling", "teachers", "students"]
    assert found.memory_limit_mb == pytest.approx(found.available_memory_mb / 2)


def test_a_plan_with_little_memory_times_smaller_steps(digits, monkeypatch):
    sizes = []
    fit = planning.Timing.training.__globals__["fit"]

    def recording(module, pixels, labels, **options):
        sizes.append(len(pixels))
        return fit(module, pixels, labels, **options)

    monkeypatch.setattr("ncfm.workflows.timing.fit", recording)
    whole = planning.plan(few(digits, 16), ipc=2, recipe="none", settings=SETTINGS, steps=1)
    assert sizes == [64, 64]
    cost = whole.estimate.teacher.kept_bytes
    monkeypatch.setattr(planning, "available_memory", lambda device: 32 * cost)  # half of it: 8 images, twice
    small = planning.plan(few(digits, 16), ipc=2, recipe="none", settings=SETTINGS, steps=1)
    assert sizes[2:] == [8, 8]
    assert small.images_per_pass == 6  # 16 images' worth over 2.5
    assert small.peak_memory_mb >= small.estimate.peak_memory_mb
    assert small.memory_limit_mb == pytest.approx(16 * cost / 2**20)


def test_steps_that_take_long_are_few():
    timing = planning.Timing.__new__(planning.Timing)
    timing.steps = 5
    assert [timing._few(seconds) for seconds in (0.001, 8.0, 15.0, 1000.0)] == [(2, 5), (2, 5), (1, 3), (1, 1)]


def test_a_pilot_is_planned_and_not_trained(digits, monkeypatch):
    monkeypatch.setattr("ncfm.training.pilot.train_pilot", lambda *a, **k: pytest.fail("a pilot was trained"))
    settings = {key: value for key, value in SETTINGS.items() if key != "teachers.epochs"}
    images = few(digits, 40)
    found = planning.plan(images, ipc=1, settings=settings, steps=1)
    assert [stage.name for stage in found.stages][:2] == ["pilot", "teachers"]
    assert found.stages[0].units == 76  # rounds of 19, 19, 38 epochs: 340 images make 8 batches of 40


def test_the_command_prints_the_estimate_first(ncfm_):
    words = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    done = ncfm_("plan", "digits", "--ipc", 1, "--steps", 1, *words)
    assert done.code == 0
    assert done.err.splitlines()[0].startswith("digits: by arithmetic about ")
    assert "This plan was limited to" in done.out.replace("\n", " ")
    stored = json.loads(ncfm_("plan", "digits", "--ipc", 1, "--steps", 1, "--json", *words).out)
    assert stored["estimate"]["decoded"] == 10
    assert torch.tensor(stored["memory_limit_mb"]) > 0
