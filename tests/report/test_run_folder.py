"""Run folders in any state: a sentence for what is missing, and nothing of what is damaged."""

from __future__ import annotations

import json
import shutil

import pytest

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import read_json, write_json, write_text
from ncfm.distillation.checkpoint import CHECKPOINT_FILE
from ncfm.distillation.history import DIAGNOSIS_FILE, METRICS_FILE
from ncfm.distillation.snapshots import SNAPSHOTS_FOLDER
from ncfm.report.run_folder import open_run
from ncfm.synthetic.folders import CONFIG_FILE, SCORES_FILE, SET_FOLDER
from ncfm.workflows.report import REPORT_FILE, write_report
from pages import Seen, page_of


@pytest.mark.parametrize(
    ("gone", "said", "section"),
    [
        (SCORES_FILE, "has not been evaluated yet", "accuracy"),
        (METRICS_FILE, "no metrics.jsonl", "curves"),
        (DIAGNOSIS_FILE, "diagnosis was off", "frequencies"),
        (SNAPSHOTS_FOLDER, "has no film/", "snapshots"),
    ],
)
def test_what_is_missing_is_reported(run, gone, said, section):
    shutil.rmtree(run / gone) if (run / gone).is_dir() else (run / gone).unlink()
    written = write_report(run, with_data=False)
    assert written.missing.keys() == {section, "data"}
    seen = Seen(written.path.read_text(encoding="utf-8"))
    assert said in written.missing[section]
    assert written.missing[section].replace("`", "").replace(" ", "") in seen.text.replace(" ", "")


@pytest.mark.parametrize(
    ("gone", "anchor"),
    [
        (SCORES_FILE, "accuracy"),
        (METRICS_FILE, "curves"),
        (DIAGNOSIS_FILE, "frequencies"),
        (SNAPSHOTS_FOLDER, "evolution"),
    ],
)
def test_empty_sections_are_left_out(run, gone, anchor):
    def sections(seen):
        linked = {a["href"][1:] for a in seen.all("a")} - {"main", "animation"}
        assert linked == {s["id"] for s in seen.all("section") if s.get("id")} - {"summary", "left-out"}
        return linked

    before = sections(page_of(run))
    assert {"features", "copies"}.isdisjoint(before)  # without the data
    shutil.rmtree(run / gone) if (run / gone).is_dir() else (run / gone).unlink()
    assert sections(page_of(run)) == before - {anchor}


@pytest.mark.parametrize("name", [SCORES_FILE, METRICS_FILE, DIAGNOSIS_FILE, CONFIG_FILE])
@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"a": 1}', "[]", "null", '[{"accuracy_mean": "x"}]\n'])
def test_what_is_damaged_is_left_out(run, name, content):
    write_text(run / name, content)
    written = write_report(run, with_data=False)
    assert "Synthetic images" in Seen(written.path.read_text(encoding="utf-8")).text
    assert str(run.parent) not in written.path.read_text(encoding="utf-8")


def test_an_old_run_has_a_report(run):
    # Without snapshots, parts of the discrepancy, a command and versions.
    shutil.rmtree(run / SNAPSHOTS_FOLDER)
    entries = [json.loads(line) for line in (run / METRICS_FILE).read_text().splitlines()]
    old = [{k: v for k, v in e.items() if k not in ("amplitude", "phase")} for e in entries]
    write_text(run / METRICS_FILE, "".join(json.dumps(e) + "\n" for e in old))
    facts = read_json(run / SET_FOLDER / "set.json")
    del facts["facts"]["command"], facts["facts"]["versions"]
    write_json(run / SET_FOLDER / "set.json", facts)
    seen = page_of(run)
    assert "Training loss" in seen.text
    assert "Amplitude and phase" not in seen.text
    assert "<h3>Command</h3>" not in (run / REPORT_FILE).read_text(encoding="utf-8")
    assert "Command to reproduce" in seen.text


def test_a_set_alone_has_a_report(run, tmp_path):
    seen = page_of(run / SET_FOLDER, out=tmp_path / "set.html")
    assert "Time to distil" in seen.text
    assert not (run / SET_FOLDER / REPORT_FILE).exists()


def test_a_set_of_the_gallery_has_a_report_with_its_own_scores(tmp_path):
    path = write_report("gallery:digits-ipc1", out=tmp_path / "report.html", with_data=False).path
    text = " ".join(Seen(path.read_text(encoding="utf-8")).texts)
    assert "92.8" in text
    assert 'ncfm.load("gallery:digits-ipc1")' in text
    assert "ncfm evaluate gallery:digits-ipc1" in text


def test_a_killed_run_has_a_report_of_how_far_it_is(run):
    shutil.rmtree(run / SET_FOLDER)
    (run / SCORES_FILE).unlink()
    opened = open_run(run)
    assert not opened.finished
    assert opened.synthetic.images.shape == (10, 1, 1, 8, 8)
    assert opened.synthetic.factor == 2
    seen = page_of(run)
    assert "This run is not finished" in seen.text
    assert "Synthetic image of class 3" in [i["alt"][:26] for i in seen.all("img")]
    (run / CHECKPOINT_FILE).unlink()
    assert "stopped before it saved anything" in page_of(run).text


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NcfmError, match="holds none"):
        write_report(tmp_path / "empty")
    with pytest.raises(NcfmError, match="does not exist"):
        write_report(tmp_path / "none")
