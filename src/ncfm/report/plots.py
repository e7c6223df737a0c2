"""Plots of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ncfm._files import write_atomically
from ncfm.evaluation.continual import ContinualResult
from ncfm.evaluation.search import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#1f5fa8", "#c8691c", "#3c8a4e", "#8a4fa3", "#7a7a7a", "#b03a48")
MARKERS = ("o", "s", "^", "D", "v", "P")  # told apart without colours too


def plot_continual(found: Mapping[str, ContinualResult], path: Path, title: str) -> None:
    """Accuracy against the classes seen, a line for each memory, bands of 95 % intervals."""
    figure, axis = _figure()
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
    """Accuracy after the full split against accuracy after the set, a point for each network."""
    figure, axis = _figure()
    xs, ys = ([100 * value for value in values] for values in (found.proxy, found.full))
    axis.plot(xs, ys, "o", color=COLORS[0])
    axis.plot(xs[found.chosen], ys[found.chosen], "o", color=COLORS[1], label=f"chosen: {found.networks[found.chosen]}")
    for x, y, name in zip(xs, ys, found.networks, strict=True):
        axis.annotate(name, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=6, alpha=0.8)
    rho = found.correlation.spearman
    axis.set_xlabel("accuracy after the set, %")
    axis.set_ylabel("accuracy after the full split, %")
    axis.legend(loc="lower right")
    _save(figure, path, f"{title}: rank correlation {rho.value:.2f} ({rho.low:.2f} to {rho.high:.2f})")


def _figure() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # slow to import; without pyplot no window system is asked for

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    axis.grid(True, alpha=0.25)
    return figure, axis


def _save(figure: Figure, path: Path, title: str) -> None:
    figure.suptitle(title)
    write_atomically(path, lambda p: figure.savefig(p, dpi=120, format="png"))
