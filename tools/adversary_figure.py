"""Draw ``docs/images/adversary.png`` from the rows of ``results/adversary.csv``: ``python -m tools.adversary_figure``.

A page is as narrow as 390 pixels on a telephone, so the panels stand below each other and the letters are large for the
width. The background is white in every colour scheme.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncfm._utils.files import content_hash
from ncfm.results.files import read_rows
from ncfm.results.plots import COLORS, MARKERS

ROOT = Path(__file__).parents[1]
ROWS, PICTURE = ROOT / "results" / "adversary.csv", ROOT / "docs" / "images" / "adversary.png"
CRITERION = "halves"  # of the picture; the table has all
NAMES = {
    "one teacher": "fitted under A only",
    "shared": "one for all teachers, in turns",
    "per teacher": "one per teacher, in turns",
}
WIDTH, PANEL = 4.2, 1.75  # inches

Row = Mapping[str, str]


def best_trained(rows: Iterable[Row]) -> list[Row]:
    """The rows of the picture: its criterion, and the teachers that were trained longest."""
    wanted = [row for row in rows if row["criterion"] == CRITERION]
    longest = max((int(row["teacher_epochs"]) for row in wanted), default=0)
    return [row for row in wanted if int(row["teacher_epochs"]) == longest]


def fingerprint(rows: Sequence[Row]) -> str:
    """What the picture shows, in short: it is stored in the picture, to tell whether that is out of date."""
    shown = ("training", "form", "extractor", "ratio_mean", "ratio_low", "ratio_high")
    return content_hash(*(row[column] for row in rows for column in shown))


def draw(rows: Sequence[Row], path: Path) -> None:
    """A panel for each form: the gap over that of fixed frequencies, by extractor, a line for each training."""
    forms = list(dict.fromkeys(row["form"] for row in rows))
    figure = Figure(figsize=(WIDTH, PANEL * len(forms) + 0.9), layout="constrained", facecolor="white")
    panels = list(figure.subplots(len(forms), 1, sharex=True, squeeze=False)[:, 0])
    for axis, form in zip(panels, forms, strict=True):
        draw_form(axis, [row for row in rows if row["form"] == form])
        axis.set_title(form, fontsize=10, loc="left")
    panels[-1].tick_params(axis="x", rotation=35)
    figure.supylabel("squared gap, times that of fixed frequencies", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", fontsize=9, frameon=False)
    figure.savefig(path, dpi=200, metadata={"Software": None, "Description": fingerprint(rows)})


def draw_form(axis: Axes, rows: Sequence[Row]) -> None:
    """The lines of one form, with 95 % intervals over fits."""
    extractors = list(dict.fromkeys(row["extractor"] for row in rows))
    highest = 1.0
    for index, (training, name) in enumerate(NAMES.items()):
        own = {row["extractor"]: row for row in rows if row["training"] == training}
        if not own:
            continue
        mean, low, high = (
            [float(own[extractor][f"ratio_{end}"] or "nan") for extractor in extractors]  # no interval of one fit
            for end in ("mean", "low", "high")
        )
        reach = [[m - at for m, at in zip(mean, low, strict=True)], [at - m for m, at in zip(mean, high, strict=True)]]
        places = [place + 0.08 * (index - 1) for place in range(len(extractors))]  # side by side
        axis.errorbar(places, mean, reach, fmt=MARKERS[index] + "-", color=COLORS[index], capsize=3, label=name)
        highest = max(highest, *mean)
    axis.axhline(1.0, color=COLORS[4], linewidth=1, linestyle="--")
    axis.set_xticks(range(len(extractors)), [extractor.replace(" blended ", "+") for extractor in extractors])
    axis.tick_params(labelsize=9)
    axis.grid(True, alpha=0.25)
    if highest > 10:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")


def main() -> None:
    """Draw the committed rows."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    draw(best_trained(read_rows(ROWS)), path)


if __name__ == "__main__":
    main()
