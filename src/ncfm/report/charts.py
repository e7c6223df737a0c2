"""Charts as inline SVG. Colours are CSS classes of the page, and follow its light and dark scheme.

Every chart has a summary in words and its numbers as a table. All text is escaped by `Markup.format`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

WIDTH, HEIGHT = 340, 230  # text of 12 px is not scaled down in a card on a phone
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 28, 40  # margins around the plot
ROW = 22  # height of a bar with its margin
COLORS = 10  # CSS classes s0 .. s9 of the style sheet
MAX_POINTS, MAX_ROWS = 400, 24  # of a line, and of its table
MAX_CELLS = 30  # maximum of classes of a confusion matrix


@dataclass(frozen=True)
class Chart:
    """A drawing, a summary of it in a sentence, and its numbers."""

    title: str
    summary: str  # for screen readers
    svg: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: tuple[tuple[str, str], ...] = ()  # CSS class and name per line, if there are several


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


class Cloud(NamedTuple):
    """Points of one class in the plane."""

    name: str
    real: Sequence[tuple[float, float]]
    synthetic: Sequence[tuple[float, float]]


class Scale(NamedTuple):
    """A linear map from values low .. high to positions start .. stop."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The position of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About ``about`` round values in low .. high: multiples of 1, 2 or 5 times a power of ten.

    >>> ticks(0.0, 0.42)
    [0.0, 0.1, 0.2, 0.3, 0.4]
    """
    span = max(high - low, 1e-12)
    raw = span / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1, 2, 5) if m * power >= raw * 0.75), 10 * power)
    first = math.ceil(low / step - 1e-9)
    digits = max(1 - math.floor(math.log10(step)), 0)
    return [round(i * step, digits) + 0.0 for i in range(first, math.floor(high / step + 1e-9) + 1)]


def as_text(value: float) -> str:
    """A number as text: at most four digits, integers with thousands separators.

    >>> as_text(0.123456), as_text(1200.0), as_text(float("nan"))
    ('0.1235', '1,200', '-')
    """
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.4g}"


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
    across, up = _scales(xs, [*edges, 0.0] if zero else edges)
    parts = [_frame(across, up, x_label, y_label)]
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
    return Chart(title, summary, _svg(title, summary, HEIGHT, parts), *_table(lines, x_label), keys)


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
    parts = [_grid_down(across, top, height - BOTTOM, x_label)]
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
                _short(bar.name),
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
    return Chart(title, summary, _svg(title, summary, height, parts), columns, cells)


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
                left - 6, y + cell / 2 + 4, _short(names[i], 14)
            )
        )
        x = left + (i + 0.5) * cell
        parts.append(
            Markup('<text class="name" transform="translate({:.1f} {:.1f}) rotate(-90)">{}</text>').format(
                x + 4, top + cell * len(names) + 6, _short(names[i], 14)
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
    return Chart(title, summary, _svg(title, summary, height, parts), ("true class, %", *names), rows)


def map_chart(title: str, summary: str, clouds: Sequence[Cloud], *, labels: tuple[str, str]) -> Chart:
    """Real and synthetic points in the plane, one group per class, so that the page can dim other classes."""
    points = [point for cloud in clouds for point in (*cloud.real, *cloud.synthetic)] or [(0.0, 0.0)]
    height = 330
    across, up = _scales([x for x, _ in points], [y for _, y in points], height)
    parts = [_frame(across, up, *labels, height)]
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
    return Chart(title, summary, _svg(title, summary, height, parts), columns, tuple(rows))


def _centre(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    if not points:
        return math.nan, math.nan
    return math.fsum(x for x, _ in points) / len(points), math.fsum(y for _, y in points) / len(points)


def _svg(title: str, summary: str, height: float, parts: Iterable[Markup]) -> Markup:
    head = Markup('<svg class="chart" role="img" viewBox="0 0 {} {}" aria-label="{}. {}">').format(
        WIDTH, height, title, summary
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def _scales(xs: Sequence[float], ys: Sequence[float], height: float = HEIGHT) -> tuple[Scale, Scale]:
    """Scales of both axes, with a margin above and below the values, but none below 0."""
    low, high = min(ys), max(ys)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    left, right = min(xs), max(xs)
    margin = 0.0 if right > left else 1.0
    across = Scale(left - margin, right + margin, LEFT, WIDTH - RIGHT)
    return across, Scale(low if low == 0 else low - room, high + room, height - BOTTOM, TOP)


def _frame(across: Scale, up: Scale, x_label: str, y_label: str, height: float = HEIGHT) -> Markup:
    """Grid lines, ticks and labels of both axes."""
    parts = [_grid_down(across, TOP, height - BOTTOM, x_label, lines=False)]
    for value in ticks(up.low, up.high):
        parts.append(
            Markup(
                '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
                '<text class="tick left" x="{3}" y="{4:.1f}">{5}</text>'
            ).format(LEFT, WIDTH - RIGHT, up(value), LEFT - 6, up(value) + 4, as_text(value))
        )
    parts.append(Markup('<text class="unit" x="2" y="13">{}</text>').format(y_label))
    return Markup("").join(parts)


def _grid_down(across: Scale, top: float, bottom: float, label: str, lines: bool = True) -> Markup:
    """Ticks and label of the axis below a plot, with optional grid lines."""
    parts = []
    for value in ticks(across.low, across.high):
        if lines:
            parts.append(
                Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
                    across(value), top, bottom
                )
            )
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}">{}</text>').format(across(value), bottom + 16, as_text(value))
        )
    middle = (across.start + across.stop) / 2
    parts.append(Markup('<text class="axis" x="{:.1f}" y="{}">{}</text>').format(middle, bottom + 34, label))
    return Markup("").join(parts)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if places else ""


def _dots(points: Sequence[tuple[float, float]], across: Scale, up: Scale) -> str:
    """A path that draws points."""
    return "".join(f"M{across(x):.1f} {up(y):.1f}h0" for x, y in points)


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


def _short(name: str, most: int = 20) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
