"""Evaluate a set: fresh students on the real test split."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.types import LabelledImages
from ncfm.config.build import build_targets
from ncfm.config.resolve import Settings, config_of_set, data_of_set
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.data.pixels import check_pixels
from ncfm.evaluation import EvaluationResult
from ncfm.formats.external import External
from ncfm.formats.label_arrays import Use
from ncfm.formats.labelled import labelled_images
from ncfm.formats.normalization import to_pixels
from ncfm.formats.reading import is_set, read_external
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.storage import load
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.changed_data import check_data_of_set
from ncfm.workflows.checks import check_students
from ncfm.workflows.evaluating import evaluate_images
from ncfm.workflows.preparation import prepare, train_teachers_of_set


def evaluate(
    synthetic: SyntheticSet | LabelledImages | tuple[Any, Any] | str | Path,
    on: str | ImageSet | None = None,
    *,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    normalized_by: str | None = None,
    factor: int | None = None,
    changed_data: bool = False,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> EvaluationResult:
    """Evaluate a set: train new students on it and test them on the real test split.

    Students of the same images, recipe, network and seed are cached. With ``evaluate.labels=teacher`` the teachers of
    the set's recipe label every batch; they are trained first, or found in the cache.

    Args:
        synthetic: a set, its folder, plain images and labels (see `ncfm.formats.labelled.labelled_images`), or a file
            or folder that another program wrote (see `ncfm.formats.reading.read_external`).
        on: the real data; default: those that the set was made from. Required for external formats.
        settings: such as ``{"evaluate.runs": 10, "evaluate.network": "convnet3"}``; the set's own recipe otherwise.
        seed, data_dir, reporter: as in `distill`.
        normalized_by: how the floats of an external set or of plain images were normalised: a name such as "cifar10",
            "zca", "none", or "MEAN,STD"; see `ncfm.formats.normalization.to_pixels`. Floats outside [0, 1] need it.
            What was chosen or done is reported by warnings.
        factor: tiles per side of a stored image, if an external set consists of mosaics; every tile is a training
            image, as in a set of ncfm. Exports of ncfm record it.
        changed_data: go on if the training images are not those that the set was made from. Data of another name than
            the set's, given by ``on``, need no such consent.
        fresh: train all students, also cached ones.

    Raises:
        NcfmError: if the set is damaged or does not fit the data, or if the data have changed since it was made.
    """
    if isinstance(synthetic, (str, Path)) and (on is None or is_set(synthetic)):
        synthetic = load(synthetic)
    facts = synthetic.facts if isinstance(synthetic, SyntheticSet) else {}
    data = data_of_set(facts, on)
    stored = facts.get("config", {})
    own = {key: stored[key] for key in ("data", "teachers", "evaluate", "seed") if key in stored}
    config = config_of_set(own, settings, seed)
    images, machine = prepare(data, config, data_dir)
    reporter = reporter or Silent()
    if isinstance(synthetic, SyntheticSet):
        check_pixels(synthetic.images, "The synthetic images")
        _check_own(synthetic, images, normalized_by, factor)
        chosen: SyntheticSet | External = synthetic
    else:
        chosen, images = _external(synthetic, images, config, normalized_by, factor)
    check_data_of_set(facts, on, images, config, data_dir, changed_data=changed_data)
    check_students(images, config)
    asked = config.evaluate.labels == "teacher"
    pool = train_teachers_of_set(facts, images, config, machine, reporter) if asked else None
    soft = build_targets(config, chosen.soft_labels, pool)
    result = evaluate_images(chosen.decoded(), images, config, machine, "students", reporter, soft=soft, fresh=fresh)
    if isinstance(chosen, SyntheticSet):
        return result
    return replace(result, num_stored=len(chosen.images.images), storage=chosen.storage(images.num_classes))


def _check_own(synthetic: SyntheticSet, images: ImageSet, normalized_by: str | None, factor: int | None) -> None:
    """Check that a set of ncfm fits the data, and that nothing is said of it that it records itself.

    Raises:
        InputError: otherwise.
    """
    if normalized_by is not None:
        raise InputError("A set of ncfm has pixels; leave out normalized_by.")
    if factor is not None:
        raise InputError(f"A set of ncfm records its factor ({synthetic.factor}); leave out factor.")
    if synthetic.class_names != images.class_names:
        raise InputError(
            f"The set has classes {', '.join(synthetic.class_names[:5])}, ..., the data "
            f"{', '.join(images.class_names[:5])}, ...; evaluate it on the data that it was made from."
        )


def _external(
    source: tuple[Any, Any] | str | Path,
    images: ImageSet,
    config: RunConfig,
    normalized_by: str | None,
    factor: int | None,
) -> tuple[External, ImageSet]:
    """An external set, and the real data with the statistics by which networks are shown both."""
    labels = config.evaluate.labels
    if isinstance(source, (str, Path)):
        use: Use = "hard" if labels == "teacher" else labels
        found = read_external(Path(source), images, normalized_by=normalized_by, factor=factor, labels=use)
    else:
        plain, notes = labelled_images(source, images, normalized_by=normalized_by)
        pixels = to_pixels(plain.images, images, normalized_by=normalized_by, where="The images")
        notes += (pixels.note,) if pixels.note else ()
        formation = Formation(1 if factor is None else factor)
        found = External(LabelledImages(pixels.images, plain.labels), notes, pixels.shown, formation)
    if found.shown is not None and labels == "teacher":
        raise InputError("evaluate.labels=teacher needs images as the teachers know them; use hard labels with zca.")
    for note in found.notes:
        warnings.warn(note, stacklevel=3)
    return found, images if found.shown is None else images.with_statistics(found.shown)
