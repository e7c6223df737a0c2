"""``ncfm reproduce``: rows by one command, in pieces if need be, beside the paper's and the committed ones."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import sys
import time

import pytest

import ncfm
from ncfm._utils.checks import NcfmError
from ncfm._utils.energy import EnergyMeter
from ncfm._utils.progress import Silent
from ncfm.config.recipes import recipe_names
from ncfm.distillation import Interrupted, MinMaxStep
from ncfm.results import files as results
from ncfm.results.published import NCFM
from ncfm.workflows import reproduce as reproduction
from ncfm.workflows import rows as table_rows
from ncfm.workflows.reproduce import Limited
from ncfm.workflows.rows import COMMITTED, check_header, find_row, read_header, rows
from tiny import SETTINGS

PLAY = MinMaxStep.__call__
TINY = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """Give digits-ipc1 a committed row."""

    def commit(**changes):
        row = {"row": "digits-ipc1", "accuracy_mean": "0.5", "accuracy_std": "0.01", "num_runs": "3"}
        row |= {"network": "convnet1w8", "protocol": "quick@epochs=2,augment=crop_scale_rotate"}
        row |= {"teacher_seconds": "60", "distill_seconds": "1000", "evaluate_seconds": "80"}
        row |= {"accuracy_low": "0.475", "accuracy_high": "0.525", "training_images": "", **changes}
        path = tmp_path / "committed.csv"
        path.write_text(",".join(row) + "\n" + ",".join(f'"{v}"' for v in row.values()) + "\n")
        monkeypatch.setattr(table_rows, "COMMITTED", path)

    return commit


def made(folder):
    with (folder / "results" / "accuracy.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# --- a row ----------------------------------------------------------------------------------------------------


def test_a_row_is_made_compared_and_written(ncfm_, here, committed):
    committed(accuracy_mean="0.999")
    done = ncfm_("reproduce", "digits-ipc1", "--quiet", *TINY)
    assert done.code == 0, done.err
    (row,) = made(here)
    assert (row["dataset"], row["ipc"], row["method"], row["num_runs"]) == ("digits", "1", "ncfm", "2")
    assert row["training_images"] == "1343"
    assert row["iterations"] == "2"
    assert f"torch={results.version('torch')}" in row["versions"].split()
    assert row["command"].startswith("ncfm reproduce digits-ipc1")
    assert "distill.iterations=2" in row["variant"].split(",")  # of the row's own recipe nothing else is told
    assert "image_lr" not in row["variant"]
    found = ncfm.load(here / "runs" / "reproduce" / "digits-ipc1")
    again = ncfm.evaluate(found, settings={"evaluate.runs": 2})
    assert float(row["accuracy_mean"]) == pytest.approx(again.accuracy_mean, rel=1e-5)
    mean = f"{100 * again.accuracy_mean:.1f}"
    assert f"digits-ipc1: {mean} ±" in done.out
    assert "Committed: 99.9 ± 1.0 %" in done.out
    assert "NOT within the variation of students" in done.out


def test_a_finished_row_is_not_made_twice(ncfm_, here):
    assert ncfm_("reproduce", "digits-ipc1", "--quiet", *TINY).code == 0

    def times():
        files = (p for p in (here / "runs").rglob("*") if p.is_file() and p.name != "scores.json")
        return {p: p.stat().st_mtime_ns for p in files}

    before = times()
    assert ncfm_("reproduce", "digits-ipc1", "--quiet", *TINY).code == 0
    assert before == times()
    assert len(ncfm.load(here / "runs" / "reproduce" / "digits-ipc1").scores) == 1
    assert len(made(here)) == 1  # a measurement is written once
    done = ncfm_("reproduce", "digits-ipc1", "--quiet", *TINY, "--set", "distill.factor=2")
    assert done.code == 2
    assert "distill.factor was 1, now 2" in done.err


def test_pieces_make_the_row_of_one_go(ncfm_, here, monkeypatch, tmp_path_factory):
    settings = [*TINY, "--set", "distill.iterations=5", "--set", "teachers.epochs=2", "--set", "teachers.number=2"]
    assert ncfm_("reproduce", "digits-ipc1", "--quiet", "--out", "whole", *settings).code == 0
    monkeypatch.setenv("NCFM_CACHE", str(tmp_path_factory.mktemp("another cache")))
    pieces = 0
    # However fast the machine is, the time is over with the first epoch or iteration: each piece does one.
    monkeypatch.setattr(Limited, "is_over", property(lambda limited: limited._deadline is not None))
    while (done := ncfm_("reproduce", "digits-ipc1", "--quiet", "--out", "pieces", "--budget", 0.001, *settings)).code:
        assert done.code == 75, done.err
        assert "The time budget of 0.001 minutes is used up." in done.err
        assert "Run the same command again to resume." in done.err
        pieces += 1
        assert pieces < 30
    assert pieces >= 5
    whole, in_pieces = made(here)
    assert whole["variant"] == in_pieces["variant"]
    measured = [name for name in whole if name.startswith("accuracy")]
    assert {name: whole[name] for name in measured} == {name: in_pieces[name] for name in measured}
    assert (ncfm.load("whole").images == ncfm.load("pieces").images).all()


def test_ctrl_c_is_gone_on_with(ncfm_, here, monkeypatch):
    played = []

    def interrupt(step):
        played.append(1)
        if len(played) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return PLAY(step)

    settings = [*TINY, "--set", "distill.iterations=4"]
    with monkeypatch.context() as patched:
        patched.setattr(MinMaxStep, "__call__", interrupt)
        done = ncfm_("reproduce", "digits-ipc1", "--quiet", *settings)
    assert done.code == 130
    assert "Stopped after iteration 2 of 4." in done.err
    assert "Run the same command again to resume." in done.err
    assert ncfm_("reproduce", "digits-ipc1", "--quiet", *settings).code == 0
    assert made(here)[0]["iterations"] == "4"


def test_one_student_is_compared_with_nothing(ncfm_, here, committed):
    committed()
    done = ncfm_("reproduce", "digits-ipc1", "--quiet", *TINY, "--runs", 1)
    assert "1 student, protocol" in done.out
    assert "interval" not in done.out
    assert "not tested" in done.out


def test_a_result_within_the_interval_and_as_json(ncfm_, here, committed):
    committed(accuracy_std="0.4")
    done = ncfm_("reproduce", "digits-ipc1", "--quiet", "--json", *TINY)
    told = json.loads(done.out)
    against = told["against_committed"]
    assert against["low"] < 0 < against["high"]
    assert against["difference"] == pytest.approx(told["made"]["accuracy_mean"] - 0.5)
    assert told["paper"] is None
    assert told["made"]["variant"].startswith("teachers.network=convnet1w8")


def test_a_protocol_of_its_own_is_not_tested(ncfm_, here, committed):
    committed(protocol="quick@epochs=300")
    done = ncfm_("reproduce", "digits-ipc1", "--quiet", *TINY)
    assert "Committed: 50.0 ± 1.0 % by quick@epochs=300; not tested" in done.out


def test_wrong_arguments_are_told(ncfm_, here):
    done = ncfm_("reproduce", "digit-ipc1")
    assert done.code == 2
    assert "Unknown row 'digit-ipc1'. Did you mean 'digits-ipc1'? `ncfm reproduce --list` shows all." in done.err
    assert "Expected the name of a row" in ncfm_("reproduce").err
    assert ncfm_("reproduce", "digits-ipc1", "--budget", 0).code == 2
    assert not list(here.iterdir())


# --- the list -------------------------------------------------------------------------------------------------


def test_the_list_has_every_cell_of_the_paper(ncfm_, committed):
    committed(row="cifar100-ipc1", training_images="25000")
    done = ncfm_("reproduce", "--list", "--json")
    told = {entry["row"]: entry for entry in json.loads(done.out)}
    for (data, ipc, network), value in NCFM.items():
        if network == "convnet":
            for schedule in ("", "-paper"):
                assert told[f"{data}-ipc{ipc}{schedule}"]["paper"] == value
    assert told["cifar100-ipc1"]["committed"]["accuracy_mean"] == "0.5"
    shown = ncfm_("reproduce", "--list").out
    assert "50.0 ± 1.0" in shown
    assert "25,000 of 50,000 images" in re.sub(r"\s+", " ", shown)
    assert re.search(r"cifar100-ipc1 +34\.4 +50\.0 ± 1\.0 +19 min ", shown)
    predicted = find_row("cifar10-ipc10-paper").header["Time"].removeprefix("about ").split(" on ")[0]
    assert re.search(rf"cifar10-ipc10-paper +71\.8 +- +~ {predicted}", shown)
    assert "71.8" in shown


def test_rows_come_by_data_images_and_schedule():
    names = [row.name for row in rows()]
    assert names.index("cifar10-ipc10") < names.index("cifar10-ipc10-paper") < names.index("cifar10-ipc50")
    row = find_row("cifar10-ipc10-paper")
    assert (row.data, row.ipc, row.schedule, row.paper) == ("cifar10", 10, "paper", 71.8)


def test_paper_rows_have_the_papers_schedule():
    for row in rows():
        if row.schedule == "paper":
            config = table_rows.resolve_config(row.data, row.ipc, row.name, None, None)
            subset = row.data.startswith("image") and row.data != "imagenet-1k"
            assert (config.teachers.number, config.teachers.epochs) == (20, 80 if subset else 60)
            assert (config.distill.iterations, config.distill.real_batch_per_class) == (20000, 1024)
            assert (config.frequencies.number, config.distill.image_lr) == (1024, 1e-3)
            assert config.evaluate.protocol == "ncfm-2025-v2"


# --- headers --------------------------------------------------------------------------------------------------


def test_every_recipe_of_the_package_has_its_header():
    for name in recipe_names():
        check_header(name)


def test_a_header_goes_on_over_lines(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "# Title\n# Expected: one\n#           and two\n# A remark\n#  aside\n# Paper: 3 %\nseed = 1\n# Paper: 4\n"
    )
    assert read_header(str(path)) == {"Expected": "one and two", "Paper": "3 %"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("# Expected:", "# Hoped:"), "no line `# Expected"),
        (("ncfm reproduce cifar10-ipc10", "ncfm reproduce cifar10-ipc1"), "does not name it"),
        (("71.8", "71.9"), "the paper reports 71.8, the header '71.9"),
        (("66.5 +- 0.5 %", "not run yet"), "not run yet, and no line `# Time"),
    ],
)
def test_wrong_headers_are_told(tmp_path, monkeypatch, change, message):
    text = table_rows.recipe_path("cifar10-ipc10").read_text()
    assert change[0] in text
    path = tmp_path / "changed.toml"
    path.write_text(text.replace(*change))
    monkeypatch.setattr(table_rows, "recipe_path", lambda name: path)
    with pytest.raises(NcfmError, match=message):
        check_header("cifar10-ipc10")


def test_committed_rows_are_of_known_rows_and_their_headers_say_them():
    told = results.read_rows(COMMITTED)
    assert told
    known = {row.name: row for row in rows()}
    for row in told:
        mean, std = 100 * float(row["accuracy_mean"]), 100 * float(row["accuracy_std"])
        assert f"{mean:.1f} +- {std:.1f} %" in known[row["row"]].header["Expected"], row["row"]


# --- time and energy ------------------------------------------------------------------------------------------


def test_the_limit_ends_with_the_update_after_it():
    limited = Limited(Silent(), 0.05, EnergyMeter(gpus=False))
    limited.begin("stage", 3)
    limited.update(1)
    time.sleep(0.06)
    assert limited.is_over
    with pytest.raises(Interrupted):
        limited.update(2)
    without = Limited(Silent(), None)
    without.update(1)
    assert not without.is_over


def zone(folder, name, what, microjoules, turn=1_000_000_000):
    folder = folder / name
    folder.mkdir()
    for file, content in (("name", what), ("energy_uj", microjoules), ("max_energy_range_uj", turn)):
        (folder / file).write_text(f"{content}\n")
    return folder / "energy_uj"


def test_energy_is_that_of_the_packages_over_turns_of_their_counters(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 999_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 7)
    zone(tmp_path, "intel-rapl:2", "psys", 7)
    meter = EnergyMeter(tmp_path, gpus=False)
    assert meter.can_read
    assert meter.sample() == 0
    first.write_text("8000000")
    second.write_text("1500000")
    assert meter.sample() == pytest.approx(3 + 2.5)
    first.write_text("9000000")
    assert meter.sample() == pytest.approx(6.5)


def test_no_counter_is_no_energy(tmp_path):
    assert EnergyMeter(tmp_path / "none", gpus=False).sample() is None
    zone(tmp_path, "intel-rapl:0", "package-0", "not a number")
    meter = EnergyMeter(tmp_path, gpus=False)
    assert not meter.can_read
    assert meter.sample() is None


def test_energy_of_pieces_adds_up(tmp_path):
    assert reproduction._add_energy(tmp_path / "gone", None) is None
    assert not (tmp_path / "gone").exists()
    assert reproduction._add_energy(tmp_path, 5.0) == 5.0
    assert reproduction._add_energy(tmp_path, 2.5) == 7.5
    assert reproduction._add_energy(tmp_path, None) is None  # a piece that could not be read
    assert reproduction._add_energy(tmp_path, 1.0) is None


def test_energy_after_a_piece_without_a_measurement_is_not_known(tmp_path):
    assert reproduction._add_energy(tmp_path, 5.0, resumed=True) is None
    assert reproduction._add_energy(tmp_path, 5.0, resumed=True) is None


class FixedMeter:
    """36 kJ in every piece: 10 Wh."""

    def sample(self):
        return 36_000.0


def test_energy_is_measured_where_it_is_asked_for(ncfm_, here, monkeypatch):
    monkeypatch.setattr("ncfm._utils.energy.EnergyMeter", FixedMeter)
    done = ncfm_("reproduce", "digits-ipc1", "--quiet", "--energy", *TINY)
    assert done.code == 0, done.err
    assert "Energy: 10 Wh" in done.out
    assert float(made(here)[0]["energy_wh"]) == 10
    path = here / "runs" / "reproduce" / "digits-ipc1" / "energy.json"
    assert json.loads(path.read_text()) == {"joules": 36_000.0}
    done = ncfm_("reproduce", "digits-ipc1", "--quiet", *TINY)
    assert "Energy" not in done.out
    assert json.loads(path.read_text()) == {"joules": None}  # a piece that was not measured
    assert "Energy: not known" in ncfm_("reproduce", "digits-ipc1", "--quiet", "--energy", *TINY).out


def test_without_energy_no_meter_is_imported(ncfm_, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "ncfm._utils.energy", None)  # importing it fails
    done = ncfm_("reproduce", "digits-ipc1", "--quiet", *TINY)
    assert done.code == 0, done.err
    assert made(here)[0]["energy_wh"] == ""
    assert not list(here.rglob("energy.json"))
    with pytest.raises(ImportError):
        reproduction.reproduce(find_row("digits-ipc1"), out=here / "run", settings=SETTINGS, energy=True)
