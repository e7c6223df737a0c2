"""The facts and problems of a dataset, before it is distilled."""

from __future__ import annotations

from pathlib import Path

from ncfm.config.build import build_data
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.resolve import Settings
from ncfm.data import summary
from ncfm.data.image_set import ImageSet
from ncfm.synthetic.image_grid import save_image_grid


def describe(
    data: str | ImageSet,
    *,
    settings: Settings | None = None,
    data_dir: str | Path | None = None,
    picture: str | Path | None = None,
) -> summary.DataCard:
    """Describe a dataset: its splits and classes, and problems such as duplicates or unreadable files.

    Args:
        data, settings, data_dir: as in `ncfm.distill`; of the settings only those of ``data`` matter.
        picture: PNG file to which ten images per class are written.

    Raises:
        NcfmError: for unknown or unreadable data.

    >>> card = describe("digits")
    >>> card.num_classes, card.image_size, card.problems
    (10, 8, ())
    """
    images = build_data(data, make_config(nest(settings or {})), data_dir)
    card = summary.describe(images)
    if picture is not None:
        save_image_grid(Path(picture), summary.sample_grid(images), images.class_names)
    return card
