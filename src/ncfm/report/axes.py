"""What charts have in common: the chart as a value, scales, ticks, and the frame around a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

WIDTH, HEIGHT = 340, 230  # text of 12 px is not scaled down in a card on a phone
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 28, 40  # margins around the plot
COLORS = 10  # CSS classes s0 .. s9 of the style sheet


@dataclass(frozen=True)
class Chart:
    """A drawing, a summary of it in a sentence, and its numbers."""

    title: str
    summary: str  # for screen readers
    svg: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: tuple[tuple[str, str], ...] = ()  # CSS class and name per line, if there are several


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


def drawing(title: str, summary: str, height: float, parts: Iterable[Markup]) -> Markup:
    """The SVG element of a chart, named for screen readers."""
    head = Markup('<svg class="chart" role="img" viewBox="0 0 {} {}" aria-label="{}. {}">').format(
        WIDTH, height, title, summary
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def scales_of(xs: Sequence[float], ys: Sequence[float], height: float = HEIGHT) -> tuple[Scale, Scale]:
    """Scales of both axes, with a margin above and below the values, but none below 0."""
    low, high = min(ys), max(ys)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    left, right = min(xs), max(xs)
    margin = 0.0 if right > left else 1.0
    across = Scale(left - margin, right + margin, LEFT, WIDTH - RIGHT)
    return across, Scale(low if low == 0 else low - room, high + room, height - BOTTOM, TOP)


def frame(across: Scale, up: Scale, x_label: str, y_label: str, height: float = HEIGHT) -> Markup:
    """Grid lines, ticks and labels of both axes."""
    parts = [grid_down(across, TOP, height - BOTTOM, x_label, lines=False)]
    for value in ticks(up.low, up.high):
        parts.append(
            Markup(
                '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
                '<text class="tick left" x="{3}" y="{4:.1f}">{5}</text>'
            ).format(LEFT, WIDTH - RIGHT, up(value), LEFT - 6, up(value) + 4, as_text(value))
        )
    parts.append(Markup('<text class="unit" x="2" y="13">{}</text>').format(y_label))
    return Markup("").join(parts)


def grid_down(across: Scale, top: float, bottom: float, label: str, lines: bool = True) -> Markup:
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


def shortened(name: str, most: int = 20) -> str:
    """A name of at most so many letters."""
    return name if len(name) <= most else name[: most - 1] + "…"
