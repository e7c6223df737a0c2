"""``ncfm search``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import ncfm
from ncfm.cli._options import (
    FullEpochs,
    Output,
    Plot,
    Results,
    Setup,
    Students,
    Subject,
    flatten_options,
    split_names,
    split_numbers,
)
from ncfm.cli._output import check_picture, print_json, say, show, table

if TYPE_CHECKING:
    from rich.table import Table


@flatten_options
def command(
    subject: Subject,
    *,
    depths: Annotated[str, typer.Option("--depths", metavar="A,B", help="ConvNet depths.")] = "1,2,3",
    widths: Annotated[str, typer.Option("--widths", metavar="A,B", help="ConvNet widths.")] = "16,32,64",
    norms: Annotated[str, typer.Option("--norms", metavar="A,B", help="ConvNet norms.")] = "instance,none",
    networks: Annotated[
        str | None, typer.Option("--networks", metavar="A,B", help="Any networks, instead of the grid of ConvNets.")
    ] = None,
    students: Students,
    full_epochs: FullEpochs = 20,
    setup: Setup,
    results: Results = None,
    plot: Plot = None,
    output: Output,
) -> None:
    """Architecture search by proxy: does the set rank networks as the full training split does?

    Example: `ncfm search runs/digits-ipc1 --widths 8,16,32 --full-epochs 10 --plot search.png`

    Every network of the grid is trained on the set (--runs students) and once on the full training split.
    """
    check_picture(plot)
    with output.progress() as reporter:
        found = ncfm.search(
            subject.path,
            subject.on,
            networks=split_names(networks) or _grid(subject, depths, widths, norms),
            full_epochs=full_epochs,
            changed_data=subject.changed_data,
            results=results,
            reporter=reporter,
            **setup.arguments(evaluate__runs=students.runs, evaluate__epochs=students.epochs),
        )
    if plot is not None:
        from ncfm.results.plots import plot_search

        plot_search(found, plot, subject.title)
    if output.as_json:
        print_json(_as_dict(found))
    else:
        _print(found)


def _grid(subject: Subject, depths: str, widths: str, norms: str) -> list[str]:
    """The ConvNets of all depths, widths and norms that fit the images."""
    from ncfm.evaluation.search import convnet_grid

    sizes = split_numbers(depths, "--depths"), split_numbers(widths, "--widths")
    return convnet_grid(*sizes, split_names(norms), image_size=ncfm.load(subject.path).images.shape[-1])


def _as_dict(found: ncfm.SearchResult) -> dict[str, object]:
    rho, tau = found.correlation
    correlations = {"spearman": rho._asdict(), "kendall": tau._asdict()}
    return asdict(found) | correlations | {"chosen": found.networks[found.chosen], "regret": found.regret}


def _print(found: ncfm.SearchResult) -> None:
    rho, tau = found.correlation
    show(_table(found))
    say(
        f"Rank correlation: Spearman {rho.value:.2f} (95 % interval {rho.low:.2f} to {rho.high:.2f}), "
        f"Kendall {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f})."
    )
    say(f"Best on the set: {found.networks[found.chosen]}, {100 * found.regret:.1f} points below the best.")
    say(f"Training took {found.proxy_seconds:.0f} s on the set, {found.full_seconds:.0f} s on the full training split.")


def _table(found: ncfm.SearchResult) -> Table:
    made = table("network", "set %", "full %")
    networks = zip(found.networks, found.proxy, found.full, strict=True)
    for name, proxy, full in sorted(networks, key=lambda network: -network[2]):
        made.add_row(name, f"{100 * proxy:.1f}", f"{100 * full:.1f}")
    return made
