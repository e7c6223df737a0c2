"""What a set is good for: scores beside its accuracy, continual learning, architecture search."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.types import LabelledImages
from ncfm.config.build import build_protocol, build_targets, build_teacher_recipe
from ncfm.config.resolve import Settings
from ncfm.config.schema import RunConfig, make_config, nest
from ncfm.data.image_set import ImageSet
from ncfm.evaluation import EvaluationResult, Protocol
from ncfm.evaluation.scores import augmentation_robust_interval, label_robust_interval
from ncfm.evaluation.statistics import Estimate
from ncfm.synthetic.soft_labels import SoftTargets, StudentTargets
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.loaded_set import FULL_EPOCHS, Opened, _one, _together
from ncfm.workflows.stages import judge, train_teachers

# --- scores -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreResult:
    """DD-Ranking's scores of a set, with what they are made from; accuracies are fractions."""

    full_hard: EvaluationResult  # of the full training split, hard labels
    synthetic_hard: EvaluationResult
    synthetic: EvaluationResult  # with the set's own labels
    random: EvaluationResult  # random real images at the same storage, the same recipe and kind of labels
    synthetic_plain: EvaluationResult  # without augmentation
    random_plain: EvaluationResult
    storage: int  # real images per class that take the space of the set, labels included

    @property
    def evaluations(self) -> dict[str, EvaluationResult]:
        """All of them by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "storage"}

    @property
    def hard_label_recovery(self) -> float:
        """HLR: what is lost against the full set, hard labels."""
        return self.full_hard.accuracy_mean - self.synthetic_hard.accuracy_mean

    @property
    def improvement_over_random(self) -> float:
        """IOR: what is gained over random images."""
        return self.synthetic.accuracy_mean - self.random.accuracy_mean

    @property
    def label_robust_score(self) -> Estimate:
        """LRS with its 95 % interval."""
        own = self.synthetic.accuracies
        return label_robust_interval(
            self.full_hard.accuracies,
            self.synthetic_hard.accuracies,
            self.random.accuracies,
            synthetic=None if own == self.synthetic_hard.accuracies else own,
        )

    @property
    def augmentation_robust_score(self) -> Estimate:
        """ARS with its 95 % interval."""
        return augmentation_robust_interval(
            self.synthetic.accuracies,
            self.random.accuracies,
            self.synthetic_plain.accuracies,
            self.random_plain.accuracies,
        )


def score(
    synthetic: SyntheticSet | str | Path,
    on: str | ImageSet | None = None,
    *,
    full_epochs: int = FULL_EPOCHS,
    full_runs: int | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> ScoreResult:
    """DD-Ranking's scores of a set: how much of the full set it recovers, and how much of it is not mere recipe.

    The random images are drawn anew for every student, so that the interval holds the luck of the choice. Where the set
    has soft labels, the random images get theirs from the same teachers, and as many more images as the labels cost;
    where students ask the teachers, those of random images do too.

    Args:
        synthetic, on, settings, seed, data_dir, reporter: as in `ncfm.evaluate`.
        full_epochs: of a network on the full training split, by the recipe of the teachers.
        full_runs: networks on the full split; default: as many as students.

    Raises:
        NcfmError: if the set does not fit the data.
    """
    at = Opened.of(synthetic, on, settings, seed, data_dir)
    reporter = reporter or Silent()
    hard = make_config(at.config.model_dump(), nest({"evaluate.labels": "hard"}))
    plain = make_config(at.config.model_dump(), nest({"evaluate.augment": "none"}))
    train = at.synthetic.decoded()

    def judged(config: RunConfig, stage: str) -> EvaluationResult:
        soft = build_targets(config, at.synthetic.soft_labels, pool)
        return judge(train, at.images, config, at.machine, stage, reporter, soft=soft, protocol=protocol(config, soft))

    def protocol(config: RunConfig, soft: StudentTargets | None) -> Protocol:
        found = build_protocol(config, soft)
        mixing = 0.0 if config is plain else found.recipe.cutmix_probability
        return replace(found, recipe=replace(found.recipe, cutmix_probability=mixing))

    storage = max(round(at.synthetic.storage), 1)
    needs = at.asks_teachers or at.targets() is not None
    pool = train_teachers(at.images, at.config, at.machine, reporter) if needs else None
    found = {
        "synthetic_hard": judged(hard, "set, hard labels"),
        "synthetic": judged(at.config, "set"),
        "synthetic_plain": judged(plain, "set, no augmentation"),
    }
    for name, config in (("random", at.config), ("random_plain", plain)):
        of_runs = []
        runs = build_protocol(config).num_runs
        reporter.begin(name.replace("_", ", "), runs)
        for run in range(runs):
            chosen, soft = at.selection("random", storage, pool, run), at.targets(pool)
            if isinstance(soft, SoftTargets) and pool is not None:
                soft = soft._replace(log_probabilities=pool.log_probabilities(chosen.images))
            of_runs.append(_one(at, chosen, replace(protocol(config, soft), num_runs=1), config, run, soft=soft))
            reporter.update(run + 1)
        reporter.end()
        found[name] = _together(of_runs)
    recipe = replace(build_teacher_recipe(at.config), epochs=full_epochs)
    count = full_runs or build_protocol(at.config).num_runs
    full = Protocol(f"teachers@epochs={full_epochs}", recipe, num_runs=count, looks=1)
    whole = LabelledImages(at.images.train.images, at.images.train.labels)
    found["full_hard"] = judge(whole, at.images, hard, at.machine, "full set", reporter, protocol=full)
    return ScoreResult(**found, storage=storage)


# --- continual learning -------------------------------------------------------------------------------------


# --- architecture search ------------------------------------------------------------------------------------
