"""Plots of continual learning, searches and learned frequencies: their values, and that they can be read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from drawn import faults, pieces
from ncfm._utils.types import Interval
from ncfm.evaluation.search import SearchResult
from ncfm.results.figures import COLORS
from ncfm.results.plots import NAMED_CLASSES, plot_continual, plot_diagnosis, plot_search


def test_memories_of_continual_learning_differ_in_colour_and_marker(saved_figures, tmp_path, monkeypatch):
    curve = tuple(Interval(m, 0.01, m - 0.1, m + 0.05) for m in (0.9, 0.7))
    memories = ("distilled dataset", "random", "herding")
    found = {name: SimpleNamespace(classes_seen=(5, 10), curve=curve) for name in memories}
    plot_continual(found, tmp_path / "a.png", "Digits, classes in 2 steps")
    (figure,) = saved_figures
    (axis,) = figure.axes
    assert [(line.get_color(), line.get_marker()) for line in axis.lines] == [
        (COLORS[0], "o"),
        (COLORS[1], "s"),
        (COLORS[2], "^"),
    ]
    assert list(axis.lines[0].get_ydata()) == [90, 70]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(memories)
    assert faults(figure, monkeypatch) == []


def test_networks_of_a_search_are_sorted_by_the_full_split(saved_figures, tmp_path, monkeypatch):
    networks = tuple(f"convnet{d}w{w}-{n}" for d in (1, 2, 3) for w in (16, 32, 64) for n in ("instance", "none"))
    proxy, full = [0.40 + 0.001 * i for i in range(18)], [0.60 + 0.002 * i for i in range(18)]
    full[3], proxy[5] = 0.9, 0.5  # the best by the full split, and the one chosen by the set
    plot_search(SearchResult(networks, tuple(proxy), tuple(full), 1.0, 1.0), tmp_path / "a.png", "CIFAR-10, IPC 10")
    (figure,) = saved_figures
    left, right = figure.axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert (names[0], names[-1]) == (networks[0], networks[3])
    assert list(right.lines[0].get_xdata()) == sorted(100 * value for value in full)
    assert [text.get_text() for text in left.texts][-1] == "40.3"
    assert left.lines[1].get_xdata()[0] == 50
    assert names[int(left.lines[1].get_ydata()[0])] == networks[5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"best on the set: {networks[5]}"]
    assert "rank correlation 0.62" in figure.get_suptitle().replace("\n", " ")
    assert faults(figure, monkeypatch) == []


def diagnosis(iteration, classes):
    values = {"discrepancy": 0.1, "excess": 0.9, "modulus": 0.6, "amplitude_share": 0.3}
    return {"iteration": iteration, "learned.bandwidths": [1.3, 1.4, 1.5, 1.6, 1.7]} | {
        f"{kind}.{field}": [value * (1 + 0.1 * i) for i in range(classes)]
        for kind in ("learned", "fixed")
        for field, value in values.items()
    }


@pytest.mark.parametrize("classes", [2, 10, NAMED_CLASSES + 1])
def test_learned_frequencies_have_a_panel_for_each_quantity(saved_figures, tmp_path, monkeypatch, classes):
    names = [f"class {i}" for i in range(classes)]
    entries = [diagnosis(at, classes) for at in (10, 20, 30)]
    plot_diagnosis(entries, tmp_path / "a.png", "looked: learned frequencies", names)
    (figure,) = saved_figures
    panels = {axis.get_title(loc="left"): axis for axis in figure.axes}
    assert len(panels) == 7
    lines = panels["NCFD"].lines
    assert [line.get_label() for line in lines] == ["learned", "fixed"]
    assert list(lines[0].get_ydata()) == pytest.approx([0.1 * (1 + 0.05 * (classes - 1))] * 3)
    assert list(panels["learned bandwidths, 5 to 95 %"].lines[0].get_ydata()) == [1.5] * 3
    assert list(panels["NCFD at iteration 30"].lines[0].get_ydata())[:2] == pytest.approx([0.1, 0.11])
    assert faults(figure, monkeypatch) == []
    named = any(piece.text == "class 1" for piece in pieces(figure, monkeypatch))
    assert named == (classes <= NAMED_CLASSES)
