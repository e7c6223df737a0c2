"""The set that a run extends: one of ncfm, or an external one."""

from __future__ import annotations

import warnings
from pathlib import Path

from ncfm._utils.checks import InputError
from ncfm.config.schema import DistillConfig
from ncfm.data.image_set import ImageSet
from ncfm.formats.external import as_synthetic
from ncfm.formats.reading import is_set, read_external
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import check_extension
from ncfm.synthetic.storage import load
from ncfm.synthetic.synthetic_set import SyntheticSet


def check_earlier(settings: DistillConfig, real: ImageSet, ipc: int) -> None:
    """Check that the set that the settings name can be extended.

    Raises:
        NcfmError: as `read_earlier` and `check_extension`.
    """
    earlier = read_earlier(settings, real)
    if earlier is not None:
        shape = (ipc, real.channels, real.image_size, real.image_size)
        check_extension(earlier, real.class_names, shape, Formation.of(settings))


def read_earlier(settings: DistillConfig, real: ImageSet) -> SyntheticSet | None:
    """The set that the settings name; None if they name none.

    Of an external set the stored images are taken, without soft labels. Values outside [0, 1] are clamped, since all
    images of ncfm are pixels. What was done is reported by warnings.

    Raises:
        NcfmError: if it cannot be read, or its classes have different numbers of images.
    """
    by, factor = settings.extend_normalized_by, settings.extend_factor
    if settings.extend is not None and not is_set(settings.extend):
        return _external(Path(settings.extend), real, by, factor)
    if by is not None or factor is not None:
        raise InputError("distill.extend_normalized_by and extend_factor are for an external set; leave them out.")
    return None if settings.extend is None else load(settings.extend)


def _external(path: Path, real: ImageSet, normalized_by: str | None, factor: int | None) -> SyntheticSet:
    """An external set as one of ncfm."""
    external = read_external(path, real, normalized_by=normalized_by, factor=factor, labels="hard")
    values = external.images.images
    outside = float(((values < 0) | (values > 1)).double().mean())
    clamped = f"{path}: {100 * outside:.1f} % of the values lie outside [0, 1]; they are clamped for the start."
    for note in (*external.notes, *([clamped] if outside else [])):
        warnings.warn(note, stacklevel=1)  # of this line: shown once, although a run reads the set twice
    return as_synthetic(external, real)
