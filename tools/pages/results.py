"""The tables of docs/results.md: accuracies by data and images per class, the best first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ncfm.results.files import latest
from ncfm.results.formatting import of_row, part_of, spaced
from ncfm.results.published import published
from ncfm.workflows import rows as table_rows
from tools.pages.cells import data_name, mean_percent, whole
from tools.pages.sources import results
from tools.recipe_rows import is_of_recipe

PAGE = "docs/results.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    rows = results("accuracy")
    by_recipe = latest(plain(rows))
    return {
        "glance": glance_table(by_recipe),
        "recipes": grouped_tables(by_recipe),
        "results": results_table(rows),
    }


Rows = Sequence[Mapping[str, str]]
SELECTIONS = ("random", "herding", "kcenter", "kmeans", "mosaic")  # of real images, which a distilled set must beat


def grouped(rows: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], Rows]:
    """Rows by data and images per class, both in ascending order; within a group the highest accuracy first."""
    groups: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for row in sorted(rows, key=lambda row: (row["dataset"], float(row["ipc"]), -float(row["accuracy_mean"]))):
        groups.setdefault((row["dataset"], row["ipc"]), []).append(row)
    return dict(groups)


def glance_table(rows: Iterable[Mapping[str, str]]) -> str:
    """A narrow Markdown table with a line for each data and number of images: distilled, real images, the paper.

    The paper's number stands only where the whole training split was used, as there.
    """
    lines = ["| data | IPC | ncfm | real images | paper |", "|---|---:|---:|---:|---:|"]
    for (data, ipc), group in grouped(rows).items():
        distilled = [row for row in group if row["method"] == "ncfm" and "gaussian" not in row["variant"]]
        selected = [row for row in group if row["method"] in SELECTIONS]
        whole = all(part_of(f"{data}-ipc{ipc}", row) == "all" for row in group)
        paper = published(data, float(ipc), distilled[0]["network"]) if distilled and whole else None
        name = data_name(data) + ("" if whole else " (part)")
        own = f"**{mean_percent(distilled[0])}**" if distilled else "-"
        real = f"{mean_percent(selected[0])} ({selected[0]['method']})" if selected else "-"
        lines.append(f"| {name} | {ipc} | {own} | {real} | {'-' if paper is None else f'{paper:.1f}'} |")
    return "\n".join(lines) + "\n"


def grouped_tables(rows: Iterable[Mapping[str, str]]) -> str:
    """A heading and a narrow Markdown table for each data and number of images; what all rows share stands below."""
    parts = []
    for (data, ipc), group in grouped(rows).items():
        lines = ["| method | accuracy, % | 95 % interval |", "|---|---:|:---:|"]
        for row in group:
            accuracy, between = of_row(row)
            method = row["method"] + (f" ({spaced(row['variant'])})" if row["variant"] else "")
            lines.append(f"| {f'**{method}**' if row['method'] == 'ncfm' else method} | {accuracy} | {between} |")
        images = "1 image" if ipc == "1" else f"{ipc} images"
        parts.append(
            f"### {data_name(data)}, {images} per class\n\n" + "\n".join(lines) + f"\n\n*{_conditions(group)}*\n"
        )
    return "\n".join(parts)


def _conditions(group: Rows) -> str:
    """Network, protocol and number of networks, of all rows or of each kind."""
    found = dict.fromkeys(f"{r['num_runs']} x {r['network']}, {spaced(r['protocol'])}" for r in group)
    return "Trained and tested: " + "; ".join(found) + "."


def results_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of accuracy rows, in percent with 95 % intervals."""
    lines = [
        "| data | IPC | method | accuracy | 95 % interval | runs | network | protocol | teachers, s | distil, s |",
        "|---|---:|---|---:|:---:|---:|---|---|---:|---:|",
    ]
    for r in rows:
        method = r["method"] + (f" ({spaced(r['variant'])})" if r["variant"] else "")
        lines.append(
            f"| {r['dataset']} | {r['ipc']} | {method} | {' | '.join(of_row(r))} "
            f"| {r['num_runs']} | {r['network']} | {spaced(r['protocol'])} "
            f"| {whole(r['teacher_seconds'])} | {whole(r['distill_seconds'])} |"
        )
    return "\n".join(lines) + "\n"


def plain(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows of methods by their recipes, compared or alone, without the settings that the recipe has too."""
    found, recipes = [], table_rows.rows()
    for row in rows:
        of = next((of for of in recipes if is_of_recipe(row, of)), None)
        if of is not None:
            found.append(row | {"variant": of.schedule})
        elif is_plain(row):
            found.append(row)
    return found


def is_plain(row: dict[str, str]) -> bool:
    """Whether a row is a method by its recipe, from a comparison, evaluated as in the recipe."""
    compared = row["command"].startswith("ncfm compare") and not row["network"].endswith("-batch")
    by_recipe = "=" not in row["variant"] and "--minutes" not in row["command"]
    return compared and by_recipe and "labels=" not in row["protocol"]
