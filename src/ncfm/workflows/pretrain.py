"""Train the pool of teachers."""

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
    """Train the pool of teachers (or find it in the cache); distilling does this by itself when needed.

    Raises:
        NcfmError: for unknown data or settings, or a training that diverges.
    """
    config = resolve_config(data, None, recipe, settings, seed)
    images, machine = prepare(data, config, data_dir)
    return train_teachers(images, config, machine, reporter or Silent())
