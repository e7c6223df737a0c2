"""The style of all figures: of the commands, of the benchmarks, and of the pages of the documentation.

A page on a telephone of 390 pixels shows a figure 358 pixels wide, so that `SMALL`, the size of the smallest text, is
9 pixels there. The background is white in each colour scheme. The colours differ for colour-blind readers too, and
curves also differ in their markers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncfm._utils.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.8  # inches
SMALL, TEXT, TITLE = 9, 10, 11  # points; matplotlib's own text has 10
DPI = 160
TITLE_WIDTH = 48  # characters of a title in a line
COLORS = ("#1f5fa8", "#c8691c", "#17a165", "#7a1fd6", "#303030", "#861b13")
MARKERS = ("o", "s", "^", "D", "v", "P")  # distinguishable without colours
GUIDE = "#7a7a7a"  # of lines and bars to compare with, which are not results
QUIET = "#b4bcc6"  # of results around the one that a figure is about


def new_figure(rows: int = 1, columns: int = 1, *, height: float = 2.6, **subplots: Any) -> tuple[Figure, list[Axes]]:
    """A figure of the width of a page, and its panels, row by row.

    Args:
        rows, columns: of panels.
        height: of a row, in inches.
        subplots: of `matplotlib.figure.Figure.subplots`, such as ``sharex`` or ``width_ratios``.
    """
    figure = blank_figure(height * rows)
    panels = [axis for row in figure.subplots(rows, columns, squeeze=False, **subplots) for axis in row]
    for axis in panels:
        plain_axis(axis)
    return figure, panels


def mosaic_figure(layout: Sequence[Sequence[str]], *, height: float) -> tuple[Figure, dict[str, Axes]]:
    """A figure whose panels have names and may be wider than a column; "." is an empty place.

    Args:
        layout: rows of names, as in `matplotlib.figure.Figure.subplot_mosaic`.
        height: of a row, in inches.
    """
    figure = blank_figure(height * len(layout))
    panels = figure.subplot_mosaic([list(row) for row in layout])
    for axis in panels.values():
        plain_axis(axis)
    return figure, panels


def blank_figure(height: float) -> Figure:
    """A figure without panels, of so many inches."""
    from matplotlib.figure import Figure  # slow to import; without pyplot no window system is needed

    return Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")


def plain_axis(axis: Axes) -> None:
    """A faint grid behind the data, no frame."""
    axis.grid(True, alpha=0.25)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def name_panel(axis: Axes, name: str) -> None:
    """Write the name of a panel above it."""
    axis.set_title(name, fontsize=TEXT, loc="left")


def framed_axis(axis: Axes, reach: tuple[float, float]) -> None:
    """A frame around points in the plane, without numbers; ``reach`` is half its width and its height."""
    axis.grid(False)
    axis.spines[["top", "right"]].set_visible(True)
    (x, y) = reach
    axis.set(xlim=(-x, x), ylim=(-y, y), aspect="equal", xticks=[], yticks=[])


def legend_below(figure: Figure, *axes: Axes, columns: int = 3, markerscale: float = 1) -> None:
    """One legend for all panels, below them, where it covers no data; its entries are those of some panels."""
    handles: list[Artist] = []
    labels: list[str] = []
    for axis in axes:
        own = axis.get_legend_handles_labels()
        handles, labels = handles + own[0], labels + own[1]
    style = {"ncols": columns, "frameon": False, "fontsize": TEXT, "markerscale": markerscale}
    figure.legend(handles, labels, loc="outside lower center", **style)


def save_figure(figure: Figure, path: Path, title: str = "", *, source: str = "") -> None:
    """Write a figure as PNG, atomically; the same figure gives the same file on each machine.

    Args:
        figure: of `new_figure` or `mosaic_figure`.
        path: of the file.
        title: above all panels, in several lines if it is long.
        source: hash of what the figure shows, stored in the file, to find out whether it is out of date.
    """
    if title:
        figure.suptitle(textwrap.fill(title, TITLE_WIDTH), fontsize=TITLE)
    facts: dict[str, str | None] = {"Software": None}  # the version of matplotlib
    facts |= {"Description": source} if source else {}
    write_atomically(path, lambda p: figure.savefig(p, dpi=DPI, format="png", metadata=facts))
