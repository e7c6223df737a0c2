"""A distilled set with its real data, as the downstream tasks need it: scores, continual learning, search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm._utils.progress import Reporter
from ncfm._utils.seeding import derive_seed, generator
from ncfm._utils.types import LabelledImages
from ncfm.baselines import select
from ncfm.config.build import build_targets, build_teacher_recipe
from ncfm.config.resolve import Settings, config_of_set, data_of_set, judged_on
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.evaluation import EvaluationResult, Protocol
from ncfm.results.files import Conditions
from ncfm.synthetic.counts import Ipc, mean_of
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.synthetic.storage import load
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool
from ncfm.workflows.changed_data import check_data_of_set
from ncfm.workflows.evaluating import train_students
from ncfm.workflows.preparation import prepare, train_teachers_of_set

FULL_EPOCHS = 20  # of a network on the full training split


@dataclass(frozen=True)
class LoadedSet:
    """A distilled set, its real data, its recipe with the user's settings over it, and the machine to compute on."""

    synthetic: SyntheticSet
    data: str  # name of the real data, as the user or the set gives it
    images: ImageSet
    config: RunConfig
    machine: Compute

    @classmethod
    def open(
        cls,
        synthetic: SyntheticSet | str | Path,
        on: str | ImageSet | None,
        settings: Settings | None,
        seed: int | None,
        data_dir: str | Path | None,
        changed_data: bool = False,
    ) -> LoadedSet:
        """Load a set and its data.

        Args:
            synthetic, on, settings, seed, data_dir, changed_data: as in `ncfm.evaluate`.

        Raises:
            NcfmError: if the set does not record its source dataset, does not fit the data, or if these have changed.
        """
        if isinstance(synthetic, (str, Path)):
            synthetic = load(synthetic)
        config = config_of_set(synthetic.facts.get("config", {}), settings, seed)
        data = data_of_set(synthetic.facts, on)
        images, machine = prepare(data, config, data_dir)
        if synthetic.class_names != images.class_names:
            raise InputError(
                f"The set and {images.name} have different classes; use the data that the set was distilled from."
            )
        check_data_of_set(synthetic.facts, on, images, config, data_dir, changed_data=changed_data)
        return cls(synthetic, data if isinstance(data, str) else data.name, images, config, machine)

    @property
    def asks_teachers(self) -> bool:
        """Whether students learn from teachers, who label every batch during training."""
        return self.config.evaluate.labels == "teacher"

    @property
    def full_split(self) -> LabelledImages:
        """The full training split."""
        return LabelledImages(self.images.train.images, self.images.train.labels)

    def full_protocol(self, epochs: int, num_runs: int) -> Protocol:
        """How networks are trained on the full training split: by the recipe of the teachers."""
        recipe = replace(build_teacher_recipe(self.config), epochs=epochs)
        return Protocol(f"teachers@epochs={epochs}", recipe, num_runs=num_runs, looks=1)

    def teachers(self, needed: bool, reporter: Reporter) -> TeacherPool | None:
        """The teachers that the set was made with; None if they are not needed."""
        if not needed:
            return None
        return train_teachers_of_set(self.synthetic.facts, self.images, self.config, self.machine, reporter)

    def targets(self, pool: TeacherPool | None = None) -> StudentTargets | None:
        """The set's soft labels or the teachers, as the configuration uses them; None for hard labels."""
        return build_targets(self.config, self.synthetic.soft_labels, pool)

    def selection(self, method: str, ipc: Ipc, pool: TeacherPool | None, run: int = 0) -> LabelledImages:
        """Real images that a method selects, as many per class; a random method selects others in every run."""
        rng = generator(self.config.seed, method, *([run] if run else []))
        return select(method, self.images, pool, ipc=ipc, factor=self.config.distill.factor, generator=rng).decoded()

    def train_student(
        self,
        train: LabelledImages,
        protocol: Protocol,
        config: RunConfig,
        run: int,
        *,
        test: ImageSplit | None = None,
        num_classes: int | None = None,
        soft: StudentTargets | None = None,
    ) -> EvaluationResult:
        """Train and test the student of one run, where every run has its own training images.

        Args:
            train: the training images, in [0, 1].
            protocol: of one run.
            config: the set's configuration, or one with other students.
            run: number of the run; gives the student's seed.
            test: default: the test split of the data.
            num_classes: default: those of the data.
            soft: soft labels of the training images, or teachers.
        """
        return train_students(
            train,
            self.images.require_test() if test is None else test,
            num_classes=num_classes or self.images.num_classes,
            statistics=self.images.statistics,
            protocol=protocol,
            config=config,
            machine=self.machine,
            seed=derive_seed(config.seed, "uses", run),  # the name is part of the seed: another one, other results
            soft=soft,
        )

    def row_facts(self) -> dict[str, Any]:
        """The columns that every results row of a set has: the set, and the conditions of the measurement."""
        conditions = asdict(Conditions.here(self.machine.device))
        del conditions["peak_memory_mb"]
        return conditions | {
            "dataset": judged_on(self.data, self.config),
            "ipc": mean_of(self.synthetic.per_class),
            "method": self.synthetic.facts.get("method", "unknown"),
            "variant": self.synthetic.facts.get("variant", ""),
            "seed": self.config.seed,
        }


def join_runs(results: Sequence[EvaluationResult]) -> EvaluationResult:
    """The evaluations of several runs as one."""
    return replace(results[0], students=tuple(student for result in results for student in result.students))
