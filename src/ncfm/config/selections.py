"""Selections: sets of real images that nothing is learned for, which distilled sets are compared with."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from ncfm._utils.seeding import generator
from ncfm._utils.types import LabelledImages
from ncfm.baselines import BY_FEATURES, BY_TEACHERS, select
from ncfm.config.pools import TEACHERS, PoolSource
from ncfm.config.schema import RunConfig
from ncfm.config.teacher_pools import DETERMINING
from ncfm.data.image_set import ImageSet
from ncfm.evaluation import Protocol as EvaluationProtocol
from ncfm.evaluation import equal_steps
from ncfm.synthetic.counts import Ipc, as_counts
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool


class Selected(NamedTuple):
    """What a selection gives."""

    train: LabelledImages  # what students learn from
    storage: float  # stored images per class
    synthetic: SyntheticSet | None  # as a set; None for one that is too large to be a set


class Selection(Protocol):
    """A way to select real images."""

    needs: PoolSource[TeacherPool] | None
    """The networks that it needs; None for none."""

    variant: str
    """What its variant's name begins with; "" for nothing."""

    def sections(self, config: RunConfig) -> tuple[str, ...]:
        """Beginnings of the dotted settings that can change the set, and so belong to the name of a variant."""
        ...

    def select(self, images: ImageSet, pool: TeacherPool | None, config: RunConfig, ipc: Ipc) -> Selected:
        """Select images of the training split."""
        ...

    def protocol(
        self, protocol: EvaluationProtocol, images: ImageSet, config: RunConfig, ipc: Ipc
    ) -> EvaluationProtocol:
        """The protocol of its students, from the usual one."""
        ...


class RealImages:
    """As many images per class as are stored, by a selection of `ncfm.baselines.select`."""

    variant = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.needs: PoolSource[TeacherPool] | None = TEACHERS if name in BY_TEACHERS else None

    def sections(self, config: RunConfig) -> tuple[str, ...]:
        """The formation, what determines the teachers that choose, and all of them if students learn from them."""
        features_of_one = self.name in BY_FEATURES
        chosen_by = [
            f"teachers.{name}" for name in ("pool", *DETERMINING) if not (features_of_one and name == "number")
        ]
        return (*_sections(config), *(chosen_by if self.needs is TEACHERS else []))

    def select(self, images: ImageSet, pool: TeacherPool | None, config: RunConfig, ipc: Ipc) -> Selected:
        """See `ncfm.baselines.select`."""
        rng = generator(config.seed, self.name)
        chosen = select(self.name, images, pool, ipc=ipc, factor=config.distill.factor, generator=rng)
        return Selected(chosen.decoded(), chosen.storage, chosen)

    def protocol(
        self, protocol: EvaluationProtocol, images: ImageSet, config: RunConfig, ipc: Ipc
    ) -> EvaluationProtocol:
        """The usual one."""
        return protocol


class TrainingSplit:
    """The whole training split, with as many optimizer steps as students of a distilled set take."""

    variant = "equal-steps"
    needs: PoolSource[TeacherPool] | None = None

    def sections(self, config: RunConfig) -> tuple[str, ...]:
        """The formation, which determines the steps, and the teachers if students learn from them."""
        return (*_sections(config), "distill.mode", "distill.bound")

    def select(self, images: ImageSet, pool: TeacherPool | None, config: RunConfig, ipc: Ipc) -> Selected:
        """Everything."""
        train = LabelledImages(images.train.images, images.train.labels)
        return Selected(train, float(math.ceil(len(images.train) / images.num_classes)), None)

    def protocol(
        self, protocol: EvaluationProtocol, images: ImageSet, config: RunConfig, ipc: Ipc
    ) -> EvaluationProtocol:
        """See `ncfm.evaluation.students.equal_steps`."""
        decoded = map(Formation.of(config.distill).decoded_ipc, as_counts(ipc, images.num_classes))
        return equal_steps(protocol, len(images.train), sum(decoded))


def _sections(config: RunConfig) -> tuple[str, ...]:
    return ("distill.factor", *(["teachers."] if config.evaluate.labels == "teacher" else []))
