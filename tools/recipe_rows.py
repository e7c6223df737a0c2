"""The rows of recipes: which accuracy rows belong to one, those that the package has, and predicted times."""

from __future__ import annotations

import csv
import functools
import io
from typing import Any

from ncfm.config.build import build_protocol
from ncfm.config.keys import dotted
from ncfm.config.resolve import resolve_config
from ncfm.results.formatting import duration, machine_of
from ncfm.workflows import rows as table_rows
from ncfm.workflows.rows import Row


@functools.cache
def of_recipe(data: str, ipc: int, name: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What rows of a recipe have in the columns data, IPC, method, network and protocol; and all settings of it."""
    config = resolve_config(data, ipc, name, None, None)
    return (data, str(ipc), "ncfm", config.evaluate.network, build_protocol(config).name), dotted(config)


def is_of_recipe(row: dict[str, str], of: Row) -> bool:
    """Whether an accuracy row belongs to a recipe: its data, protocol and network, and no other settings.

    The variant of a dataset distilled before its recipe existed lists the settings of the recipe, and that of one with
    a time budget lists the budget. Both belong to the recipe.
    """
    wanted, settings = of_recipe(of.data, of.ipc, of.name)
    if tuple(row[c] for c in ("dataset", "ipc", "method", "network", "protocol")) != wanted:
        return False
    for part in filter(None, row["variant"].removeprefix(of.schedule).split(",")):
        key, _, value = part.partition("=")
        if key != "distill.seconds" and value != str(settings.get(key)):
            return False
    return row["variant"].startswith(of.schedule)


def committed(rows: list[dict[str, str]]) -> str:
    """The last accuracy row of every recipe, as a CSV file, for `ncfm reproduce` to compare with."""
    told = (
        "accuracy_mean",
        "accuracy_std",
        "accuracy_low",
        "accuracy_high",
        "num_runs",
        "network",
        "protocol",
        "training_images",
        "iterations",
    )
    told += ("teacher_seconds", "distill_seconds", "evaluate_seconds", "device", "threads", "commit", "date")
    text = io.StringIO()
    writer = csv.DictWriter(text, ("row", *told), lineterminator="\n")
    writer.writeheader()
    for of in table_rows.rows():
        own = [row for row in rows if is_of_recipe(row, of)]
        if own:
            writer.writerow({"row": of.name} | {name: own[-1].get(name, "") for name in told})
    return text.getvalue()


def with_time(recipe: str, planned: dict[str, str] | None) -> str:
    """A recipe that has not been run, with the predicted time in its header; any other unchanged."""
    lines = recipe.splitlines(keepends=True)
    before = [i for i, line in enumerate(lines) if line.startswith("# Time:")]
    for i in before:
        del lines[i : i + 2]
    places = [i for i, line in enumerate(lines) if line.startswith("# Expected: not run yet")]
    if planned is None or not places:
        return recipe
    at = places[0] + 1
    while lines[at].startswith("#  "):  # continues the expectation
        at += 1
    seconds = [float(planned[f"{stage}_seconds"]) for stage in ("teacher", "distill", "evaluate")]
    teachers, distilling, students = map(duration, seconds)
    lines.insert(at, f"# Time:     about {duration(sum(seconds))} on {machine_of(planned)}: teachers {teachers},\n")
    rest = f"distillation {distilling}, evaluation {students}; predicted from a few timed steps."
    lines.insert(at + 1, f"#           {rest}\n")
    return "".join(lines)
