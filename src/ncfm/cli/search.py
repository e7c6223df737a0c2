"""``ncfm search``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from ncfm import api, uses
from ncfm._checks import NcfmError
from ncfm.build import build_protocol
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
from ncfm.config import make_config, nest
from ncfm.evaluation.search import convnet_grid
from ncfm.report.plots import plot_search
from ncfm.report.results import SearchRow, append_rows


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
    full_epochs: FullEpochs = uses.FULL_EPOCHS,
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
    synthetic = api.load(path)
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
        found = uses.search(
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
    rho, tau = found.correlation
    protocol = build_protocol(make_config(synthetic.facts.get("config", {}), nest(settings))).name
    rows = [
        SearchRow(
            network=name,
            protocol=protocol,
            proxy_accuracy=proxy,
            full_accuracy=full,
            full_protocol=f"teachers@epochs={full_epochs}",
            num_networks=len(grid),
            spearman=rho.value,
            spearman_low=rho.low,
            spearman_high=rho.high,
            **facts,
        )
        for name, proxy, full in zip(found.networks, found.proxy, found.full, strict=True)
    ]
    if results is not None:
        append_rows(results, rows)
    if plot is not None:
        plot_search(found, plot, f"{facts['dataset']}, {synthetic.ipc} image{'s' * (synthetic.ipc > 1)} per class")
    if as_json:
        print_json(
            {
                "networks": found.networks,
                "proxy": found.proxy,
                "full": found.full,
                "spearman": rho._asdict(),
                "kendall": tau._asdict(),
                "chosen": found.networks[found.chosen],
                "regret": found.regret,
                "proxy_seconds": found.proxy_seconds,
                "full_seconds": found.full_seconds,
            }
        )
        return
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for heading in ("network", "set %", "full %"):
        table.add_column(heading, justify="left" if heading == "network" else "right", no_wrap=True)
    for row in sorted(rows, key=lambda row: -row.full_accuracy):
        table.add_row(row.network, f"{100 * row.proxy_accuracy:.1f}", f"{100 * row.full_accuracy:.1f}")
    console.print(table, highlight=False)
    lines = [
        f"Rank correlation: Spearman {rho.value:.2f} (95 % interval {rho.low:.2f} to {rho.high:.2f}), "
        f"Kendall {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f}).",
        f"Best by the set: {found.networks[found.chosen]}, {100 * found.regret:.1f} points below the best.",
        f"Training took {found.proxy_seconds:.0f} s on the set, {found.full_seconds:.0f} s on the full split.",
    ]
    console.print("\n".join(lines), highlight=False)


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise NcfmError(f"{option} takes whole numbers joined by commas, got {text!r}.") from error
