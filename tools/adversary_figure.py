"""Draw docs/images/adversary.png from the rows of results/adversary.csv: ``python -m tools.adversary_figure``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from ncfm._utils.files import content_hash
from ncfm.results.figures import COLORS, GUIDE, MARKERS, legend_below, name_panel, new_figure, save_figure
from ncfm.results.files import read_rows

ROOT = Path(__file__).parents[1]
ROWS, PICTURE = ROOT / "results" / "adversary.csv", ROOT / "docs" / "images" / "adversary.png"
CRITERION = "halves"  # of the picture; the table has all
NAMES = {
    "one teacher": "fitted under A only",
    "shared": "one for all teachers, in turns",
    "per teacher": "one per teacher, in turns",
}

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
    figure, panels = new_figure(len(forms), height=1.9, sharex=True)
    for axis, form in zip(panels, forms, strict=True):
        draw_form(axis, [row for row in rows if row["form"] == form])
        name_panel(axis, form)
    legend_below(figure, panels[0], columns=1)
    save_figure(figure, path, "Squared gap, times that of fixed frequencies", source=fingerprint(rows))


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
    axis.axhline(1.0, color=GUIDE, linewidth=1, linestyle="--")
    axis.set_xticks(range(len(extractors)), [extractor.replace(" blended ", "+") for extractor in extractors])
    if highest > 10:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")


def main() -> None:
    """Draw the committed rows."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    draw(best_trained(read_rows(ROWS)), path)


if __name__ == "__main__":
    main()
