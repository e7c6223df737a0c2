"""Synthetic sets on disk: a folder of safetensors files and one JSON file. Nothing is pickled.

| file | content |
|---|---|
| ``images.safetensors`` | ``images`` (C, ipc, c, h, w), of unequal classes (N, c, h, w), and ``labels`` (N,), sorted |
| ``set.json`` | everything else, with a content hash of each tensor file, and ``counts`` (C,) of unequal classes |
| ``labels.safetensors`` | the soft labels, if the set has some |
| ``whitening.safetensors`` | the ZCA map, if the set was made with one |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, RunError
from ncfm._utils.files import content_hash, read_json, read_tensors, write_json, write_tensors
from ncfm._utils.types import Statistics, Whitening
from ncfm._utils.version import __version__
from ncfm.data.levels import to_float, to_uint8
from ncfm.data.pixels import check_pixels
from ncfm.synthetic.addresses import check_no_address, local_folder
from ncfm.synthetic.counts import in_use
from ncfm.synthetic.folders import FACTS_FILE, IMAGES_FILE, LABELS_FILE, SET_FOLDER, WHITENING_FILE, is_run, no_set
from ncfm.synthetic.score_file import scores_of_run
from ncfm.synthetic.set_facts import check_facts, check_images
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet

FORMAT = "ncfm-synthetic-set"
# The highest that is read; written is the lowest possible: 1 for floats, 2 for 8 bits, 3 for unequal classes.
FORMAT_VERSION = 3
BITS = (32, 8)  # per stored value: float32, or one of 256 levels


def save(synthetic: SyntheticSet, folder: str | Path, *, bits: int = 32) -> Path:
    """Write a set to a folder.

    With 8 bits every value becomes the nearest of the levels 0, 1/255, ..., 1. The file takes a quarter of the bytes,
    the error is at most 1/510, and saving again changes nothing. Soft labels and scores remain those of the original
    images.

    Args:
        synthetic: the set.
        folder: where to write it; files of a set that is already there are replaced.
        bits: per value, 32 (float32, exact) or 8.

    Returns:
        The folder.

    Raises:
        NcfmError: if values are not finite or outside [0, 1], or the folder cannot be written.
    """
    check_no_address(folder, "upload with ncfm.push_to_hub, or save to a folder")
    folder = Path(folder)
    check_pixels(synthetic.images, "The synthetic images")
    images = (synthetic.images if synthetic.counts is None else synthetic.stored).detach().cpu()
    if check_bits(bits, BITS) == 8:
        images = to_uint8(images)
    facts = _facts(synthetic, images, bits)
    whitening, labels = synthetic.statistics.whitening, synthetic.soft_labels
    if whitening is not None:
        write_tensors(folder / WHITENING_FILE, {"mean": whitening.mean, "matrix": whitening.matrix})
    if labels is not None:
        write_tensors(folder / LABELS_FILE, _tensors(labels))
    write_tensors(folder / IMAGES_FILE, {"images": images, "labels": synthetic.stored_labels})
    write_json(folder / FACTS_FILE, facts)
    return folder


def load(path: str | Path) -> SyntheticSet:
    """Read a set from its folder, from the run folder that holds it as ``synthetic/``, or from an address.

    A set in a run folder gets the scores of the run in addition to those stored with it.

    Args:
        path: a folder; ``hf:owner/name`` for a set that `ncfm.push_to_hub` uploaded; ``gallery:name`` for one of the
            gallery, see `ncfm.synthetic.addresses`.

    Raises:
        NcfmError: if there is no set, its run is not finished, it is damaged, or another program wrote it; if an
            address is unknown or cannot be reached.

    >>> load("gallery:digits-ipc1")
    SyntheticSet(digits: 10 classes x 1 image, 1 x 8 x 8 px; method ncfm)
    """
    folder = local_folder(path)
    if not (folder / FACTS_FILE).is_file() and (folder / SET_FOLDER / FACTS_FILE).is_file():
        folder = folder / SET_FOLDER
    if not (folder / FACTS_FILE).is_file():
        if is_run(folder):
            raise InputError(
                f"The run in {folder} is not finished and has no set yet; go on with it: the same `ncfm distill` "
                "command with --resume."
            )
        raise no_set(folder)
    facts = read_json(folder / FACTS_FILE)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise InputError(f"{folder / FACTS_FILE} was not written by ncfm (expected format {FORMAT!r}).")
    try:
        return _from_facts(folder, facts)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RunError(f"{folder / FACTS_FILE} is damaged: {type(error).__name__} {error}.") from error


def check_bits(bits: int, possible: Sequence[int]) -> int:
    """Return ``bits``, the bits per value, if it is one of the possible numbers.

    Raises:
        NcfmError: naming the possible ones.
    """
    if bits not in possible:
        raise InputError(f"bits of a pixel must be {' or '.join(map(str, possible))}, got {bits}.")
    return bits


def exact_bits(images: Tensor) -> int:
    """The fewest bits per value that store images (..., c, h, w) in [0, 1] without an error: 8 or 32."""
    stored = images.detach().cpu()
    return 8 if torch.equal(to_float(to_uint8(stored)), stored) else 32


def _facts(synthetic: SyntheticSet, images: Tensor, bits: int) -> dict[str, Any]:
    """The content of ``set.json``; ``images`` are the stored ones, with ``bits`` per value."""
    statistics, labels = synthetic.statistics, synthetic.soft_labels
    facts: dict[str, Any] = {
        "format": FORMAT,
        "version": 3 if synthetic.counts is not None else 2 if bits == 8 else 1,
        "versions": {"ncfm": __version__, "torch": torch.__version__},  # of the writer
        "class_names": list(synthetic.class_names),
        "ipc": synthetic.ipc,
        "factor": synthetic.factor,
        "mode": synthetic.mode,
        "bound": synthetic.bound,
        "decoded_ipc": synthetic.decoded_ipc,
        "statistics": {"mean": statistics.mean, "std": statistics.std, "zca": statistics.whitening is not None},
        "bits": bits,
        "images_hash": content_hash(images),
        "facts": synthetic.facts,
    }
    if synthetic.counts is not None:
        facts["counts"] = list(synthetic.counts)
    if synthetic.scores:
        facts["scores"] = list(synthetic.scores)
    if labels is not None:
        facts["soft_labels"] = {
            "hash": _hash(_tensors(labels)),
            "bytes": labels.num_bytes,
            "image_equivalents": labels.image_equivalents(synthetic.images.shape[2], synthetic.images.shape[-1]),
        }
    return facts


def _from_facts(folder: Path, facts: dict[str, Any]) -> SyntheticSet:
    """The set of a folder, given the content of its ``set.json``."""
    check_facts(facts, str(folder / FACTS_FILE))
    if facts["version"] > FORMAT_VERSION:
        raise InputError(
            f"{folder} has format version {facts['version']}, this ncfm reads up to {FORMAT_VERSION}; upgrade ncfm."
        )
    stored = read_tensors(folder / IMAGES_FILE)
    images = stored.get("images")
    if images is None or content_hash(images) != facts["images_hash"]:
        raise RunError(f"{folder / IMAGES_FILE} does not match {FACTS_FILE} (another hash): damaged or mixed up.")
    check_images(images, facts, str(folder / IMAGES_FILE))
    statistics = Statistics(tuple(facts["statistics"]["mean"]), tuple(facts["statistics"]["std"]))
    if facts["statistics"].get("zca"):
        statistics = statistics._replace(whitening=Whitening(**read_tensors(folder / WHITENING_FILE)))
    class_names = tuple(facts["class_names"])
    images = to_float(images) if images.dtype == torch.uint8 else images
    counts = tuple(facts["counts"]) if "counts" in facts else None
    found = SyntheticSet(
        images if counts is None else _padded(images, counts),
        class_names,
        statistics,
        facts["factor"],
        facts["mode"],
        facts["bound"],
        facts["facts"],
        _read_labels(folder, facts["soft_labels"], len(class_names)) if "soft_labels" in facts else None,
        tuple(facts.get("scores", ())),
        counts,
    )
    labels = stored.get("labels")  # sets of earlier versions have none: labels follow from the shape
    if labels is not None and not torch.equal(labels, found.stored_labels):
        raise RunError(f"{folder / IMAGES_FILE} has labels out of order: damaged or mixed up.")
    return replace(found, scores=(*found.scores, *scores_of_run(folder, found.scores)))


def _padded(stored: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Stored images (N, c, h, w) as (C, ipc, c, h, w), black in the places that are not in use."""
    images = stored.new_zeros(len(counts), max(counts), *stored.shape[1:])
    images[in_use(counts, max(counts))] = stored
    return images


def _read_labels(folder: Path, facts: Mapping[str, Any], num_classes: int) -> SoftLabels:
    tensors = read_tensors(folder / LABELS_FILE)
    if _hash(tensors) != facts["hash"]:
        raise RunError(f"{folder / LABELS_FILE} does not match {FACTS_FILE} (another hash): damaged or mixed up.")
    return SoftLabels(tensors["values"], tensors.get("classes"), num_classes)


def _tensors(labels: SoftLabels) -> dict[str, Tensor]:
    return {"values": labels.values} | ({} if labels.classes is None else {"classes": labels.classes})


def _hash(tensors: Mapping[str, Tensor]) -> str:
    return content_hash(*(part for name in sorted(tensors) for part in (name, tensors[name])))
