"""DD-Ranking's scores of a distilled set."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from ncfm._utils.progress import Reporter, Silent
from ncfm.config.build import build_protocol, build_targets
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.resolve import Settings
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.evaluation import EvaluationResult, Protocol
from ncfm.evaluation.scores import augmentation_robust_interval, label_robust_interval
from ncfm.evaluation.statistics import Estimate
from ncfm.results.checking import check_results
from ncfm.results.files import append_rows
from ncfm.results.rows import ScoreRow
from ncfm.synthetic.counts import Ipc
from ncfm.synthetic.soft_labels import SoftTargets, StudentTargets
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool
from ncfm.workflows.checks import check_selections, check_students
from ncfm.workflows.evaluating import evaluate_images
from ncfm.workflows.loaded_set import FULL_EPOCHS, LoadedSet, join_runs


@dataclass(frozen=True)
class ScoreResult:
    """DD-Ranking's scores of a set, and the evaluations that they are computed from. Accuracies are fractions.

    Reference:
        Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025.
    """

    full_hard: EvaluationResult  # on the full training split, hard labels
    synthetic_hard: EvaluationResult  # on the set, hard labels
    synthetic: EvaluationResult  # on the set with its own labels
    random: EvaluationResult  # on random real images at the same storage, with the same recipe and kind of labels
    synthetic_plain: EvaluationResult  # on the set, without augmentation
    random_plain: EvaluationResult  # on the random images, without augmentation
    storage: int  # real images per class that take as much space as the set, soft labels included

    @property
    def evaluations(self) -> dict[str, EvaluationResult]:
        """The evaluations by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "storage"}

    @property
    def hard_label_recovery(self) -> float:
        """HLR: accuracy on the full dataset minus that on the set, both with hard labels."""
        return self.full_hard.accuracy_mean - self.synthetic_hard.accuracy_mean

    @property
    def improvement_over_random(self) -> float:
        """IOR: accuracy on the set minus that on random images."""
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
    changed_data: bool = False,
    results: str | Path | None = None,
    reporter: Reporter | None = None,
) -> ScoreResult:
    """DD-Ranking's scores: how much of the full dataset a set recovers, beyond the effect of labels and augmentation.

    Every student on random images has its own selection, so that the interval includes the variation of selections. If
    the set has soft labels, the random images are labelled by the same teachers, and the storage of the labels counts
    as further random images. If students ask the teachers, those on random images do, too.

    Args:
        synthetic, on, settings, seed, data_dir, changed_data, reporter: as in `ncfm.evaluate`.
        full_epochs: epochs of a network on the full training split, by the recipe of the teachers.
        full_runs: networks on the full training split; default: as many as students.
        results: CSV file to which a row is appended.

    Raises:
        NcfmError: if the set does not fit the data.

    >>> found = score("runs/digits-ipc1", settings={"evaluate.runs": 5})  # doctest: +SKIP
    >>> found.label_robust_score.value, found.augmentation_robust_score.value  # doctest: +SKIP
    """
    check_results(results, ScoreRow)
    loaded = LoadedSet.open(synthetic, on, settings, seed, data_dir, changed_data)
    check_students(loaded.images, loaded.config)
    check_selections(loaded.images, ["random"], _with_labels(loaded.synthetic), loaded.config.distill.factor)
    reporter = reporter or Silent()
    hard = make_config(loaded.config.model_dump(), nest({"evaluate.labels": "hard"}))
    plain = make_config(loaded.config.model_dump(), nest({"evaluate.augment": "none"}))
    storage = max(round(loaded.synthetic.storage), 1)
    per_class = _with_labels(loaded.synthetic)
    pool = loaded.teachers(loaded.asks_teachers or loaded.targets() is not None, reporter)
    found = {
        "synthetic_hard": _on_set(loaded, pool, hard, "students, hard labels", reporter),
        "synthetic": _on_set(loaded, pool, loaded.config, "students", reporter),
        "synthetic_plain": _on_set(loaded, pool, plain, "students, no augmentation", reporter, cutmix=False),
        "random": _on_random_images(loaded, pool, loaded.config, per_class, "random images", reporter),
        "random_plain": _on_random_images(
            loaded, pool, plain, per_class, "random images, no augmentation", reporter, cutmix=False
        ),
    }
    full = loaded.full_protocol(full_epochs, full_runs or build_protocol(loaded.config).num_runs)
    found["full_hard"] = evaluate_images(
        loaded.full_split, loaded.images, hard, loaded.machine, "full dataset", reporter, protocol=full
    )
    result = ScoreResult(**found, storage=storage)
    if results is not None:
        append_rows(Path(results), [_row(loaded, result)])
    return result


def _protocol(config: RunConfig, soft: StudentTargets | None, cutmix: bool) -> Protocol:
    """The protocol of a configuration, with or without its CutMix, which is an augmentation, too."""
    found = build_protocol(config, soft)
    return found if cutmix else replace(found, recipe=replace(found.recipe, cutmix_probability=0.0))


def _on_set(
    loaded: LoadedSet,
    pool: TeacherPool | None,
    config: RunConfig,
    stage: str,
    reporter: Reporter,
    *,
    cutmix: bool = True,
) -> EvaluationResult:
    """Students of the set."""
    soft = build_targets(config, loaded.synthetic.soft_labels, pool)
    return evaluate_images(
        loaded.synthetic.decoded(),
        loaded.images,
        config,
        loaded.machine,
        stage,
        reporter,
        soft=soft,
        protocol=_protocol(config, soft, cutmix),
    )


def _with_labels(synthetic: SyntheticSet) -> Ipc:
    """Real images per class, or of each class, that take as much space as the set with its soft labels."""
    if synthetic.counts is None:
        return max(round(synthetic.storage), 1)
    labels = round(synthetic.storage - synthetic.mean_ipc)
    return tuple(count + labels for count in synthetic.counts)


def _on_random_images(
    loaded: LoadedSet,
    pool: TeacherPool | None,
    config: RunConfig,
    ipc: Ipc,
    stage: str,
    reporter: Reporter,
    *,
    cutmix: bool = True,
) -> EvaluationResult:
    """Students of random real images, a new selection for each, labelled as the set is."""
    runs = build_protocol(config).num_runs
    results = []
    reporter.begin(stage, runs, unit="student")
    for run in range(runs):
        chosen, soft = loaded.selection("random", ipc, pool, run), loaded.targets(pool)
        if isinstance(soft, SoftTargets) and pool is not None:
            soft = soft._replace(log_probabilities=pool.log_probabilities(chosen.images))
        protocol = replace(_protocol(config, soft, cutmix), num_runs=1)
        results.append(loaded.train_student(chosen, protocol, config, run, soft=soft))
        reporter.update(run + 1)
    reporter.end()
    return join_runs(results)


def _row(loaded: LoadedSet, found: ScoreResult) -> ScoreRow:
    """The results row of the scores."""
    lrs, ars = found.label_robust_score, found.augmentation_robust_score
    trained = {id(student): student.seconds for e in found.evaluations.values() for student in e.students}
    return ScoreRow(
        network=found.synthetic.network,
        protocol=found.synthetic.protocol,
        hard_label_recovery=found.hard_label_recovery,
        improvement_over_random=found.improvement_over_random,
        label_robust_score=lrs.value,
        label_robust_low=lrs.low,
        label_robust_high=lrs.high,
        augmentation_robust_score=ars.value,
        augmentation_robust_low=ars.low,
        augmentation_robust_high=ars.high,
        full_accuracy=found.full_hard.accuracy_mean,
        full_protocol=found.full_hard.protocol,
        num_runs=len(found.synthetic.students),
        seconds=sum(trained.values()),
        **loaded.row_facts(),
    )
