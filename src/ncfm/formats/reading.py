"""Sets in external formats: image folders, parquet files, and files of arrays."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, check_factor, check_labels
from ncfm._utils.progress import counted
from ncfm._utils.types import LabelledImages
from ncfm.data.image_set import ImageSet
from ncfm.formats.class_names import match_labels, match_names
from ncfm.formats.export_facts import Recorded
from ncfm.formats.external import WHOLE, External
from ncfm.formats.label_arrays import Use, read_labels, soft_labels
from ncfm.formats.normalization import to_pixels
from ncfm.formats.stored import Stored, read_stored
from ncfm.synthetic.addresses import is_address
from ncfm.synthetic.folders import has_set, is_run
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.soft_labels import SoftLabels


def is_set(path: str | Path) -> bool:
    """Whether `ncfm.load` reads this path, or says why not: a set or run of ncfm, an address of one, or no path."""
    if is_address(path):
        return True
    path = Path(path).expanduser()
    return has_set(path) or not path.exists() or is_run(path)


def read_external(
    path: Path, real: ImageSet, *, normalized_by: str | None = None, factor: int | None = None, labels: Use = "auto"
) -> External:
    """Read a set that another program wrote, or an export.

    Folders (one folder per class) and parquet files are read by `read_image_files`, files of arrays by `read_arrays`,
    also from a folder of them. Classes are matched by name or number, see `match_names` and `match_labels`. Images are
    uint8 or floats in [0, 1], channels first or last, flat or (C, ipc, ...), in which case labels may be missing. Many
    published sets are stored normalised: floats outside [0, 1] need the name of their normalisation, see `to_pixels`.
    Images are never resized. Exports of ncfm come back with their class names, soft labels and formation.

    Args:
        path: of the set.
        real: the real data, for classes and image shape.
        normalized_by: how floats were normalised, see `to_pixels`.
        factor: tiles per side, if the images are mosaics of another program, decoded as those of ncfm.
        labels: how soft labels are used, see `read_labels`.

    Returns:
        The images (n, c, h, w) with labels (n,) in the order of the real data's classes, and what was done to them.

    Raises:
        NcfmError: if the file is missing, damaged or of another format, or does not match the data.
    """
    path = path.expanduser()
    stored = read_stored(path, real, normalized_by)
    where = str(path)
    _check_shape(stored, real, where)
    pixels = to_pixels(stored.images, real, normalized_by=normalized_by or stored.recorded.normalized_by, where=where)
    classes, soft, said = _matched(stored, real, where, labels)
    missing, whitened = _missing(classes, real, where), _whitened(stored.recorded, real, where)
    notes = tuple(filter(None, (*stored.notes, pixels.note, *said, missing, whitened)))
    formation = _formation(stored.recorded, factor, real, where)
    found = External(LabelledImages(pixels.images.contiguous(), classes), notes, pixels.shown, formation, soft)
    _check_soft(found, where)
    return found


def _check_shape(stored: Stored, real: ImageSet, where: str) -> None:
    """Check that the images are like the real ones. They are not resized: other pixels would be judged."""
    images, shape = stored.images, (real.channels, real.image_size, real.image_size)
    own = tuple(images.shape[1:])
    if own != shape:
        other_size = len(own) == 3 and own[0] == shape[0] and own[1] == own[2]
        remedy = f" To evaluate at their size, resize the data: --set data.image_size={own[-1]}." if other_size else ""
        raise InputError(
            f"{where}: expected images of shape (n, {', '.join(map(str, shape))}) as {real.name} has, got "
            f"{tuple(images.shape)}.{remedy}"
        )
    if len(images) == 0:
        raise InputError(f"{where}: expected at least one image, got none.")


def _matched(stored: Stored, real: ImageSet, where: str, use: Use) -> tuple[Tensor, SoftLabels | None, tuple[str, ...]]:
    """Labels and soft labels in the order of the real data's classes, with what was chosen."""
    names = stored.recorded.class_names
    count, num_classes = len(stored.images), len(names or real.class_names)
    found = read_labels(stored.labels, count, num_classes, where, use)
    if len(found.classes) != count:
        raise InputError(
            f"{where}: expected a label for each image, got {counted(count, 'image')} with "
            f"{counted(len(found.classes), 'label')}."
        )
    logs, notes = found.log_probabilities, [found.note]
    if stored.soft is not None and use != "hard":
        extra = soft_labels(stored.soft, num_classes, where, use)
        logs, notes = extra.log_probabilities, [*notes, extra.note]
    matched = match_labels(found.classes, real, where) if names is None else match_names(names, real, where)
    check_labels(found.classes, len(matched.at))
    return matched.at[found.classes], _in_order(logs, matched.at, real), (*notes, matched.note)


def _in_order(logs: Tensor | None, at: Tensor, real: ImageSet) -> SoftLabels | None:
    """Soft labels with a column for every class of the real data; probability 0 of those that the set lacks."""
    if logs is None:
        return None
    columns = torch.full((len(logs), real.num_classes), -torch.inf)
    columns[:, at] = logs
    return SoftLabels(columns, None, real.num_classes)


def _formation(recorded: Recorded, factor: int | None, real: ImageSet, where: str) -> Formation:
    """How the images are decoded: as an export records, or as the caller says."""
    if recorded.formation is not None:
        if factor not in (None, recorded.formation.factor):
            raise InputError(f"{where} records factor {recorded.formation.factor}; leave out factor {factor}.")
        recorded.formation.check_image_size(real.image_size)
        return recorded.formation
    if factor is None:
        return WHOLE
    check_factor(real.image_size, factor)
    return Formation(factor)


def _check_soft(found: External, where: str) -> None:
    """Check that there are as many soft labels as training images."""
    if found.soft_labels is None:
        return
    count = len(found.decoded().labels)
    if len(found.soft_labels) != count:
        got = len(found.soft_labels)
        raise InputError(
            f"{where}: expected soft labels of its {counted(count, 'training image')}, got "
            f"{counted(got, 'soft label')}."
        )


def _missing(classes: Tensor, real: ImageSet, where: str) -> str:
    """A note on classes without images; empty if there are none."""
    present = set(classes.tolist())
    missing = [name for i, name in enumerate(real.class_names) if i not in present]
    if not missing:
        return ""
    named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return f"{where}: {len(missing)} of {counted(real.num_classes, 'class')} have no images: {named}."


def _whitened(recorded: Recorded, real: ImageSet, where: str) -> str:
    """A note if networks were shown whitened images, and are not now."""
    if not recorded.whitened or real.whitened:
        return ""
    return f"{where}: the set was distilled for ZCA-whitened images; evaluate it with --set data.zca=true."
