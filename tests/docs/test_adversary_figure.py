"""The table and the picture of fitted adversaries, from their rows."""

from __future__ import annotations

import dataclasses

from benchmarks.records import AdversaryRow
from matplotlib.figure import Figure
from PIL import Image
from tools.adversary_figure import NAMES, PICTURE, ROWS, best_trained, draw, draw_form, fingerprint
from tools.pages.ablations import adversary_table

from drawn import faults
from ncfm.results.files import read_rows


def row(training="one teacher", form="mixture", extractor="A", mean=2.0, **more):
    texts = {
        "training": training,
        "form": form,
        "criterion": "halves",
        "extractor": extractor,
        "teacher_epochs": "16",
        "fits": "3",
        "ratio_mean": str(mean),
        "ratio_low": str(mean - 0.25),
        "ratio_high": str(mean + 0.25),
    }
    return texts | more


def test_the_committed_picture_is_drawn_from_the_committed_rows():
    rows = read_rows(ROWS)
    assert set(rows[0]) == {field.name for field in dataclasses.fields(AdversaryRow)}
    with Image.open(PICTURE) as picture:
        assert picture.info["Description"] == fingerprint(best_trained(rows)), "out of date; run `make figures`"


def test_the_picture_has_the_longest_trained_teachers_and_one_criterion():
    rows = [row(teacher_epochs=epochs, criterion=name) for epochs in ("4", "16") for name in ("halves", "discrepancy")]
    assert best_trained(rows) == [rows[2]]
    assert best_trained([]) == []


def test_every_training_has_a_line_with_the_intervals_of_its_rows(tmp_path, saved_figures, monkeypatch):
    rows = [
        row(training, extractor=extractor, mean=mean)
        for mean, training in enumerate(NAMES, start=1)
        for extractor in ("A", "B")
    ]
    axis = Figure().subplots()
    draw_form(axis, rows)
    assert list(axis.get_legend_handles_labels()[1]) == list(NAMES.values())
    lines = [container.lines[0] for container in axis.containers]
    assert [list(line.get_ydata()) for line in lines] == [[1, 1], [2, 2], [3, 3]]
    (bars,) = axis.containers[1].lines[2]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[1.75, 2.25]] * 2
    assert axis.get_yscale() == "linear"
    draw_form(axis, [row(mean=80.0, ratio_low="", ratio_high="")])  # one fit has no interval
    assert axis.get_yscale() == "log"
    draw(rows, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.info["Description"] == fingerprint(rows) != fingerprint(rows[1:])
    assert faults(saved_figures[0], monkeypatch) == []


def test_the_table_has_half_the_width_of_the_interval():
    rows = [row(), row(extractor="B", mean=1.0), row("per teacher", fits="1", ratio_low="", ratio_high="")]
    assert adversary_table(rows).splitlines()[2:] == [
        "| one teacher | mixture | halves | 2.00 ± 0.25 | 1.00 ± 0.25 | 16 | 3 |",
        "| per teacher | mixture | halves | 2.00 | - | 16 | 1 |",
    ]
