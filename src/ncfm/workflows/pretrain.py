"""Train the teachers ahead of time."""

from __future__ import annotations

from pathlib import Path

from ncfm._utils.progress import Reporter, Silent
from ncfm.config.resolve import Settings, resolve_config
from ncfm.data.image_set import ImageSet
from ncfm.training.teachers import TeacherPool
from ncfm.workflows.stages import prepare, train_teachers


def pretrain(
    data: str | ImageSet,
    *,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> TeacherPool:
    """Train the teachers, or load them from the cache. `ncfm.distill` does this itself if needed.

    Args:
        data, recipe, settings, seed, data_dir, reporter: as in `ncfm.distill`. Without ``recipe`` the defaults hold.

    Returns:
        The pool of teachers, also those of the cache.

    Raises:
        NcfmError: for unknown data or settings, or if a training diverges.

    >>> pool = pretrain("digits", settings={"teachers.number": 3})  # doctest: +SKIP
    >>> len(pool), pool.seconds  # doctest: +SKIP
    """
    config = resolve_config(data, None, recipe, settings, seed)
    images, machine = prepare(data, config, data_dir)
    return train_teachers(images, config, machine, reporter or Silent())
