"""Methods as bars, the most accurate on top: their accuracies, and what their distillation costs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ncfm._utils.types import Interval
from ncfm.results.figures import COLORS, GUIDE, QUIET, SMALL, TEXT, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OWN, FULL = "ncfm", "full"  # the method of this package; training on the full split, which is not a method
NAME_WIDTH = 20  # characters of a line of a name next to its bar
BAR, LINE, MARGIN = 0.3, 0.17, 1.1  # inches: minimum of a row, a line of a name, axis and title
ROOM = 1.32  # of the longest bar: the value stands at its end


def plot_accuracies(methods: Mapping[str, Interval], path: Path, title: str) -> None:
    """A bar for each method by its accuracy, the highest first, with its 95 % interval and its value."""
    ordered = sorted(methods.items(), key=lambda item: item[1].mean)  # the last one is drawn on top
    names = [name for name, _ in ordered]
    figure, (axis,) = new_figure(height=_height(names))
    _draw_accuracies(axis, names, [spread for _, spread in ordered])
    axis.set_xlim(0, 113)  # room for the value of a bar of 100 %
    axis.set_xlabel("accuracy on the real test split, %\n(95 % interval)")
    save_figure(figure, path, title)


class CostPoint(NamedTuple):
    """A method in a plot of costs."""

    name: str
    accuracy: Interval
    seconds: float | None  # of distillation; None for a method that does not distil
    memory_mb: float | None  # peak memory of distillation

    @property
    def is_distilled(self) -> bool:
        """Whether the method distils, which has a cost."""
        return self.seconds is not None and self.memory_mb is not None


def plot_costs(points: Sequence[CostPoint], path: Path, title: str) -> None:
    """Accuracy, time and peak memory of distillation next to each other, a row for each method, the best first.

    Methods that do not distil have no cost.
    """
    ordered = sorted(points, key=lambda point: point.accuracy.mean)
    names = [point.name for point in ordered]
    figure, axes = new_figure(columns=3, height=_height(names), sharey=True, width_ratios=(1.9, 1, 1))
    _draw_accuracies(axes[0], names, [point.accuracy for point in ordered])
    _draw_costs(axes[1], names, [point.seconds if point.is_distilled else None for point in ordered])
    _draw_costs(axes[2], names, [point.memory_mb if point.is_distilled else None for point in ordered])
    for axis, label in zip(axes, ("accuracy, %", "distil, s", "MiB"), strict=True):
        axis.set_xlabel(label)
    save_figure(figure, path, title)


def _height(names: Sequence[str]) -> float:
    """Inches of a panel with a row for each name."""
    lines = max((len(textwrap.wrap(name, NAME_WIDTH)) for name in names), default=1)
    return MARGIN + len(names) * max(BAR, lines * LINE + 0.08)


def _draw_accuracies(axis: Axes, names: Sequence[str], spreads: Sequence[Interval]) -> None:
    """Bars with 95 % intervals; the values stand behind these."""
    highest = 0.0
    for row, (color, spread) in enumerate(zip(colors(names), spreads, strict=True)):
        mean, low, high = (100 * value for value in (spread.mean, spread.low, spread.high))
        axis.barh(row, mean, color=color, height=0.62)
        end = mean if math.isnan(low) else high
        if not math.isnan(low):
            axis.errorbar([mean], [row], xerr=[[mean - low], [high - mean]], color="black", capsize=2.5, linewidth=1.2)
        axis.annotate(f"{mean:.1f}", (end, row), (4, 0), textcoords="offset points", va="center", fontsize=SMALL)
        highest = max(highest, end)
    axis.set_yticks(range(len(names)), [textwrap.fill(name, NAME_WIDTH) for name in names], parse_math=False)
    axis.tick_params(axis="y", length=0, labelsize=TEXT)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.set_xlim(0, max(ROOM * highest, 1))
    axis.set_xticks([tick for tick in range(0, 101, 20) if tick <= axis.get_xlim()[1]])
    axis.grid(False, axis="y")


def _draw_costs(axis: Axes, names: Sequence[str], values: Sequence[float | None]) -> None:
    """Bars with their values, and a dash where there is no cost."""
    for row, (color, value) in enumerate(zip(colors(names), values, strict=True)):
        axis.barh(row, value or 0, color=color, height=0.62)
        text = "-" if value is None else f"{value:,.0f}"
        axis.annotate(text, (value or 0, row), (3, 0), textcoords="offset points", va="center", fontsize=SMALL)
    axis.set_xlim(0, max(1.75 * max(value or 0 for value in values), 1))
    axis.set_xticks([])  # the values stand at the bars
    axis.tick_params(axis="y", length=0)
    axis.grid(False)


def colors(names: Sequence[str]) -> list[str]:
    """Colours of bars: NCFM stands out, the others are quiet; without NCFM all have the same colour.

    >>> colors(["random", "ncfm", "full"]) == [QUIET, COLORS[0], GUIDE]
    True
    """
    own = [name.split(" ")[0] == OWN for name in names]
    quiet = QUIET if any(own) else COLORS[0]
    return [GUIDE if name == FULL else COLORS[0] if is_own else quiet for name, is_own in zip(names, own, strict=True)]
