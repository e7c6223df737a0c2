"""Architecture search with the set as proxy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ncfm._utils.checks import check_at_least
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.types import LabelledImages
from ncfm.config.build import build_teacher_recipe
from ncfm.config.resolve import Settings
from ncfm.config.schema import make_config, nest
from ncfm.data.image_set import ImageSet
from ncfm.evaluation import EvaluationResult, Protocol
from ncfm.evaluation.search import SearchResult
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.loaded_set import FULL_EPOCHS, Opened
from ncfm.workflows.stages import judge, train_teachers


def search(
    synthetic: SyntheticSet | str | Path,
    on: str | ImageSet | None = None,
    *,
    networks: Sequence[str],
    full_epochs: int = FULL_EPOCHS,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> SearchResult:
    """Rank networks by their accuracy after training on the set, and after training on the full split.

    Args:
        synthetic, on, settings, seed, data_dir, reporter: as in `ncfm.evaluate`; ``evaluate.runs`` students of each
            network on the set.
        networks: at least three names, see `ncfm.evaluation.search.convnet_grid`.
        full_epochs: of the one network of each name on the full training split, by the recipe of the teachers.

    Raises:
        NcfmError: for fewer than three networks, or unknown ones.
    """
    check_at_least(len(networks), 3, "number of networks to rank")
    at = Opened.of(synthetic, on, settings, seed, data_dir)
    reporter = reporter or Silent()
    pool = train_teachers(at.images, at.config, at.machine, reporter) if at.asks_teachers else None
    train, targets = at.synthetic.decoded(), at.targets(pool)
    whole = LabelledImages(at.images.train.images, at.images.train.labels)
    recipe = replace(build_teacher_recipe(at.config), epochs=full_epochs)
    full = Protocol(f"teachers@epochs={full_epochs}", recipe, num_runs=1, looks=1)
    proxies: list[EvaluationResult] = []
    fulls: list[EvaluationResult] = []
    for network in networks:
        config = make_config(at.config.model_dump(), nest({"evaluate.network": network}))
        proxies.append(judge(train, at.images, config, at.machine, network, reporter, soft=targets))
        stage = f"{network}, full set"
        fulls.append(judge(whole, at.images, config, at.machine, stage, reporter, protocol=full))
    return SearchResult(
        tuple(networks),
        proxy=tuple(e.accuracy_mean for e in proxies),
        full=tuple(e.accuracy_mean for e in fulls),
        proxy_seconds=math.fsum(e.seconds for e in proxies),
        full_seconds=math.fsum(e.seconds for e in fulls),
    )
