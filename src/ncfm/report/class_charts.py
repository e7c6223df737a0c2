"""Charts of all classes: a confusion matrix, and a map of the features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from ncfm.report.axes import (
    COLORS,
    RIGHT,
    WIDTH,
    Chart,
    Scale,
    as_text,
    drawing,
    frame,
    scales_of,
    shortened,
)

MAX_CELLS = 30  # maximum of classes of a confusion matrix


class Cloud(NamedTuple):
    """Points of one class in the plane."""

    name: str
    real: Sequence[tuple[float, float]]
    synthetic: Sequence[tuple[float, float]]


def confusion_chart(title: str, summary: str, counts: Sequence[Sequence[float]], names: Sequence[str]) -> Chart:
    """A confusion matrix in percent of each row; rows are true classes, columns predicted ones."""
    shares = [[100 * v / max(sum(row), 1) for v in row] for row in counts]
    left = 12 + 7.2 * min(max(map(len, names)), 14)
    cell = (WIDTH - left - RIGHT) / len(names)
    top = 18.0
    height = round(top + cell * len(names) + 12 + 7.2 * min(max(map(len, names)), 14) + 10)
    parts = [Markup('<text class="axis" x="{:.1f}" y="12">predicted class</text>').format((left + WIDTH - RIGHT) / 2)]
    parts.append(Markup('<text class="unit" x="2" y="12">true</text>'))
    for i, row in enumerate(shares):
        y = top + i * cell
        parts.append(
            Markup('<text class="name" x="{:.1f}" y="{:.1f}">{}</text>').format(
                left - 6, y + cell / 2 + 4, shortened(names[i], 14)
            )
        )
        x = left + (i + 0.5) * cell
        parts.append(
            Markup('<text class="name" transform="translate({:.1f} {:.1f}) rotate(-90)">{}</text>').format(
                x + 4, top + cell * len(names) + 6, shortened(names[i], 14)
            )
        )
        for j, share in enumerate(row):
            parts.append(
                Markup(
                    '<rect class="cell" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill-opacity="{:.3f}"/>'
                ).format(left + j * cell, y, cell - 1, cell - 1, share / 100)
            )
            if len(names) <= 12 and share >= 0.5:
                parts.append(
                    Markup('<text class="count" x="{:.1f}" y="{:.1f}">{:.0f}</text>').format(
                        left + (j + 0.5) * cell - 0.5, y + cell / 2 + 4, share
                    )
                )
    rows = tuple((name, *(f"{v:.1f}" for v in row)) for name, row in zip(names, shares, strict=True))
    return Chart(title, summary, drawing(title, summary, height, parts), ("true class, %", *names), rows)


def map_chart(title: str, summary: str, clouds: Sequence[Cloud], *, labels: tuple[str, str]) -> Chart:
    """Real and synthetic points in the plane, one group per class, so that the page can dim other classes."""
    points = [point for cloud in clouds for point in (*cloud.real, *cloud.synthetic)] or [(0.0, 0.0)]
    height = 330
    across, up = scales_of([x for x, _ in points], [y for _, y in points], height)
    parts = [frame(across, up, *labels, height)]
    for i, cloud in enumerate(clouds):
        drawn = Markup('<path class="real" d="{}"/>').format(_dots(cloud.real, across, up))
        drawn += Markup('<path class="halo" d="{0}"/><path class="synthetic" d="{0}"/>').format(
            _dots(cloud.synthetic, across, up)
        )
        parts.append(Markup('<g class="cloud s{}" data-class="{}">{}</g>').format(i % COLORS, i, drawn))
    rows = []
    for cloud in clouds:
        cells = [f"{as_text(x)}, {as_text(y)}" for x, y in map(_centre, (cloud.real, cloud.synthetic))]
        rows.append((cloud.name, str(len(cloud.real)), cells[0], str(len(cloud.synthetic)), cells[1]))
    columns = ("class", "real", "centre of the real", "synthetic", "centre of the synthetic")
    return Chart(title, summary, drawing(title, summary, height, parts), columns, tuple(rows))


def _centre(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    if not points:
        return math.nan, math.nan
    return math.fsum(x for x, _ in points) / len(points), math.fsum(y for _, y in points) / len(points)


def _dots(points: Sequence[tuple[float, float]], across: Scale, up: Scale) -> str:
    """A path that draws points."""
    return "".join(f"M{across(x):.1f} {up(y):.1f}h0" for x, y in points)
