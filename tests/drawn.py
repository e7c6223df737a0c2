"""What of a figure a reader on a telephone cannot read: text as it is drawn, its size and its overlaps."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg

PAGE = 358  # pixels of a column on a telephone of 390
SMALLEST = 9  # pixels of its text


class Piece(NamedTuple):
    """A line of text with its box in pixels from the top left corner; the box is None for slanted text."""

    text: str
    size: float  # in pixels of a page on a telephone
    box: tuple[float, float, float, float] | None


def pieces(figure, monkeypatch):
    """The lines of text of a figure, as they are drawn."""
    found = []
    canvas = FigureCanvasAgg(figure)
    plain = RendererAgg.draw_text

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        width, height, descent = self.get_text_width_height_descent(s, prop, ismath)
        boxes = {
            0: (x, y - height + descent, x + width, y + descent),
            90: (x - height + descent, y - width, x + descent, y),
        }
        found.append(Piece(s, prop.get_size_in_points() / 72 / figure.get_figwidth() * PAGE, boxes.get(round(angle))))
        return plain(self, gc, x, y, s, prop, angle, ismath, mtext)

    with monkeypatch.context() as patch:
        patch.setattr(RendererAgg, "draw_text", draw_text)
        canvas.draw()
    return [piece for piece in found if piece.text.strip()]


def faults(figure, monkeypatch):
    """Why a reader on a telephone could not read a figure; empty if they can."""
    found, texts = [], pieces(figure, monkeypatch)
    width, height = figure.canvas.get_width_height()
    for i, (text, size, box) in enumerate(texts):
        found += [f"{text!r} has {size:.1f} pixels"] if size < SMALLEST else []
        if box is None:
            continue
        if min(box[:2]) < -2 or box[2] > width + 2 or box[3] > height + 2:
            found.append(f"{text!r} is cut off")
        for other in texts[:i]:
            if other.box is not None and overlap(box, other.box):
                found.append(f"{text!r} lies on {other.text!r}")
    if any(axis.get_legend() is not None and axis.has_data() for axis in figure.axes):
        found.append("a legend lies on the data")
    return found


def overlap(a, b, margin=1.0):
    """Whether two boxes overlap by more than a pixel in both directions."""
    return all(min(a[i + 2], b[i + 2]) - max(a[i], b[i]) > margin for i in (0, 1))
