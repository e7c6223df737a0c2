"""Before a run: the real set, where to compute, and the networks that the objective needs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm._utils.distributed import Ranks
from ncfm._utils.progress import Reporter
from ncfm.config.build import build_data, build_machine, check_soft_labels
from ncfm.config.loops import loop_of
from ncfm.config.pools import TEACHERS, P, PoolSource
from ncfm.config.schema import RunConfig
from ncfm.data.fitting import LARGEST_SIDE
from ncfm.data.image_set import ImageSet
from ncfm.results.files import code_version
from ncfm.training.teachers import TeacherPool


def prepare(data: str | ImageSet, config: RunConfig, data_dir: str | Path | None) -> tuple[ImageSet, Compute]:
    """The real set, and where to compute."""
    code_version()  # cached now: the version of the code as loaded, even if its files change during the run
    # One rank after the other: what the first one decodes, the others find in the cache.
    images: ImageSet = Ranks.here().main_process_first(lambda: build_data(data, config, data_dir))
    _check(images, config)
    if images.problems:
        more = f", and {len(images.problems) - 3} more (ncfm data lists all)" if len(images.problems) > 3 else ""
        warnings.warn(f"{images.name}: {'; '.join(images.problems[:3])}{more}", stacklevel=2)
    networks = (config.teachers.network, config.evaluate.network)
    return images, build_machine(config.machine, images.image_size, networks)


def _check(images: ImageSet, config: RunConfig) -> None:
    """Check what the data decide, before anything is trained."""
    check_soft_labels(config, images.num_classes)
    if images.image_size > LARGEST_SIDE:
        raise InputError(
            f"{images.name}: expected images of at most {LARGEST_SIDE} px, got {images.image_size}: a single one takes "
            "gigabytes in a network. Choose a size, such as --set data.image_size=128."
        )


def obtain(source: PoolSource[P], images: ImageSet, config: RunConfig, machine: Compute, reporter: Reporter) -> P:
    """The networks of a source, trained or from the cache, with their progress."""
    if not source.is_trained:
        return source.obtain(images, config, machine)
    epochs = source.recipe(config).epochs
    count = source.count(config)

    def report(index: int, epoch: int) -> None:
        note = f"{source.name.removesuffix('s')} {index + 1} of {count}" if count > 1 else ""
        reporter.update(index * epochs + epoch, note)

    reporter.begin(source.name, epochs * count, unit="epoch")
    networks = source.obtain(images, config, machine, on_epoch=report)
    source.measure(networks, images)
    reporter.end()
    return networks


def train_teachers(images: ImageSet, config: RunConfig, machine: Compute, reporter: Reporter) -> TeacherPool:
    """The pool of teachers, trained or from the cache."""
    return obtain(TEACHERS, images, config, machine, reporter)


def train_teachers_of_set(
    facts: Mapping[str, Any], images: ImageSet, config: RunConfig, machine: Compute, reporter: Reporter
) -> TeacherPool:
    """The teachers that a set was made with, whatever the seed of its students; ``facts`` are those of the set."""
    of_set = config.model_copy(update={"seed": facts.get("config", {}).get("seed", config.seed)})
    return train_teachers(images, of_set, machine, reporter)


def train_pool(images: ImageSet, config: RunConfig, machine: Compute, reporter: Reporter) -> Any:
    """The networks that the objective needs, after its settings were checked."""
    loop = loop_of(config)
    loop.check(images, config, machine)
    return obtain(loop.needs(config), images, config, machine, reporter)
