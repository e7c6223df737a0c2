"""Whole reports: of a run with all that there is, and by the commands."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from ncfm.cli.main import app
from ncfm.workflows.report import REPORT_FILE
from pages import Seen, page_of
from tiny import SETTINGS


def test_a_report_shows_all_that_there_is(run):
    seen = page_of(run)
    assert "<h3>Command</h3>" in (run / REPORT_FILE).read_text(encoding="utf-8")
    for said in (
        "61.0 %",
        "95 % interval 59.0 to 63.0 %",
        "2 networks",
        "Chance 10 %",
        "Amplitude and phase",
        "Spectrum of the learned frequencies",
        "Accuracy by class",
        "From 0 with 50.0 % to 9 with 95.0 %.",
        "From iteration 0 to 2, 3 snapshots.",
        "convnet1w8",
        "frequencies.number",
        "Hash of the images",
        'ncfm.load("mine").decoded()',
        "The real data were not loaded",
    ):
        assert said in seen.text, said
    assert len([i for i in seen.all("img") if i["alt"].startswith("Synthetic image of")]) == 10
    assert len([i for i in seen.all("img") if i["alt"].startswith("First image of")]) == 10
    assert len(seen.all("details")) >= len([s for s in seen.all("svg") if s.get("role") == "img"])


def test_the_command_writes_the_report(run):
    done = CliRunner().invoke(app, ["report", str(run), "--no-data"])
    assert done.exit_code == 0, done.output
    assert (run / REPORT_FILE).is_file()
    assert "Left out: The real data were not loaded" in " ".join(done.output.split())
    told = CliRunner().invoke(app, ["report", str(run), "--no-data", "--json", "--out", str(run / "other.html")])
    said = json.loads(told.output)
    assert said["bytes"] == (run / "other.html").stat().st_size
    assert said["missing"].keys() == {"data"}


def test_to_distil_writes_a_first_report(tmp_path):
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    command = ["distill", "digits", "--ipc", "1", "--recipe", "none", "--out", str(tmp_path / "run"), "-q", *settings]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    seen = Seen((tmp_path / "run" / REPORT_FILE).read_text(encoding="utf-8"))
    assert "The set has not been evaluated yet: run" in seen.text
    assert "Accuracy on the real test split" not in seen.text  # no empty card
