"""Pools of teachers in folders that others can use: weights in 16 bits, and what the teachers were trained on.

A folder has ``teachers.json`` (facts) and ``teachers.safetensors`` (weights at the start and at the end of every
training). Reading gives the bits that were written. Nothing is pickled.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, RunError
from ncfm._utils.compute import Compute
from ncfm._utils.files import content_hash, read_json, read_tensors, write_json, write_tensors
from ncfm._utils.types import Statistics
from ncfm.data.image_set import ImageSet
from ncfm.training.epoch_states import Weights
from ncfm.training.teachers import Teacher, TeacherPool, network_for

FACTS_FILE = "teachers.json"
WEIGHTS_FILE = "teachers.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class PoolFacts:
    """What a folder of teachers records."""

    data: str
    fingerprint: str  # of the training split, see `ImageSet.fingerprint`
    class_names: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]  # of the training split, per channel: how the teachers' inputs were normalised
    std: tuple[float, ...]
    whitened: bool
    training: Mapping[str, Any]  # the settings of section teachers that determine them: network, number, epochs, ...
    seconds: float  # of all trainings
    accuracies: tuple[float, ...]  # of every teacher, as stored, on the test split in [0, 1]; empty without one
    provenance: Mapping[str, Any]  # command, code, versions, device
    weights: str = ""  # content hash of the weights; written by `write_teachers`

    @property
    def network(self) -> str:
        """Name of the architecture."""
        return str(self.training["network"])

    @property
    def number(self) -> int:
        """Teachers in the folder."""
        return int(self.training["number"])


# --- writing ------------------------------------------------------------------------------------------------


def in_16_bits(pool: TeacherPool) -> list[Teacher]:
    """The teachers of a pool with weights rounded to float16; tensors with values beyond its range stay as they are.

    The relative error of a weight is at most 2^-11 (below 6e-5 the absolute one at most 3e-8).
    """
    pairs = [pool.weights(index) for index in range(len(pool))]
    seconds = pool.seconds / len(pool)
    return [Teacher(_rounded(initial), _rounded(trained), seconds) for initial, trained in pairs]


def _rounded(weights: Weights) -> Weights:
    def smaller(value: Tensor) -> Tensor:
        fits = value.is_floating_point() and bool(torch.isfinite(value.half()).all())
        return value.half().cpu() if fits else value.cpu().clone()

    return {name: smaller(value) for name, value in weights.items()}


def write_teachers(folder: Path, teachers: Sequence[Teacher], facts: PoolFacts) -> None:
    """Write teachers and facts; the facts come last, so that a folder that has them is complete."""
    tensors = {
        f"{index}.{when}.{name}": value
        for index, teacher in enumerate(teachers)
        for when, weights in (("initial", teacher.initial), ("trained", teacher.trained))
        for name, value in weights.items()
    }
    write_tensors(folder / WEIGHTS_FILE, tensors)
    write_json(folder / FACTS_FILE, {"format": FORMAT} | vars(facts) | {"weights": _hash(tensors)})


def _hash(tensors: Mapping[str, Tensor]) -> str:
    """Content hash of named tensors; with a leading axis, since counters have none."""
    names = sorted(tensors)
    return content_hash(*names, *(tensors[name][None] for name in names))


# --- reading ------------------------------------------------------------------------------------------------


def read_facts(folder: Path) -> PoolFacts:
    """What the folder records.

    Raises:
        NcfmError: if it is not a folder of teachers, is damaged, or was written by a later version.
    """
    if not (folder / FACTS_FILE).is_file():
        raise InputError(
            f"{folder} has no {FACTS_FILE}; expected a folder of teachers, as `ncfm pretrain DATA --out` writes it."
        )
    stored = read_json(folder / FACTS_FILE)
    damaged = f"Could not read {folder / FACTS_FILE} as the facts of a pool of teachers"
    if not isinstance(stored, dict):
        raise RunError(f"{damaged}: expected a JSON object.")
    if stored.get("format") != FORMAT:
        raise InputError(f"{folder} has format {stored.get('format')!r}; this version of ncfm reads {FORMAT}.")
    try:
        values = {key: _as_tuple(stored[key]) for key in PoolFacts.__dataclass_fields__}
        facts = PoolFacts(**values)
        if facts.number < 1 or not facts.network:
            raise ValueError("no teachers")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{damaged}: {error}.") from error
    return facts


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def read_pool(folder: Path, images: ImageSet, *, network: str, compute: Compute) -> TeacherPool:
    """The pool of a folder, for a real set.

    The teachers keep the normalisation that they were trained with. Training images other than theirs are reported as
    a warning.

    Args:
        folder: as `write_teachers` wrote it.
        images: the real set.
        network: name of their architecture, see `create_network`; code that only the folder names is never imported.
        compute: device of the pool, compilation.

    Raises:
        NcfmError: if the folder is damaged, or the teachers do not fit the images: another size, channels, classes or
            whitening; if they were trained on whitened images, whose map is not stored, and other ones; or if images
            that they were trained on are held out now (``data.validation``).
    """
    facts = read_facts(folder)
    _check_fit(folder, facts, images, network)
    expected = network_for(images, network, seed=0).state_dict()
    teachers = _read_teachers(folder, facts, expected)
    own = images.statistics
    pool = TeacherPool(
        teachers,
        lambda seed: network_for(images, network, seed=seed),
        statistics=Statistics(facts.mean, facts.std, own.whitening),
        device=compute.device,
        compile_networks=compute.compile_networks,
        shown=own,
    )
    pool.accuracies = facts.accuracies
    return pool


def _check_fit(folder: Path, facts: PoolFacts, images: ImageSet, network: str) -> None:
    pairs = (
        ("network", facts.network, network),
        ("image size in px", facts.image_size, images.image_size),
        ("channels", facts.channels, images.channels),
        ("classes", facts.class_names, images.class_names),
        ("whitening", facts.whitened, images.whitened),
    )
    for name, theirs, wanted in pairs:
        if theirs != wanted:
            raise InputError(
                f"The teachers of {folder} do not fit {images.name}: {name} {_short(theirs)}, here {_short(wanted)}; "
                "choose another pool, or train teachers (teachers.pool=none)."
            )
    if facts.fingerprint == images.fingerprint:
        return
    if images.name.endswith("@validation"):
        raise InputError(
            f"The teachers of {folder} may have been trained on images that data.validation holds out; train a pool "
            "with the same data.validation, or set teachers.pool=none."
        )
    if images.whitened:
        raise InputError(
            f"The teachers of {folder} were trained on ZCA-whitened images of {facts.data} (fingerprint "
            f"{facts.fingerprint[:8]}), and the map of {images.name} ({images.fingerprint[:8]}) is another one; use "
            "the same training images, or set teachers.pool=none."
        )
    warnings.warn(
        f"The teachers of {folder} were trained on {facts.data} (fingerprint {facts.fingerprint[:8]}), and not on the "
        f"training images of {images.name} ({images.fingerprint[:8]}).",
        stacklevel=3,
    )


def _short(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    shown = ", ".join(map(str, value[:3]))
    return f"{len(value)} ({shown}{', ...' if len(value) > 3 else ''})"


def _read_teachers(folder: Path, facts: PoolFacts, expected: Weights) -> list[Teacher]:
    """The teachers in the precision of the network; ``expected`` has the names, shapes and types of its weights."""
    tensors = read_tensors(folder / WEIGHTS_FILE)
    if _hash(tensors) != facts.weights:
        raise RunError(f"{folder / WEIGHTS_FILE} is not the file that {FACTS_FILE} describes; copy the folder again.")

    def weights(index: int, when: str) -> Weights:
        prefix = f"{index}.{when}."
        found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        _check_weights(folder, found, expected)
        return {name: found[name].to(like.dtype) for name, like in expected.items()}

    seconds = facts.seconds / facts.number
    return [Teacher(weights(i, "initial"), weights(i, "trained"), seconds) for i in range(facts.number)]


def _check_weights(folder: Path, found: Weights, expected: Weights) -> None:
    differing = _missing(found, expected) or [name for name in expected if found[name].shape != expected[name].shape]
    if differing:
        raise RunError(
            f"{folder / WEIGHTS_FILE} does not have the weights of its network: {', '.join(sorted(differing)[:3])}."
        )


def _missing(found: Collection[str], expected: Collection[str]) -> list[str]:
    return [name for name in {*found, *expected} if name not in found or name not in expected]
