"""The results row of an evaluated set."""

from __future__ import annotations

from pathlib import Path

from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.resolve import Settings
from ncfm.evaluation import EvaluationResult
from ncfm.results.rows import AccuracyRow
from ncfm.synthetic.counts import Ipc
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teacher_accuracy import mean_accuracy
from ncfm.workflows.scored import Scored, accuracy_row

COSTS = ("teacher_seconds", "distill_seconds", "iterations", "distill_memory_mb", "training_images")


def row_of_set(
    synthetic: SyntheticSet | str | Path,
    evaluation: EvaluationResult,
    on: str | None = None,
    *,
    settings: Settings,
    seed: int | None = None,
    variant: str | None = None,
    normalized_by: str | None = None,
    factor: int | None = None,
) -> AccuracyRow:
    """The results row of a set that `ncfm.evaluate` has evaluated.

    Args:
        synthetic: the set, or the place of an external one.
        evaluation: its evaluation.
        on, settings, seed: of the evaluation.
        variant: what differs from the recipe; default: what the set records, or the name of an external one.
        normalized_by, factor: of an external set, as they were given; the variant names them.
    """
    own = synthetic if isinstance(synthetic, SyntheticSet) else None
    facts = {} if own is None else own.facts
    config = make_config(facts.get("config", {}), nest(settings), {} if seed is None else {"seed": seed})
    ipc, storage = _stored(evaluation) if own is None else (own.per_class, own.storage)
    recorded = Path(str(synthetic)).name if own is None else facts.get("variant", "")
    given = {"normalized_by": normalized_by, "factor": factor}
    recorded = ",".join([recorded, *(f"{name}={value}" for name, value in given.items() if value is not None)])
    scored = Scored(
        name="",
        method=facts.get("method", "foreign"),
        variant=recorded if variant is None else variant,
        seed=config.seed,
        evaluation=evaluation,
        storage=storage,
        teacher_accuracy=mean_accuracy(facts.get("teacher_accuracies", ())),
        **{cost: facts.get(cost) for cost in COSTS},
    )
    return accuracy_row(scored, on or facts.get("data", "unknown"), ipc, config)


def _stored(evaluation: EvaluationResult) -> tuple[Ipc, float]:
    """Images per class and storage of an external set."""
    count = evaluation.num_images if evaluation.num_stored is None else evaluation.num_stored
    per_class = count / len(evaluation.per_class)
    return round(per_class), per_class if evaluation.storage is None else evaluation.storage
