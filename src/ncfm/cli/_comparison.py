"""What ``ncfm compare`` and ``ncfm demo`` write and print of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ncfm._utils.progress import counted
from ncfm.cli._output import accuracy, say, show, table

if TYPE_CHECKING:
    from ncfm.workflows.scored import Entry, Scored

PLOT_FILE, COSTS_FILE = "comparison.png", "costs.png"
LISTED = 8  # pictures of sets that are listed one by one
HEADINGS = ("accuracy %", "95 % interval", "stored\nper class", "distil\ns", "iter.\ns", "MiB")


def write_files(scored: list[Scored], out: Path, title: str) -> list[Entry]:
    """Write the files of a comparison; return its results by method."""
    from ncfm._utils.files import write_json
    from ncfm.results.bars import plot_accuracies, plot_costs
    from ncfm.workflows.scored import cost_points, entries, write_csv

    write_json(out / "comparison.json", [one.as_dict() for one in scored])
    write_csv(out / "comparison.csv", scored)
    found = entries(scored)
    plot_accuracies({entry.first.name: entry.interval for entry in found}, out / PLOT_FILE, title)
    points = cost_points(found)
    if points:
        plot_costs(points, out / COSTS_FILE, title)
    return found


def print_comparison(title: str, entries: list[Entry], out: Path) -> None:
    """The table on the screen, and the pictures in the folder."""
    made = table("method", *HEADINGS, title=title, caption=caption_of(entries), fold=True)
    for row in rows_of(entries):
        made.add_row(*row)
    show(made)
    for line in _below_real(entries):
        say(line)
    pictures = _pictures(out)
    if pictures:
        say("Pictures:")
        for picture in pictures:
            say(f"  {picture}", wrap=False)


def _below_real(entries: list[Entry]) -> list[str]:
    """A sentence for each distilled method that is not above random or herded real images."""
    real = {e.first.method: e.interval.mean for e in entries if e.first.method in ("random", "herding")}
    lines = []
    for entry in entries:
        above = [name for name, mean in real.items() if mean >= entry.interval.mean]
        if entry.first.distill_seconds is not None and above:
            lines.append(
                f"{entry.first.name} is not above {' and '.join(above)} real images: use these, or change the settings "
                "(more iterations, fewer images per class, another factor)."
            )
    return lines


def text_table(form: str, title: str, entries: list[Entry]) -> str:
    """The table as LaTeX or Markdown."""
    from ncfm.results.text_tables import TABLES

    headings = ["method", *(heading.replace("\n", " ") for heading in HEADINGS)]
    return TABLES[form](f"{title}. {caption_of(entries)}", headings, rows_of(entries))


def caption_of(entries: list[Entry]) -> str:
    """What the numbers are."""
    seeds = max(len(entry.scored) for entry in entries)
    over = counted(seeds, "seed") if seeds > 1 else "students"
    known = [entry.first.teacher_accuracy for entry in entries if entry.first.teacher_accuracy is not None]
    teachers = f" Teachers: {100 * known[0]:.1f} %." if known else ""
    return (
        f"Accuracy after the last epoch on the real test split; same recipe for all; intervals over {over}.{teachers}"
    )


def rows_of(entries: list[Entry]) -> list[list[str]]:
    """A row of text for each method, in the columns of `HEADINGS` after its name."""
    from ncfm.results.formatting import interval_of

    return [
        [
            _name(entry),
            accuracy(entry.interval),
            interval_of(entry.interval.low, entry.interval.high),
            f"{entry.first.storage:.4g}",
            _or_dash(entry.median("distill_seconds"), ".0f"),
            _or_dash(entry.median("seconds_per_iteration"), ".3g"),
            _or_dash(entry.median("distill_memory_mb"), ".0f"),
        ]
        for entry in entries
    ]


def _name(entry: Entry) -> str:
    first = entry.first
    variant = ", ".join(part for part in first.variant.split(",") if "=" not in part)  # settings hold for all rows
    name = first.name if ": " in first.name else first.method + (f" ({variant})" if variant else "")
    return name + (" (teacher)" if "teacher" in first.evaluation.protocol else "")


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _pictures(out: Path) -> list[str]:
    """The plots and the pictures of the sets, as a pattern if there are many."""
    from ncfm.workflows.distilling import PICTURE_FILE

    plots = [str(out / name) for name in (PLOT_FILE, COSTS_FILE) if (out / name).is_file()]
    of_sets = [place / PICTURE_FILE for place in sorted(out.iterdir()) if (place / PICTURE_FILE).is_file()]
    return plots + ([str(picture) for picture in of_sets] if len(of_sets) <= LISTED else [f"{out}/*/{PICTURE_FILE}"])
