"""Plots of continual learning, of an architecture search, and of learned frequencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncfm.evaluation.continual import ContinualResult
from ncfm.evaluation.search import SearchResult
from ncfm.results.figures import (
    COLORS,
    GUIDE,
    MARKERS,
    SMALL,
    legend_below,
    mosaic_figure,
    name_panel,
    new_figure,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED_CLASSES = 30  # maximum of class names on an axis; more classes have numbers


def plot_continual(found: Mapping[str, ContinualResult], path: Path, title: str) -> None:
    """Accuracy against the number of classes seen, one line per memory, with bands for 95 % intervals."""
    figure, (axis,) = new_figure(height=3.6)
    for i, (name, result) in enumerate(found.items()):
        curve = result.curve
        means = [100 * point.mean for point in curve]
        axis.plot(result.classes_seen, means, f"{MARKERS[i % 6]}-", color=COLORS[i % 6], label=name)
        low, high = ([100 * getattr(point, end) for point in curve] for end in ("low", "high"))
        axis.fill_between(result.classes_seen, low, high, color=COLORS[i % 6], alpha=0.15, linewidth=0)
    axis.set_xlabel("classes seen")
    axis.set_ylabel("accuracy on their test images, %")
    axis.set_ylim(0, 103)
    legend_below(figure, axis)
    save_figure(figure, path, title)


def plot_search(found: SearchResult, path: Path, title: str) -> None:
    """Two accuracies of each network: trained on the set, and on the full split, by which the rows are sorted.

    Where both rank the networks alike, both columns of points fall from the top to the bottom.
    """
    order = sorted(range(len(found.networks)), key=lambda i: found.full[i])
    chosen = order.index(found.chosen)
    figure, axes = new_figure(columns=2, height=1.5 + 0.28 * len(order), sharey=True)
    for axis, values, label in zip(axes, (found.proxy, found.full), ("the set", "the full split"), strict=True):
        ordered = [100 * values[i] for i in order]
        axis.plot(ordered, range(len(order)), MARKERS[0], color=COLORS[0])
        best = f"best on the set: {found.networks[found.chosen]}"
        axis.plot(ordered[chosen], chosen, MARKERS[3], color=COLORS[1], markersize=8, label=best)
        for row, value in enumerate(ordered):
            axis.annotate(f"{value:.1f}", (value, row), (7, 0), textcoords="offset points", va="center", fontsize=SMALL)
        axis.set_xlim(*_around(ordered))
        axis.locator_params(axis="x", nbins=4)
        axis.set_xlabel(f"trained on\n{label}, %")
    axes[0].set_yticks(range(len(order)), [found.networks[i] for i in order], fontsize=SMALL, parse_math=False)
    legend_below(figure, axes[0])
    rho = found.correlation.spearman
    save_figure(figure, path, f"{title}: rank correlation {rho.value:.2f} ({rho.low:.2f} to {rho.high:.2f})")


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis with room for points, and for their values to the right of them."""
    span = max(values) - min(values) or 1.0
    return min(values) - 0.12 * span, max(values) + 0.5 * span


KINDS = (("learned", "-", COLORS[0], MARKERS[0]), ("fixed", "--", COLORS[1], MARKERS[1]))
QUANTITIES = {
    "discrepancy": "NCFD",
    "excess": "gap² / that of noise",
    "modulus": "modulus of Φ of real data",
    "amplitude_share": "share of the amplitude",
}


def plot_diagnosis(entries: Sequence[Mapping[str, Any]], path: Path, title: str, class_names: Sequence[str]) -> None:
    """The learned frequencies of an adversary over the iterations, compared with fixed ones.

    Five panels over the iterations: NCFD, the excess over sampling noise, the modulus of the real characteristic
    function and the share of the amplitude (means over classes, bands from the lowest class to the highest), and the
    learned bandwidths. Below them NCFD and the share of the amplitude by class, at the last diagnosis.
    """
    layout = [["discrepancy", "excess"], ["modulus", "amplitude_share"], ["bandwidths", "."]]
    layout += [[f"{name} by class"] * 2 for name in ("discrepancy", "amplitude_share")]
    figure, panels = mosaic_figure(layout, height=2.0)
    at = [entry["iteration"] for entry in entries]
    for field, label in QUANTITIES.items():
        _draw_quantity(panels[field], entries, field)
        name_panel(panels[field], label)
    panels["excess"].axhline(1.0, color=GUIDE, linewidth=1)
    _draw_bandwidths(panels["bandwidths"], at, [entry["learned.bandwidths"] for entry in entries])
    for name in (*QUANTITIES, "bandwidths"):
        panels[name].set_xlabel("iteration")
    for field in ("discrepancy", "amplitude_share"):
        axis = panels[f"{field} by class"]
        _draw_classes(axis, entries[-1], field, class_names)
        name_panel(axis, f"{QUANTITIES[field]} at iteration {at[-1]}")
    handles = panels["discrepancy"].get_legend_handles_labels()
    figure.legend(*handles, loc="center", bbox_to_anchor=(0.75, 0.5), frameon=False)
    save_figure(figure, path, title)


def _draw_quantity(axis: Axes, entries: Sequence[Mapping[str, Any]], field: str) -> None:
    """A quantity over the iterations, for the learned and for the fixed frequencies."""
    at = [entry["iteration"] for entry in entries]
    for kind, line, color, _ in KINDS:
        values = [entry[f"{kind}.{field}"] for entry in entries]
        axis.plot(at, [sum(v) / len(v) for v in values], line, color=color, label=kind)
        axis.fill_between(at, list(map(min, values)), list(map(max, values)), color=color, alpha=0.12, linewidth=0)


def _draw_bandwidths(axis: Axes, at: Sequence[int], spectra: Sequence[Sequence[float]]) -> None:
    """The median of the learned bandwidths over the iterations, in the band of their outermost quantiles."""
    quantiles = list(zip(*spectra, strict=True))
    axis.fill_between(at, quantiles[0], quantiles[-1], color=COLORS[0], alpha=0.12, linewidth=0)
    axis.plot(at, quantiles[len(quantiles) // 2], color=COLORS[0])
    name_panel(axis, "learned bandwidths, 5 to 95 %")


def _draw_classes(axis: Axes, entry: Mapping[str, Any], field: str, class_names: Sequence[str]) -> None:
    """A quantity of each class at one iteration."""
    for kind, _, color, marker in KINDS:
        values = entry[f"{kind}.{field}"]
        axis.plot(range(len(values)), values, marker, color=color)
    if len(class_names) <= NAMED_CLASSES:
        axis.set_xticks(range(len(class_names)), class_names, rotation=60, ha="right", parse_math=False)
        axis.tick_params(axis="x", labelsize=SMALL)
        for label in axis.get_xticklabels():
            label.set_rotation_mode("anchor")
    else:
        axis.set_xlabel("class")
