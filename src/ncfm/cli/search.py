"""``ncfm search``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from ncfm._utils.checks import NcfmError
from ncfm.cli._common import (
    AsJson,
    BarReporter,
    DataDir,
    Device,
    Epochs,
    FullEpochs,
    On,
    OwnSet,
    Plot,
    Quiet,
    Results,
    Runs,
    Seed,
    Set,
    console,
    print_json,
    row_facts,
    settings_of,
)
from ncfm.config.build import build_protocol
from ncfm.config.schema import make_config, nest
from ncfm.evaluation.search import SearchResult, convnet_grid
from ncfm.results.files import append_rows
from ncfm.results.plots import plot_search
from ncfm.results.rows import SearchRow
from ncfm.synthetic.storage import load
from ncfm.workflows.loaded_set import FULL_EPOCHS
from ncfm.workflows.search import search


def command(
    path: OwnSet,
    on: On = None,
    depths: Annotated[str, typer.Option("--depths", metavar="A,B", help="Of the ConvNets of the grid.")] = "1,2,3",
    widths: Annotated[str, typer.Option("--widths", metavar="A,B", help="Of the ConvNets.")] = "16,32,64",
    norms: Annotated[str, typer.Option("--norms", metavar="A,B", help="Of the ConvNets.")] = "instance,none",
    networks: Annotated[
        str | None, typer.Option("--networks", metavar="A,B", help="Any networks, in place of the grid.")
    ] = None,
    runs: Runs = None,
    epochs: Epochs = None,
    full_epochs: FullEpochs = FULL_EPOCHS,
    plot: Plot = None,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    results: Results = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Architecture search by proxy: does the set rank networks as the full training split does?

    Example: `ncfm search runs/digits-ipc1 --widths 8,16,32 --full-epochs 10 --plot search.png`

    Every network of the grid is trained on the set (--runs students) and, once, on the full split.
    """
    settings = settings_of(set_, evaluate__runs=runs, evaluate__epochs=epochs, machine__device=device)
    synthetic = load(path)
    if networks:
        grid = [name.strip() for name in networks.split(",")]
    else:
        grid = convnet_grid(
            _numbers(depths, "--depths"),
            _numbers(widths, "--widths"),
            [name.strip() for name in norms.split(",")],
            image_size=synthetic.images.shape[-1],
        )
    with BarReporter(quiet) as reporter:
        found = search(
            synthetic,
            on,
            networks=grid,
            full_epochs=full_epochs,
            settings=settings,
            seed=seed,
            data_dir=data_dir,
            reporter=reporter,
        )
    facts = row_facts(synthetic, on, settings, seed)
    if results is not None:
        protocol = build_protocol(make_config(synthetic.facts.get("config", {}), nest(settings))).name
        judged = {"protocol": protocol, "full_protocol": f"teachers@epochs={full_epochs}"}
        append_rows(results, _rows(found, facts | judged))
    if plot is not None:
        plot_search(found, plot, f"{facts['dataset']}, {synthetic.ipc} image{'s' * (synthetic.ipc > 1)} per class")
    rho, tau = found.correlation
    chosen = found.networks[found.chosen]
    if as_json:
        correlations = {"spearman": rho._asdict(), "kendall": tau._asdict()}
        print_json(asdict(found) | correlations | {"chosen": chosen, "regret": found.regret})
        return
    console.print(_table(found), highlight=False)
    lines = [
        f"Rank correlation: Spearman {rho.value:.2f} (95 % interval {rho.low:.2f} to {rho.high:.2f}), "
        f"Kendall {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f}).",
        f"Best by the set: {chosen}, {100 * found.regret:.1f} points below the best.",
        f"Training took {found.proxy_seconds:.0f} s on the set, {found.full_seconds:.0f} s on the full split.",
    ]
    console.print("\n".join(lines), highlight=False)


def _rows(found: SearchResult, facts: dict[str, Any]) -> list[SearchRow]:
    rho = found.correlation.spearman
    return [
        SearchRow(
            network=name,
            proxy_accuracy=proxy,
            full_accuracy=full,
            num_networks=len(found.networks),
            spearman=rho.value,
            spearman_low=rho.low,
            spearman_high=rho.high,
            **facts,
        )
        for name, proxy, full in zip(found.networks, found.proxy, found.full, strict=True)
    ]


def _table(found: SearchResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for heading in ("network", "set %", "full %"):
        table.add_column(heading, justify="left" if heading == "network" else "right", no_wrap=True)
    networks = zip(found.networks, found.proxy, found.full, strict=True)
    for name, proxy, full in sorted(networks, key=lambda network: -network[2]):
        table.add_row(name, f"{100 * proxy:.1f}", f"{100 * full:.1f}")
    return table


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise NcfmError(f"{option} takes whole numbers joined by commas, got {text!r}.") from error
