"""What would fail after training is refused before it."""

from __future__ import annotations

import os

import pytest

import ncfm
from ncfm.results.checking import check_results
from ncfm.results.rows import AccuracyRow
from ncfm.training import fit as fitting
from tiny import SETTINGS

DISTILL = ["distill", "digits", "--ipc", "1", "--out", "new"]
FISHER = ["--set", "objective.name=fisher", "--set", "frequencies.family=gaussian"]
COMPARE = ["compare", "digits", "--ipc", "1"]

REFUSED = {  # words of the command, a stable part of the message
    "a depth that no network has": ([*DISTILL, "--set", "evaluate.network=vit99"], "has a depth of 99; expected at"),
    "a width that fills the memory": ([*DISTILL, "--set", "evaluate.network=mlp1w9999999"], "a width of 9999999"),
    "a network too deep for the images": ([*DISTILL, "--set", "evaluate.network=convnet9"], "use depth 3 or less"),
    "the same for teachers": ([*DISTILL, "--set", "teachers.network=convnet9"], "use depth 3 or less"),
    "an unknown protocol": ([*DISTILL, "--set", "evaluate.protocol=quik"], "Did you mean 'quick'"),
    "an augmentation of the students": ([*DISTILL, "--set", "evaluate.augment=wobble"], "augmentation 'wobble'"),
    "an augmentation of the teachers": ([*DISTILL, "--set", "teachers.augment=wobble"], "augmentation 'wobble'"),
    "an augmentation of the matching": ([*DISTILL, "--set", "distill.augment=wobble"], "augmentation 'wobble'"),
    "more mosaics than images": (["distill", "digits", "--ipc", "500", "--recipe", "none"], "Expected at least 2000"),
    "a factor above the size": ([*DISTILL, "--set", "distill.factor=9"], "factor must lie in 1..8"),
    "a bound below the images": (
        ["distill", "digits", "--ipc", "9", "--set", "distill.mode=bounded", "--set", "distill.bound=5"],
        "bound must be at least 9",
    ),
    "more selected images than there are": (
        ["compare", "digits", "--ipc", "500", "--methods", "random"],
        "Expected at least 500 real images",
    ),
    "students of a comparison": ([*COMPARE, "--set", "evaluate.network=vit99"], "a depth of 99"),
    "students of soft labels that none will store": (
        [*COMPARE, "--methods", "random,ncfm", "--set", "evaluate.labels=soft"],
        "evaluate.labels=soft needs stored soft labels",
    ),
    "a first epoch that no teacher has": (
        [*DISTILL, "--set", "teachers.extractor=checkpoint", "--set", "teachers.first_epoch=999"],
        "teachers.first_epoch must be at most teachers.epochs=",
    ),
    "steps of one class where classes are compared": (
        [*DISTILL, *FISHER, "--set", "distill.classes_per_step=1"],
        "compares each class with the others",
    ),
    "experts' augmentation": (
        [*COMPARE, "--methods", "mtt", "--set", "trajectory.augment=wobble"],
        "augmentation 'wobble'",
    ),
    "a results file in a file": ([*COMPARE, "--results", "file/rows.csv"], "file is not a folder"),
    "a results file that is a folder": ([*COMPARE, "--results", "folder"], "it is a folder"),
    "rows of another kind": ([*COMPARE, "--results", "other.csv"], "does not know (colour, size)"),
    "no text in the results": ([*COMPARE, "--results", "binary.csv"], "Expected a results file in CSV"),
    "reproduce into a folder": (["reproduce", "digits-ipc1", "--results", "folder"], "it is a folder"),
}

ON_SET = {
    "more steps than classes": (["continual", "run", "--steps", "11"], "Expected 1 to 10 steps for 10 classes"),
    "students of a memory": (["continual", "run", "--set", "evaluate.network=vit99"], "a depth of 99"),
    "a memory larger than the data": (["score", "big"], "Expected at least"),
    "students of scores": (["score", "run", "--set", "evaluate.network=vit99"], "a depth of 99"),
    "the last of several networks": (["evaluate", "run", "--networks", "convnet1w8,convnet9"], "use depth 3 or less"),
    "an unknown network at the end": (["search", "run", "--networks", "mlp,convnet1,convnt"], "'convnt'"),
    "a results file of evaluate": (["evaluate", "run", "--results", "folder"], "it is a folder"),
    "a results file of score": (["score", "run", "--results", "folder"], "it is a folder"),
    "a results file of continual": (["continual", "run", "--results", "folder"], "it is a folder"),
    "a results file of search": (["search", "run", "--results", "folder"], "it is a folder"),
    "a picture of continual": (["continual", "run", "--plot", "folder"], "Expected a picture that can be written"),
    "a picture of search": (["search", "run", "--plot", "file/a.png"], "file is not a folder"),
}


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.csv").write_text("colour,size\nred,3\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    return tmp_path


def refused(ncfm_, monkeypatch, words, message):
    for module in ("ncfm.training.pretraining", "ncfm.training.experts", "ncfm.evaluation.classroom"):
        monkeypatch.setattr(f"{module}.fit", lambda *a, **k: pytest.fail("a network was trained"))
    done = ncfm_(*words)
    assert done.code == 2, done.out
    assert message in done.err, done.err
    assert sum(line.startswith("ncfm:") for line in done.err.splitlines()) == 1  # next to remarks of what was chosen


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_training(ncfm_, places, monkeypatch, name):
    refused(ncfm_, monkeypatch, *REFUSED[name])
    assert not (places / "new" / "config.json").exists()


def test_a_comparison_in_the_folder_of_another_is_refused_before_training(ncfm_, places, monkeypatch):
    ncfm.distill("digits", ipc=1, recipe="none", settings=SETTINGS, out="old/ncfm")
    words = ["compare", "digits", "--ipc", "1", "--recipe", "none", "--methods", "random,ncfm", "--out", "old"]
    words += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    words += ["--set", "distill.iterations=3"]
    message = "holds a run with other settings (config.distill.iterations was 2, now 3)"
    refused(ncfm_, monkeypatch, words, message)


@pytest.mark.parametrize("name", ON_SET)
def test_refused_before_a_set_is_used(ncfm_, places, monkeypatch, digits, name):
    if name == "a memory larger than the data":
        options = {"init": "noise", "factor": 1, "iterations": 0, "calibration_weight": 0}
        settings = SETTINGS | {f"distill.{key}": value for key, value in options.items()}
        settings |= {"teachers.extractor": "random", "objective.name": "mean"}
        ncfm.distill("digits", ipc=140, recipe="none", settings=settings, out="big")
    else:
        ncfm.distill("digits", ipc=1, recipe="none", settings=SETTINGS, out="run")
    refused(ncfm_, monkeypatch, *ON_SET[name])


def test_the_check_leaves_nothing_behind(places):
    check_results("new/deep/rows.csv", AccuracyRow)
    check_results(None, AccuracyRow)
    assert sorted(path.name for path in places.iterdir()) == ["binary.csv", "file", "folder", "other.csv"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_refused(places):
    (places / "folder").chmod(0o500)
    with pytest.raises(ncfm.InputError, match="permission denied"):
        check_results(places / "folder" / "rows.csv", AccuracyRow)


def test_fit_is_what_teachers_and_students_call():
    from ncfm.evaluation import classroom
    from ncfm.training import experts, pretraining

    assert pretraining.fit is fitting.fit
    assert classroom.fit is fitting.fit
    assert hasattr(experts, "fit")
