"""A set with its real data, as the downstream tasks need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ncfm._utils.checks import NcfmError
from ncfm._utils.compute import Compute
from ncfm._utils.seeding import derive_seed, generator
from ncfm._utils.types import LabelledImages
from ncfm.baselines import select
from ncfm.config.build import build_targets
from ncfm.config.resolve import Settings, config_of_set, data_of_set
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.evaluation import EvaluationResult, Protocol
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.synthetic.storage import load
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool
from ncfm.workflows.stages import prepare, train_students

FULL_EPOCHS = 20


@dataclass(frozen=True)
class Opened:
    """A set with its real data, as all uses need them."""

    synthetic: SyntheticSet
    images: ImageSet
    config: RunConfig
    machine: Compute

    @classmethod
    def of(
        cls,
        synthetic: SyntheticSet | str | Path,
        on: str | ImageSet | None,
        settings: Settings | None,
        seed: int | None,
        data_dir: str | Path | None,
    ) -> Opened:
        """The set, its data, and its own recipe with the settings over it.

        Raises:
            NcfmError: if the set does not say what it was made from, or does not fit the data.
        """
        if isinstance(synthetic, (str, Path)):
            synthetic = load(synthetic)
        config = config_of_set(synthetic.facts.get("config", {}), settings, seed)
        images, machine = prepare(data_of_set(synthetic.facts, on), config, data_dir)
        if synthetic.class_names != images.class_names:
            raise NcfmError(f"The set and {images.name} have other classes; use the data it was made from.")
        return cls(synthetic, images, config, machine)

    @property
    def asks_teachers(self) -> bool:
        """Whether students learn from teachers who are there while they train."""
        return self.config.evaluate.labels == "teacher"

    def targets(self, pool: TeacherPool | None = None) -> StudentTargets | None:
        """The set's soft labels or the teachers, as the configuration wants them used."""
        return build_targets(self.config, self.synthetic.soft_labels, pool)

    def selection(self, method: str, ipc: int, pool: TeacherPool | None, run: int = 0) -> LabelledImages:
        """A selection of real images at the same storage, another one for each run where it is random."""
        rng = generator(self.config.seed, method, *([run] if run else []))
        return select(method, self.images, pool, ipc=ipc, factor=self.config.distill.factor, generator=rng).decoded()


def _one(
    at: Opened,
    train: LabelledImages,
    protocol: Protocol,
    config: RunConfig,
    run: int,
    *,
    test: ImageSplit | None = None,
    num_classes: int | None = None,
    soft: StudentTargets | None = None,
) -> EvaluationResult:
    """One student of a set of its own."""
    return train_students(
        train,
        at.images.require_test() if test is None else test,
        num_classes=num_classes or at.images.num_classes,
        statistics=at.images.statistics,
        protocol=protocol,
        config=config,
        machine=at.machine,
        seed=derive_seed(config.seed, "uses", run),
        soft=soft,
    )


def _together(results: Sequence[EvaluationResult]) -> EvaluationResult:
    """Students of several evaluations as one."""
    return replace(results[0], students=tuple(student for result in results for student in result.students))
