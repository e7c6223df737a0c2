"""Methods as bars: sorted, labelled with their values, one colour for NCFM; costs next to the accuracies."""

from __future__ import annotations

import math

import pytest

from drawn import faults, pieces
from ncfm._utils.types import Interval
from ncfm.results.bars import CostPoint, colors, plot_accuracies, plot_costs
from ncfm.results.figures import COLORS, GUIDE, QUIET


def spread(mean, half=0.02):
    return Interval(mean, half, mean - half, mean + half)


def bar_lengths(axis):
    return [round(patch.get_width(), 6) for patch in axis.patches]


METHODS = {"random": 0.299, "ncfm": 0.495, "full": 0.95, "mmd": 0.496, "ncfm (gaussian)": 0.494}


def test_accuracies_are_sorted_and_ncfm_stands_out(saved_figures, tmp_path, monkeypatch):
    plot_accuracies({name: spread(mean) for name, mean in METHODS.items()}, tmp_path / "a.png", "Digits, IPC 1")
    (figure,) = saved_figures
    (axis,) = figure.axes
    names = ["random", "ncfm (gaussian)", "ncfm", "mmd", "full"]  # from the bottom
    assert [label.get_text() for label in axis.get_yticklabels()] == names
    assert bar_lengths(axis) == [29.9, 49.4, 49.5, 49.6, 95.0]
    assert [text.get_text() for text in axis.texts] == ["29.9", "49.4", "49.5", "49.6", "95.0"]
    assert colors(names) == [QUIET, COLORS[0], COLORS[0], QUIET, GUIDE]
    (bars,) = axis.containers[1].lines[2]  # of the first bar
    assert bars.get_segments()[0][:, 0].tolist() == pytest.approx([27.9, 31.9])
    assert faults(figure, monkeypatch) == []


def test_where_ncfm_is_not_compared_no_bar_is_quiet():
    assert colors(["alpha: alpha=0.25", "alpha: alpha=0.5"]) == [COLORS[0]] * 2
    assert colors(["ncfmlike", "random"]) == [COLORS[0]] * 2


def test_one_student_has_no_interval_and_hostile_names_stay_readable(saved_figures, tmp_path, monkeypatch):
    missing = Interval(1.0, math.nan, math.nan, math.nan)
    long = "ablation: objective.amplitude_weight=0.25, frequencies.family=mixture"
    plot_accuracies({"$x_": missing, long: spread(0.0), "b": spread(0.5)}, tmp_path / "a.png", "T")
    (figure,) = saved_figures
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.0", "50.0", "100.0"]
    assert faults(figure, monkeypatch) == []


def test_costs_stand_next_to_the_accuracies_and_a_dash_where_there_are_none(saved_figures, tmp_path, monkeypatch):
    points = [
        CostPoint("random", spread(0.299), None, None),
        CostPoint("ncfm", spread(0.495), 240.6, 606.5),
        CostPoint("datm", spread(0.343), 267.6, 1573.8),
        *(CostPoint(f"method {i}", spread(0.1 + i / 100), 240.0, 100.0 * i) for i in range(12)),
    ]
    plot_costs(points, tmp_path / "costs.png", "CIFAR-10, the same time for each method")
    (figure,) = saved_figures
    accuracy, seconds, memory = figure.axes
    assert [label.get_text() for label in accuracy.get_yticklabels()][-3:] == ["random", "datm", "ncfm"]
    assert bar_lengths(seconds)[-3:] == [0, 267.6, 240.6]
    assert [text.get_text() for text in seconds.texts][-3:] == ["-", "268", "241"]
    assert [text.get_text() for text in memory.texts][-3:] == ["-", "1,574", "606"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["accuracy, %", "distil, s", "MiB"]
    assert faults(figure, monkeypatch) == []
    assert len(figure.legends) == 0  # every row has its name
    assert {piece.text for piece in pieces(figure, monkeypatch)} >= {"49.5", "ncfm", "1,574"}
