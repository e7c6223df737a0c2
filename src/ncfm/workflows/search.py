"""Architecture search with the distilled set as proxy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ncfm._utils.checks import check_at_least
from ncfm._utils.progress import Reporter, Silent
from ncfm.config.build import build_protocol
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.resolve import Settings
from ncfm.data.image_set import ImageSet
from ncfm.evaluation import EvaluationResult
from ncfm.evaluation.search import SearchResult, convnet_grid
from ncfm.results.checking import check_results
from ncfm.results.files import append_rows
from ncfm.results.rows import SearchRow
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.checks import check_students
from ncfm.workflows.evaluating import evaluate_images
from ncfm.workflows.loaded_set import FULL_EPOCHS, LoadedSet

DEPTHS, WIDTHS, NORMS = (1, 2, 3), (16, 32, 64), ("instance", "none")  # of the default grid


def search(
    synthetic: SyntheticSet | str | Path,
    on: str | ImageSet | None = None,
    *,
    networks: Sequence[str] | None = None,
    full_epochs: int = FULL_EPOCHS,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    changed_data: bool = False,
    results: str | Path | None = None,
    reporter: Reporter | None = None,
) -> SearchResult:
    """Rank networks by their accuracy after training on the set, and after training on the full training split.

    Args:
        synthetic, on, settings, seed, data_dir, changed_data, reporter: as in `ncfm.evaluate`; ``evaluate.runs``
            students of each network on the set.
        networks: at least three names; default the ConvNets of `ncfm.evaluation.search.convnet_grid` with depths 1 to
            3, widths 16 to 64, with and without instance norm.
        full_epochs: epochs on the full training split, where each network is trained once by the teachers' recipe.
        results: CSV file to which a row per network is appended.

    Raises:
        NcfmError: for fewer than three networks, or unknown ones.

    >>> found = search("runs/digits-ipc1", networks=["convnet1w8", "convnet2w8", "mlp"])  # doctest: +SKIP
    >>> found.networks[found.chosen], found.regret, found.correlation.spearman.value  # doctest: +SKIP
    """
    if networks is not None:
        check_at_least(len(networks), 3, "number of networks to rank")
    check_results(results, SearchRow)
    loaded = LoadedSet.open(synthetic, on, settings, seed, data_dir, changed_data)
    if networks is None:
        networks = convnet_grid(DEPTHS, WIDTHS, NORMS, image_size=loaded.images.image_size)
    check_students(loaded.images, loaded.config, networks)
    reporter = reporter or Silent()
    pool = loaded.teachers(loaded.asks_teachers, reporter)
    train, targets = loaded.synthetic.decoded(), loaded.targets(pool)
    full = loaded.full_protocol(full_epochs, num_runs=1)
    proxies: list[EvaluationResult] = []
    fulls: list[EvaluationResult] = []
    for network in networks:
        config = make_config(loaded.config.model_dump(), nest({"evaluate.network": network}))
        stage = f"{network} on the set"
        proxies.append(evaluate_images(train, loaded.images, config, loaded.machine, stage, reporter, soft=targets))
        stage = f"{network} on the full dataset"
        fulls.append(
            evaluate_images(loaded.full_split, loaded.images, config, loaded.machine, stage, reporter, protocol=full)
        )
    found = SearchResult(
        tuple(networks),
        proxy=tuple(e.accuracy_mean for e in proxies),
        full=tuple(e.accuracy_mean for e in fulls),
        proxy_seconds=math.fsum(e.seconds for e in proxies),
        full_seconds=math.fsum(e.seconds for e in fulls),
    )
    if results is not None:
        append_rows(Path(results), _rows(loaded, found, full.name))
    return found


def _rows(loaded: LoadedSet, found: SearchResult, full_protocol: str) -> list[SearchRow]:
    """The results rows of all networks."""
    facts, rho = loaded.row_facts(), found.correlation.spearman
    return [
        SearchRow(
            network=name,
            protocol=build_protocol(loaded.config).name,
            proxy_accuracy=proxy,
            full_accuracy=full,
            full_protocol=full_protocol,
            num_networks=len(found.networks),
            spearman=rho.value,
            spearman_low=rho.low,
            spearman_high=rho.high,
            **facts,
        )
        for name, proxy, full in zip(found.networks, found.proxy, found.full, strict=True)
    ]
