"""Charts as inline SVG. Colours are CSS classes of the page, and follow its light and dark scheme.

Every chart has a summary in words and its numbers as a table. All text is escaped by `Markup.format`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from ncfm.report.axes import (
    BOTTOM,
    COLORS,
    HEIGHT,
    RIGHT,
    WIDTH,
    Chart,
    Scale,
    as_text,
    drawing,
    frame,
    grid_down,
    scales_of,
    shortened,
)

ROW = 22  # height of a bar with its margin
MAX_POINTS, MAX_ROWS = 400, 24  # of a line, and of its table


class Line(NamedTuple):
    """A curve, with an optional band from low to high."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    band: tuple[Sequence[float], Sequence[float]] | None = None
    faint: bool = False  # raw values of the next line, in its colour


class Bar(NamedTuple):
    """A value in percent, with an optional interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    own: bool = True  # whether it has the colour of this set; otherwise that of other sets


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Centred running mean, over fewer values at the ends.

    >>> running_mean([1.0, 2.0, 6.0], 3)
    [1.5, 3.0, 4.0]
    """
    half, sums = window // 2, [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    ends = [(max(i - half, 0), min(i + half + 1, len(values))) for i in range(len(values))]
    return [(sums[stop] - sums[start]) / (stop - start) for start, stop in ends]


def line_chart(
    title: str, summary: str, lines: Sequence[Line], *, x_label: str, y_label: str, zero: bool = False
) -> Chart:
    """Curves over a common axis. With ``zero`` the y axis begins at 0. Values that are not finite are skipped."""
    lines = [_finite(line) for line in lines]
    xs = [x for line in lines for x in line.xs] or [0.0]
    edges = [v for line in lines for part in (line.ys, *(line.band or ())) for v in part] or [0.0]
    across, up = scales_of(xs, [*edges, 0.0] if zero else edges)
    parts = [frame(across, up, x_label, y_label)]
    styles = _styles(lines)
    for style, line in zip(styles, lines, strict=True):
        at = _some(len(line.xs), MAX_POINTS)
        places = [(across(line.xs[j]), up(line.ys[j])) for j in at]
        if line.band is not None:
            low, high = line.band
            outline = [(across(line.xs[j]), up(high[j])) for j in at]
            outline += [(across(line.xs[j]), up(low[j])) for j in reversed(at)]
            parts.append(Markup('<path class="band {}" d="{}Z"/>').format(style, _path(outline)))
        if len(places) == 1:
            parts.append(Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(style, *places[0]))
        parts.append(Markup('<path class="line {}" d="{}"/>').format(style, _path(places)))
    keys = tuple((style, line.name) for style, line in zip(styles, lines, strict=True)) if len(lines) > 1 else ()
    return Chart(title, summary, drawing(title, summary, HEIGHT, parts), *_table(lines, x_label), keys)


def _styles(lines: Sequence[Line]) -> list[str]:
    """CSS classes: a colour and a dash pattern per line; a faint line has those of the next."""
    styles, number = [], 0
    for line in lines:
        styles.append(f"s{number % COLORS} " + ("faint" if line.faint else f"d{number % 4}"))
        number += not line.faint
    return styles


def bar_chart(
    title: str, summary: str, bars: Sequence[Bar], *, x_label: str, rule: tuple[str, float] | None = None
) -> Chart:
    """Horizontal bars in percent, with whiskers for intervals; ``rule`` is the name and value of a vertical line."""
    left = 16 + 7.2 * min(max((len(bar.name) for bar in bars), default=1), 20)
    top = 22 if rule is not None else 6  # space for the name of the rule
    height = len(bars) * ROW + top + BOTTOM
    highest = max((bar.high or bar.value for bar in bars), default=1.0)
    across = Scale(0.0, max(min(highest * 1.08, 100.0), 1.0), left, WIDTH - RIGHT - 36)
    parts = [grid_down(across, top, height - BOTTOM, x_label)]
    if rule is not None:
        parts.append(
            Markup(
                '<line class="rule" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                '<text class="axis" x="{0:.1f}" y="{3}">{4}</text>'
            ).format(across(rule[1]), top, height - BOTTOM, top - 7, rule[0])
        )
    for i, bar in enumerate(bars):
        middle, end = top + (i + 0.5) * ROW, across(bar.value)
        parts.append(
            Markup(
                '<text class="name" x="{:.1f}" y="{:.1f}">{}</text>'
                '<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}" rx="2"/>'
            ).format(
                left - 8,
                middle + 4.5,
                shortened(bar.name),
                "own" if bar.own else "other",
                left,
                middle - 7,
                max(end - left, 0.5),
                14,
            )
        )
        reach = end
        if bar.low is not None and bar.high is not None:
            a, reach = across(max(bar.low, 0.0)), across(min(bar.high, across.high))
            parts.append(
                Markup('<path class="whisker" d="M{0:.1f} {2:.1f}v6m0-3H{1:.1f}m0-3v6"/>').format(a, reach, middle - 3)
            )
        parts.append(
            Markup('<text class="value" x="{:.1f}" y="{:.1f}">{:.1f}</text>').format(reach + 6, middle + 4.5, bar.value)
        )
    ranges = [f"{b.low:.1f} to {b.high:.1f}" if b.low is not None and b.high is not None else "-" for b in bars]
    rows = [(bar.name, f"{bar.value:.1f}", text) for bar, text in zip(bars, ranges, strict=True)]
    rows += [] if rule is None else [(rule[0], f"{rule[1]:.1f}", "-")]
    width = 2 if all(row[2] == "-" for row in rows) else 3
    columns = ("name", x_label, "95 % interval")[:width]
    cells = tuple(row[:width] for row in rows)
    return Chart(title, summary, drawing(title, summary, height, parts), columns, cells)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if places else ""


def _finite(line: Line) -> Line:
    kept = [i for i, pair in enumerate(zip(line.xs, line.ys, strict=True)) if all(map(math.isfinite, pair))]
    band = line.band
    if band is not None:
        band = ([band[0][i] for i in kept], [band[1][i] for i in kept])
    return line._replace(xs=[line.xs[i] for i in kept], ys=[line.ys[i] for i in kept], band=band)


def _some(count: int, most: int) -> list[int]:
    """At most ``most`` of 0 .. count - 1 at equal distances, including the first and the last."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _table(lines: Sequence[Line], x_label: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Columns and rows for curves, at some of their positions."""
    xs = sorted({x for line in lines for x in line.xs})
    shown = [xs[i] for i in _some(len(xs), MAX_ROWS)]
    values = [dict(zip(line.xs, line.ys, strict=True)) for line in lines]
    rows = tuple((as_text(x), *(as_text(found.get(x, math.nan)) for found in values)) for x in shown)
    return (x_label, *(line.name for line in lines)), rows
