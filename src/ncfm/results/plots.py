"""Plots of results."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ncfm._utils.files import write_atomically
from ncfm._utils.types import Interval
from ncfm.evaluation.continual import ContinualResult
from ncfm.evaluation.search import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#1f5fa8", "#c8691c", "#3c8a4e", "#8a4fa3", "#7a7a7a", "#b03a48")
MARKERS = ("o", "s", "^", "D", "v", "P")  # distinguishable without colours
NARROW = 5.2  # inches of a figure whose text is readable on a telephone, 390 pixels wide
TITLE_WIDTH = 52  # characters of a title in a line
NAME_WIDTH = 22  # characters of a name in a line next to its bar
COST_RANGE = 4.0  # minimum ratio of the ends of a cost axis: costs under an equal time budget hardly differ


def plot_continual(found: Mapping[str, ContinualResult], path: Path, title: str) -> None:
    """Accuracy against the number of classes seen, one line per memory, with bands for 95 % intervals."""
    figure, (axis,) = _figure()
    for i, (name, result) in enumerate(found.items()):
        curve = result.curve
        means = [100 * point.mean for point in curve]
        axis.plot(result.classes_seen, means, f"{MARKERS[i % 6]}-", color=COLORS[i % 6], label=name)
        low, high = ([100 * getattr(point, end) for point in curve] for end in ("low", "high"))
        axis.fill_between(result.classes_seen, low, high, color=COLORS[i % 6], alpha=0.15, linewidth=0)
    axis.set_xlabel("classes seen")
    axis.set_ylabel("accuracy on their test images, %")
    axis.set_ylim(0, 103)
    axis.legend()
    _save(figure, path, title)


def plot_search(found: SearchResult, path: Path, title: str) -> None:
    """Accuracy of training on the full split against that of training on the set, one point per network."""
    figure, (axis,) = _figure()
    xs, ys = ([100 * value for value in values] for values in (found.proxy, found.full))
    axis.plot(xs, ys, "o", color=COLORS[0])
    axis.plot(xs[found.chosen], ys[found.chosen], "o", color=COLORS[1], label=f"chosen: {found.networks[found.chosen]}")
    edge = min(xs) + 0.75 * (max(xs) - min(xs))
    for x, y, name in zip(xs, ys, found.networks, strict=True):  # names near the edge point inwards
        aside, side = (4, "left") if x <= edge else (-4, "right")
        axis.annotate(name, (x, y), xytext=(aside, 3), textcoords="offset points", fontsize=8, alpha=0.8, ha=side)
    rho = found.correlation.spearman
    axis.set_xlabel("accuracy, trained on the set, %")
    axis.set_ylabel("accuracy, trained on the full split, %")
    axis.legend(loc="lower right")
    _save(figure, path, f"{title}: rank correlation {rho.value:.2f} ({rho.low:.2f} to {rho.high:.2f})")


def plot_accuracies(methods: Mapping[str, Interval], path: Path, title: str) -> None:
    """A bar for each method by its accuracy, the highest first, with its 95 % interval and its value.

    Training on the full split, which is not a method of distillation, has another colour.
    """
    from matplotlib.figure import Figure

    ordered = sorted(methods.items(), key=lambda item: item[1].mean)  # the last one is drawn on top
    figure = Figure(figsize=(NARROW, 1.1 + 0.42 * len(ordered)), layout="constrained")
    axis = figure.subplots()
    colors = [COLORS[4] if name == "full" else COLORS[0] for name, _ in ordered]
    axis.barh(range(len(ordered)), [100 * spread.mean for _, spread in ordered], color=colors, height=0.62)
    for row, (_, spread) in enumerate(ordered):
        mean, low, high = (100 * value for value in (spread.mean, spread.low, spread.high))
        end = mean if math.isnan(low) else high
        if not math.isnan(low):
            reach = [[mean - low], [high - mean]]
            axis.errorbar([mean], [row], xerr=reach, color="black", capsize=3, linewidth=1.2)
        axis.text(end + 1.2, row, f"{mean:.1f}", va="center", fontsize=10)
    names = [textwrap.fill(name, NAME_WIDTH) for name, _ in ordered]
    axis.set_yticks(range(len(ordered)), names, parse_math=False)
    axis.set_xlim(0, 112)  # room for the value of a bar of 100 %
    axis.set_xticks(range(0, 101, 20))
    axis.set_xlabel("accuracy on the real test split, % (95 % interval)")
    axis.grid(True, axis="x", alpha=0.25)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path, title)


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
    """Accuracy against the time and against the peak memory of distillation, with intervals, one point per method.

    Methods that do not distil have no cost and are horizontal lines.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = _figure(rows=2)
    for axis, cost, label in zip(axes, ("seconds", "memory_mb"), ("seconds to distil", "MiB at most"), strict=True):
        for i, point in enumerate(points):
            mean, low, high = (100 * value for value in (point.accuracy.mean, point.accuracy.low, point.accuracy.high))
            if not point.is_distilled:
                axis.axhline(mean, color=COLORS[i % 6], linestyle="--", linewidth=1.2, label=point.name)
                continue
            reach = None if math.isnan(low) else [[mean - low], [high - mean]]
            axis.errorbar(
                [getattr(point, cost)],
                [mean],
                reach,
                fmt=MARKERS[(i + i // 6) % 6],  # each pair of marker and colour is used once
                color=COLORS[i % 6],
                capsize=3,
                label=point.name,
            )
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        low, high = axis.get_xlim()
        stretch = max(math.sqrt(COST_RANGE * low / high), 1)
        axis.set_xlim(low / stretch, high * stretch)
        axis.set_xlabel(label)
        axis.set_ylabel("accuracy, %")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=2)
    _save(figure, path, title)


NAMED_CLASSES = 30  # maximum of class names on an axis; more classes have numbers


def plot_diagnosis(entries: Sequence[Mapping[str, Any]], path: Path, title: str, class_names: Sequence[str]) -> None:
    """The learned frequencies of an adversary over the iterations, compared with fixed ones.

    The first four panels are over the iterations: NCFD and the excess over sampling noise (means over classes, bands
    from the lowest class to the highest), the modulus of the real characteristic function with the learned
    bandwidths, and the share of the amplitude. Below them NCFD and the share of the amplitude by class, at the last
    diagnosis.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(NARROW, 15), layout="constrained")
    axes = figure.subplots(6, 1)
    at = [entry["iteration"] for entry in entries]
    panels = {"discrepancy": "NCFD", "excess": "squared gap over sampling noise"}
    panels |= {"modulus": "modulus of Phi_x", "amplitude_share": "share of the amplitude"}
    kinds = (("learned", "-", COLORS[0], MARKERS[0]), ("fixed", "--", COLORS[1], MARKERS[1]))
    for axis, (field, label) in zip(axes[:4], panels.items(), strict=True):
        for kind, line, color, _ in kinds:
            values = [entry[f"{kind}.{field}"] for entry in entries]
            axis.plot(at, [sum(v) / len(v) for v in values], line, color=color, label=kind)
            axis.fill_between(at, list(map(min, values)), list(map(max, values)), color=color, alpha=0.12, linewidth=0)
        axis.set_xlabel("iteration")
        axis.set_ylabel(label)
        axis.grid(True, alpha=0.25)
    axes[0].legend()
    axes[1].axhline(1.0, color="#7a7a7a", linewidth=1)
    _plot_bandwidths(axes[2].twinx(), at, [entry["learned.bandwidths"] for entry in entries])
    for axis, field in zip(axes[4:], ("discrepancy", "amplitude_share"), strict=True):
        for kind, _, color, marker in kinds:
            values = entries[-1][f"{kind}.{field}"]
            axis.plot(range(len(values)), values, marker, color=color, label=kind)
        axis.set_ylabel(f"{panels[field]}, iteration {at[-1]}")
        axis.grid(True, alpha=0.25)
        if len(class_names) <= NAMED_CLASSES:
            axis.set_xticks(range(len(class_names)), class_names, rotation=40, ha="right", parse_math=False)
        else:
            axis.set_xlabel("class")
    _save(figure, path, title)


def _plot_bandwidths(axis: Axes, at: Sequence[int], spectra: Sequence[Sequence[float]]) -> None:
    """The quantiles of the learned bandwidths over the iterations."""
    for quantile in zip(*spectra, strict=True):
        axis.plot(at, quantile, ":", color=COLORS[2], linewidth=1)
    axis.set_ylabel("learned bandwidths, 5 to 95 % (dotted)", color=COLORS[2])
    axis.set_ylim(bottom=0)


def _figure(rows: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure  # slow to import; without pyplot no window system is needed

    figure = Figure(figsize=(NARROW, 3.6 * rows), layout="constrained")
    axes = [row[0] for row in figure.subplots(rows, 1, squeeze=False)]
    for axis in axes:
        axis.grid(True, alpha=0.25)
    return figure, axes


def _save(figure: Figure, path: Path, title: str) -> None:
    figure.suptitle(textwrap.fill(title, TITLE_WIDTH), fontsize=11)
    write_atomically(path, lambda p: figure.savefig(p, dpi=120, format="png"))
