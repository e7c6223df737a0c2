"""The trainings of a pool's teachers: what each starts from and draws, and its place in the cache, by content."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn

from ncfm._utils.cache import CacheEntry
from ncfm._utils.files import content_hash
from ncfm._utils.seeding import derive_seed, generator
from ncfm.data.image_set import ImageSet
from ncfm.networks.registry import is_own
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.epoch_states import EpochStates
from ncfm.training.recipe import TrainingRecipe, recipe_text
from ncfm.training.teachers import Teacher, network_for

# Raised when a change of the training code makes cached teachers differ from freshly trained ones.
CACHE_VERSION = 1


@dataclass(frozen=True)
class Trainings:
    """The trainings of a pool's teachers: what each starts from, what it draws, and where it is cached."""

    images: ImageSet
    network: str
    recipe: TrainingRecipe
    seed: int
    precision: torch.dtype
    cache: Path | None
    record: bool = False

    def fresh(self, index: int) -> nn.Module:
        """The network that teacher number ``index`` starts as."""
        return network_for(self.images, self.network, seed=derive_seed(self.seed, "teachers", index))

    def stream(self, index: int) -> Generator:
        """The random draws of its training."""
        return generator(self.seed, "teachers", index, "training")

    def entry(self, index: int) -> CacheEntry:
        """Its place in the cache."""
        seed = derive_seed(self.seed, "teachers", index)
        return CacheEntry(
            "teachers", teacher_key(self.images, self.network, self.recipe, seed, self.precision), self.cache
        )

    def states(self, index: int) -> EpochStates:
        """Its weights after every epoch, if they are recorded."""
        epochs = self.recipe.epochs if self.record else 0
        return EpochStates(self.entry(index).key, epochs, self.cache, is_cached=is_own(self.network))

    def cached(self, index: int, module: nn.Module) -> Teacher | None:
        """The teacher in the cache, of the architecture of ``module``, with all recorded states; None without one."""
        if not is_own(self.network):
            return None
        teacher = self.entry(index).read(partial(_parse, names=module.state_dict().keys()))
        between = self.states(index).find(module)
        return None if teacher is None or between is None else replace(teacher, between=tuple(between))

    def checkpoint(self, indices: Sequence[int]) -> TrainingCheckpoint | None:
        """The checkpoint of the training of some teachers; None for networks whose code may change."""
        if not is_own(self.network):
            return None
        entries = [self.entry(index) for index in indices]
        if len(entries) > 1:
            entries = [CacheEntry("teachers", content_hash("side by side", *(e.key for e in entries)), self.cache)]
        return TrainingCheckpoint(entries[0].checkpoint_path)

    def finish(self, index: int, teacher: Teacher) -> Teacher:
        """Write a trained teacher to the cache."""
        _write(self.entry(index), teacher, asdict(self.recipe) | {"network": self.network, "data": self.images.name})
        return teacher

    @property
    def common(self) -> dict[str, Any]:
        """What `fit` and `fit_side_by_side` take of all teachers."""
        return {
            "images": self.images.train.images,
            "labels": self.images.train.labels,
            "recipe": self.recipe,
            "statistics": self.images.statistics,
            "precision": self.precision,
        }


def teacher_key(images: ImageSet, network: str, recipe: TrainingRecipe, seed: int, precision: torch.dtype) -> str:
    """Content hash of everything that determines a teacher, except the machine."""
    return content_hash(
        f"teacher {CACHE_VERSION}", images.fingerprint, network, recipe_text(recipe), str(seed), str(precision)
    )


def _parse(entry: CacheEntry, names: Collection[str]) -> Teacher | None:
    """A cached teacher with the weights ``names``; None if the entry has others."""
    tensors, seconds = entry.tensors(), float(entry.facts()["seconds"])
    initial = {k.removeprefix("initial."): v for k, v in tensors.items() if k.startswith("initial.")}
    trained = {k.removeprefix("trained."): v for k, v in tensors.items() if k.startswith("trained.")}
    return Teacher(initial, trained, seconds) if initial.keys() == trained.keys() == set(names) else None


def _write(entry: CacheEntry, teacher: Teacher, facts: dict[str, Any]) -> None:
    tensors = {f"initial.{k}": v for k, v in teacher.initial.items()}
    tensors |= {f"trained.{k}": v for k, v in teacher.trained.items()}
    entry.write(tensors, facts | {"seconds": round(teacher.seconds, 3)})
