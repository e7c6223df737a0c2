"""The style of all figures: readable on a telephone, in each colour scheme, and without seeing colours well."""

from __future__ import annotations

import itertools

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from drawn import PAGE, SMALLEST, faults, pieces
from ncfm.results.figures import (
    COLORS,
    DPI,
    GUIDE,
    QUIET,
    SMALL,
    WIDTH,
    framed_axis,
    legend_below,
    mosaic_figure,
    name_panel,
    new_figure,
    save_figure,
)

# Linear RGB as seen without one kind of cones: Machado, Oliveira and Fernandes, "A Physiologically-Based Model for
# Simulation of Color Vision Deficiency", 2009, severity 1.
SEEN = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
WHITE = [0.9505, 1.0, 1.089]


def linear(color):
    c = torch.tensor([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)], dtype=torch.float64)
    return torch.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def cielab(color, kind):
    """Lightness and the two opponent axes of a colour, as it is seen."""
    seen = (torch.tensor(SEEN[kind], dtype=torch.float64) @ linear(color)).clamp(0, 1)
    x, y, z = (torch.tensor(XYZ, dtype=torch.float64) @ seen / torch.tensor(WHITE, dtype=torch.float64)).tolist()
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return torch.tensor([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


@pytest.mark.parametrize("kind", SEEN)
def test_colours_differ_for_every_reader(kind):
    assert float(cielab("#ffffff", kind)[0]) == pytest.approx(100, abs=0.5)
    for a, b in itertools.combinations(COLORS, 2):
        assert float((cielab(a, kind) - cielab(b, kind)).norm()) > 20, (a, b)
    assert float((cielab(COLORS[0], kind) - cielab(QUIET, kind)).norm()) > 30
    assert float((cielab(GUIDE, kind) - cielab(QUIET, kind)).norm()) > 15


def test_lines_stand_out_from_white_paper():
    for color in COLORS:
        luminance = float(torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64) @ linear(color))
        assert 1.05 / (luminance + 0.05) >= 3, color  # WCAG 2.1, graphical objects


def test_the_smallest_text_is_readable_on_a_telephone():
    assert SMALL / 72 / WIDTH * PAGE >= SMALLEST


def test_a_file_has_the_width_of_a_page_a_white_background_and_its_source(tmp_path):
    for name in ("a.png", "b.png"):
        figure, (axis,) = new_figure(height=2.0)
        axis.plot([0, 1], [0, 1], label="line")
        legend_below(figure, axis)
        save_figure(figure, tmp_path / name, "a title " * 12, source="abc")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (round(WIDTH * DPI), round(2.0 * DPI))
        assert picture.info["Description"] == "abc"
        assert "Software" not in picture.info  # a version that differs from machine to machine
        assert picture.convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 255)


def test_a_long_title_is_wrapped_and_a_legend_lies_below_the_panels(tmp_path, monkeypatch):
    figure, axes = new_figure(2, 2, height=2.0)
    for i, axis in enumerate(axes):
        axis.plot([0, 1], [0, 1], label=f"line {i}")
        name_panel(axis, f"panel {i}")
    legend_below(figure, *axes[:2])
    save_figure(figure, tmp_path / "a.png", "a title of many words " * 4)
    assert faults(figure, monkeypatch) == []
    texts = [piece.text for piece in pieces(figure, monkeypatch)]
    assert [text for text in texts if text.startswith("line")] == ["line 0", "line 1"]
    (legend,) = figure.legends
    bottom = min(axis.get_tightbbox().y0 for axis in axes)
    assert legend.get_window_extent().y1 <= bottom + 1


def test_panels_of_a_mosaic_have_names_and_widths():
    figure, panels = mosaic_figure([["a", "b"], ["c", "."], ["d", "d"]], height=2.0)
    assert list(panels) == ["a", "b", "c", "d"]
    assert figure.get_size_inches().tolist() == [WIDTH, 6.0]
    FigureCanvasAgg(figure).draw()
    assert panels["d"].get_position().width > 1.8 * panels["a"].get_position().width


def test_points_in_a_frame_have_no_numbers(monkeypatch):
    figure, (axis,) = new_figure()
    axis.scatter([0.5], [0.5])
    framed_axis(axis, (2.0, 1.0))
    assert pieces(figure, monkeypatch) == []
    assert (axis.get_xlim(), axis.get_ylim(), axis.get_aspect()) == ((-2, 2), (-1, 1), 1)
    assert axis.spines["top"].get_visible()
