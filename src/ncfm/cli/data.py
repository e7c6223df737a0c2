"""``ncfm data``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._options import AsJson, Data, DataDir, Parts, Set, flatten_options, settings_of
from ncfm.cli._output import check_picture, console, print_json, say

if TYPE_CHECKING:
    from ncfm.data.summary import DataCard

LISTED = 20  # class names printed


@flatten_options
def command(
    data: Data,
    *,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="PNG", help="Write ten images per class to this file.")
    ] = None,
    parts: Parts,
    set_: Set = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Describe a dataset: its splits and classes, and problems such as duplicates or unreadable files.

    Example: `ncfm data digits`, `ncfm data my-photos --set data.image_size=64`
    """
    check_picture(picture)
    card = ncfm.describe(data, settings=settings_of(set_, **parts.shortcuts), data_dir=data_dir, picture=picture)
    if as_json:
        print_json(asdict(card) | {"statistics": {"mean": card.statistics.mean, "std": card.statistics.std}})
        return
    _print(card)
    if picture is not None:
        say(f"Picture: {picture}", wrap=False)


def _print(card: DataCard) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ncfm.data.channels import in_words
    from ncfm.data.summary import count_summary

    made = Table(show_header=False, title=escape(card.name), min_width=60)
    if card.layout:
        made.add_row("read as", escape(card.layout))
    made.add_row("classes", str(card.num_classes))
    made.add_row("training images", f"{sum(card.train_counts)} ({count_summary(card.train_counts)})")
    test = "none" if card.test_counts is None else f"{sum(card.test_counts)} ({count_summary(card.test_counts)})"
    made.add_row("test images", test)
    made.add_row("size", f"{card.image_size} x {card.image_size} px, {in_words(card.channels)}")
    made.add_row("train mean", ", ".join(f"{v:.4f}" for v in card.statistics.mean))
    made.add_row("train std", ", ".join(f"{v:.4f}" for v in card.statistics.std))
    names = ", ".join(card.class_names[:LISTED]) + (", ..." if card.num_classes > LISTED else "")
    made.add_row("class names", escape(names))
    console.print(made)
    if not card.problems:
        say("No problems found.")
        return
    say(f"{counted(len(card.problems), 'warning')}:")
    for problem in card.problems:
        say(f"  - {problem}", wrap=False)
