"""The pools of networks that methods need: what they are called, and how they are obtained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ncfm._utils.compute import Compute
from ncfm._utils.files import cache_dir
from ncfm._utils.seeding import derive_seed
from ncfm.config.build import build_teacher_recipe, build_teachers, teachers_seed
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.training.epoch_states import EpochStates
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teacher_accuracy import teacher_accuracies
from ncfm.training.teacher_trainings import teacher_key
from ncfm.training.teachers import TeacherPool, untrained_pool

OnEpoch = Callable[[int, int], None]
"""Called with (network, finished epochs of it)."""

P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)


class PoolSource(Protocol[P_co]):
    """Where a method's networks come from."""

    name: str
    """Of the stage that trains them, such as "teachers"."""

    is_trained: bool
    """Whether obtaining them takes training; if not, `count` is 0."""

    def key(self, config: RunConfig) -> str:
        """Equal for configurations whose networks are the same."""
        ...

    def count(self, config: RunConfig) -> int:
        """How many networks are trained."""
        ...

    def recipe(self, config: RunConfig) -> TrainingRecipe:
        """How each of them is trained."""
        ...

    def num_missing(self, images: ImageSet, config: RunConfig, machine: Compute) -> int:
        """How many of them are not in the cache yet."""
        ...

    def obtain(self, images: ImageSet, config: RunConfig, machine: Compute, on_epoch: OnEpoch | None = None) -> P_co:
        """The networks, from the cache where possible, else trained."""
        ...

    def measure(self, networks: Any, images: ImageSet) -> None:
        """Measure the accuracies of trained networks on the test split, where they are asked for."""
        ...

    def untrained(self, images: ImageSet, config: RunConfig, machine: Compute) -> P_co:
        """Networks of random weights: an iteration costs the same with them."""
        ...


class Teachers:
    """Trained teachers: networks at the start and at the end of their training."""

    name = "teachers"
    is_trained = True

    def key(self, config: RunConfig) -> str:
        """See `PoolSource`."""
        return repr(config.teachers.model_copy(update={"seed": teachers_seed(config)}))

    def count(self, config: RunConfig) -> int:
        """See `PoolSource`."""
        return config.teachers.number

    def recipe(self, config: RunConfig) -> TrainingRecipe:
        """See `PoolSource`."""
        return build_teacher_recipe(config)

    def num_missing(self, images: ImageSet, config: RunConfig, machine: Compute) -> int:
        """See `PoolSource`."""
        if config.teachers.pool is not None:
            return 0
        recipe, seed, folder = self.recipe(config), teachers_seed(config), cache_dir() / "teachers"
        keys = (
            teacher_key(images, config.teachers.network, recipe, derive_seed(seed, "teachers", i), machine.precision)
            for i in range(self.count(config))
        )
        epochs = recipe.epochs if config.teachers.extractor == "checkpoint" else 0
        return sum(
            not (folder / f"{key}.safetensors").exists() or not EpochStates(key, epochs).are_there for key in keys
        )

    def obtain(
        self, images: ImageSet, config: RunConfig, machine: Compute, on_epoch: OnEpoch | None = None
    ) -> TeacherPool:
        """See `PoolSource`."""
        return build_teachers(images, config, machine, on_epoch)

    def measure(self, networks: Any, images: ImageSet) -> None:
        """See `PoolSource`."""
        networks.accuracies = teacher_accuracies(networks, images)

    def untrained(self, images: ImageSet, config: RunConfig, machine: Compute) -> TeacherPool:
        """See `PoolSource`."""
        return untrained_pool(
            images,
            config.teachers.network,
            epochs=config.teachers.epochs,
            device=machine.device,
            compile_networks=machine.compile_networks,
        )


class FreshNetworks:
    """No teachers: every iteration draws a network of random weights."""

    name = "fresh networks"
    is_trained = False

    def key(self, config: RunConfig) -> str:
        """See `PoolSource`."""
        return config.teachers.network

    def count(self, config: RunConfig) -> int:
        """See `PoolSource`."""
        return 0

    def recipe(self, config: RunConfig) -> TrainingRecipe:
        """See `PoolSource`."""
        return build_teacher_recipe(config)

    def num_missing(self, images: ImageSet, config: RunConfig, machine: Compute) -> int:
        """See `PoolSource`."""
        return 0

    def obtain(
        self, images: ImageSet, config: RunConfig, machine: Compute, on_epoch: OnEpoch | None = None
    ) -> TeacherPool:
        """See `PoolSource`."""
        return TEACHERS.untrained(images, config, machine)

    def measure(self, networks: Any, images: ImageSet) -> None:
        """See `PoolSource`: there is nothing to measure."""

    def untrained(self, images: ImageSet, config: RunConfig, machine: Compute) -> TeacherPool:
        """See `PoolSource`."""
        return TEACHERS.untrained(images, config, machine)


TEACHERS = Teachers()
FRESH_NETWORKS = FreshNetworks()
