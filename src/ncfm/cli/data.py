"""``ncfm data``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ncfm.cli._common import AsJson, Data, DataDir, Set, console, print_json, settings_of
from ncfm.config.build import build_data
from ncfm.config.schema import make_config, nest
from ncfm.data.summary import count_summary, describe, sample_grid
from ncfm.results.image_grid import save_image_grid

LISTED = 20  # classes named in the terminal


def command(
    data: Data,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="PNG", help="Write ten images of every class to this file.")
    ] = None,
    set_: Set = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what a data set holds, and what is wrong with it.

    Example: `ncfm data digits`, `ncfm data my-photos --set data.image_size=64`
    """
    images = build_data(data, make_config(nest(settings_of(set_))), data_dir)
    card = describe(images)
    if picture is not None:
        save_image_grid(picture, sample_grid(images), images.class_names)
    if as_json:
        print_json(asdict(card) | {"statistics": {"mean": card.statistics.mean, "std": card.statistics.std}})
        return
    table = Table(show_header=False, title=escape(card.name), min_width=60)
    table.add_row("classes", str(card.num_classes))
    table.add_row("training images", f"{sum(card.train_counts)} ({count_summary(card.train_counts)})")
    test = "none" if card.test_counts is None else f"{sum(card.test_counts)} ({count_summary(card.test_counts)})"
    table.add_row("test images", test)
    table.add_row("size", f"{card.image_size} x {card.image_size} px, {'RGB' if card.channels == 3 else 'grey'}")
    table.add_row("mean of train", ", ".join(f"{v:.4f}" for v in card.statistics.mean))
    table.add_row("deviation of train", ", ".join(f"{v:.4f}" for v in card.statistics.std))
    names = ", ".join(card.class_names[:LISTED]) + (", ..." if card.num_classes > LISTED else "")
    table.add_row("named", escape(names))
    console.print(table)
    if card.problems:
        console.print(f"{len(card.problems)} remarks:", highlight=False)
        for problem in card.problems:
            console.print(f"  - {problem}", highlight=False, markup=False, soft_wrap=True)
    else:
        console.print("Nothing conspicuous.")
    if picture is not None:
        console.print(f"Picture: {picture}", highlight=False, markup=False, soft_wrap=True)
