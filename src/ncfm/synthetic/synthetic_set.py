"""The synthetic set: stored images with all that is needed to use them, and how they are started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, TensorDataset

from ncfm._utils.checks import NcfmError, NcfmFailure, check_at_least, check_factor, check_finite
from ncfm._utils.files import content_hash, read_json, read_tensors, write_json, write_tensors
from ncfm._utils.locks import taking_turns
from ncfm._utils.types import LabelledImages, Statistics, Whitening
from ncfm._utils.version import __version__
from ncfm.data.image_set import normalize, to_float, to_uint8
from ncfm.synthetic.formation import Formation, Mode, decode, decoded_ipc
from ncfm.synthetic.soft_labels import SoftLabels

FORMAT = "ncfm-synthetic-set"
FORMAT_VERSION = 2  # the highest that is read; written is the lowest that will do: 1 with floats, 2 with 8 bits
BITS = (32, 8)  # of a stored pixel: float32, or one of 256 levels
IMAGES_FILE, FACTS_FILE = "images.safetensors", "set.json"
WHITENING_FILE = "whitening.safetensors"  # only of a set made with ZCA
LABELS_FILE = "labels.safetensors"  # only of a set with soft labels
SET_FOLDER, SCORES_FILE = "synthetic", "scores.json"  # in a run folder


@dataclass(frozen=True)
class SyntheticSet:
    """A few images per class that stand for a whole data set.

    Classes take turns in order: images[c, i] is the i-th stored image of class c.
    """

    images: Tensor  # (C, ipc, c, h, w) float32 in [0, 1], as stored
    class_names: tuple[str, ...]  # (C,) in the order of the class indices
    statistics: Statistics  # normalisation: of the real training split
    factor: int = 1  # tiles a side of a stored image
    mode: str = "single"  # formation mode
    bound: int = 128  # images a class at most, for mode "bounded"
    facts: dict[str, Any] = field(default_factory=dict)  # where it comes from: data, method, configuration, seed
    soft_labels: SoftLabels | None = None  # of the decoded images, in the order of `decoded`
    scores: tuple[dict[str, Any], ...] = ()  # evaluations of these images, as `scores.json` has them

    def __post_init__(self) -> None:
        if self.images.ndim != 5 or self.images.shape[0] != len(self.class_names):
            raise NcfmError(
                f"Expected images of shape (C, ipc, c, h, w) with C = {len(self.class_names)} class names, "
                f"got {tuple(self.images.shape)}."
            )
        decoded_ipc(self.ipc, self.factor, self.mode, self.bound)
        for tiles in {self.factor, *(range(1, self.factor) if self.mode != "single" else ())}:
            check_factor(self.images.shape[-1], tiles)
        soft = self.soft_labels
        if soft is not None and (len(soft), soft.num_classes) != (
            self.num_classes * self.decoded_ipc,
            self.num_classes,
        ):
            raise NcfmError(
                f"Expected soft labels of {self.num_classes * self.decoded_ipc} decoded images and {self.num_classes} "
                f"classes, got {len(soft)} of {soft.num_classes}."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return self.images.shape[0]

    @property
    def formation(self) -> Formation:
        """How many training images a stored image holds."""
        return Formation(self.factor, cast("Mode", self.mode), self.bound)

    @property
    def ipc(self) -> int:
        """Stored images per class."""
        return self.images.shape[1]

    @property
    def decoded_ipc(self) -> int:
        """Training images per class after decoding."""
        return decoded_ipc(self.ipc, self.factor, self.mode, self.bound)

    def decoded(self) -> LabelledImages:
        """The images to train on: (C * m, c, h, w) in [0, 1], class by class, with labels (C * m,)."""
        images = decode(self.images, self.factor, self.mode, self.bound)
        labels = torch.arange(self.num_classes, device=images.device).repeat_interleave(images.shape[1])
        return LabelledImages(images.flatten(0, 1), labels)

    def dataset(self, *, normalized: bool = True, soft: bool = True) -> TensorDataset:
        """The decoded images as a torch data set, class by class.

        Its items are (image, label), or (image, label, probabilities) if the set has soft labels;
        ``torch.nn.functional.cross_entropy`` takes either kind of target.

        Args:
            normalized: images as the package's networks are shown them: less the mean of each channel, divided by its
                deviation, whitened if the set was made so; otherwise pixels in [0, 1].
            soft: whether soft labels come along.
        """
        images, labels = self.decoded()
        tensors = [normalize(images, self.statistics) if normalized else images, labels]
        if soft and self.soft_labels is not None:
            tensors.append(self.soft_labels.log_probabilities().exp())
        return TensorDataset(*(tensor.detach() for tensor in tensors))

    def loader(
        self,
        batch_size: int,
        *,
        normalized: bool = True,
        soft: bool = True,
        shuffle: bool = True,
        generator: Generator | None = None,
        **options: Any,
    ) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of `dataset` to train on: images (b, c, h, w), labels (b,), and probabilities (b, C) if it has some.

        Args:
            batch_size: images of a batch, at least 1; the last batch of an epoch has what is left.
            normalized, soft: as in `dataset`.
            shuffle: a new order every epoch.
            generator: draws the orders; default PyTorch's own.
            options: of ``torch.utils.data.DataLoader``, such as ``num_workers``.

        Raises:
            NcfmError: if batch_size is below 1.
        """
        check_at_least(batch_size, 1, "batch_size")
        data = self.dataset(normalized=normalized, soft=soft)
        return DataLoader(data, batch_size, shuffle=shuffle, generator=generator, **options)

    @property
    def storage(self) -> float:
        """Stored images per class, soft labels counted as the images that would take as many bytes."""
        if self.soft_labels is None:
            return float(self.ipc)
        price = self.soft_labels.image_equivalents(self.images.shape[2], self.images.shape[-1])
        return self.ipc + price / self.num_classes

    def with_images(self, images: Tensor) -> SyntheticSet:
        """The same set with other images of the same shape; what teachers said of the old ones, and their scores, are
        left out."""
        return replace(self, images=images, soft_labels=None, scores=())

    def save(self, folder: str | Path, *, bits: int = 32) -> Path:
        """Write the set to a folder: pixels as safetensors, everything else as JSON. Returns the folder.

        With 8 bits every pixel becomes the nearest of the levels 0, 1/255, ..., 1: a quarter of the bytes, an error of
        at most 1/510, and exact from the second time on. Soft labels and scores stay those of the images before.

        Args:
            folder: where to; files of a set there are replaced.
            bits: of a pixel, 32 (float32, exact) or 8.

        Raises:
            NcfmError: if pixels are not finite, or the folder cannot be written.
        """
        folder, whitening = Path(folder), self.statistics.whitening
        check_finite(self.images, "The synthetic images")
        images = self.images.detach().cpu()
        if check_bits(bits, BITS) == 8:
            images = to_uint8(images)
        facts: dict[str, Any] = {
            "format": FORMAT,
            "version": 2 if bits == 8 else 1,
            "versions": {"ncfm": __version__, "torch": torch.__version__},  # that wrote it
            "class_names": list(self.class_names),
            "ipc": self.ipc,
            "factor": self.factor,
            "mode": self.mode,
            "bound": self.bound,
            "decoded_ipc": self.decoded_ipc,
            "statistics": {"mean": self.statistics.mean, "std": self.statistics.std, "zca": whitening is not None},
            "bits": bits,
            "images_hash": content_hash(images),
            "facts": self.facts,
        }
        if self.scores:
            facts["scores"] = list(self.scores)
        if whitening is not None:
            write_tensors(folder / WHITENING_FILE, {"mean": whitening.mean, "matrix": whitening.matrix})
        labels = self.soft_labels
        if labels is not None:
            tensors = {"values": labels.values} | ({} if labels.classes is None else {"classes": labels.classes})
            write_tensors(folder / LABELS_FILE, tensors)
            facts["soft_labels"] = {
                "hash": _hash(tensors),
                "bytes": labels.num_bytes,
                "image_equivalents": labels.image_equivalents(self.images.shape[2], self.images.shape[-1]),
            }
        write_tensors(folder / IMAGES_FILE, {"images": images, "labels": self._stored_labels()})
        write_json(folder / FACTS_FILE, facts)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> SyntheticSet:
        """Read a set from its folder, or from the run folder that holds it as ``synthetic/``.

        A set in a run folder has the scores of the run beside those that it brings along.

        Raises:
            NcfmError: if the folder is missing, foreign or damaged.
        """
        folder = Path(folder).expanduser()
        if not (folder / FACTS_FILE).is_file() and (folder / SET_FOLDER / FACTS_FILE).is_file():
            folder = folder / SET_FOLDER
        if not (folder / FACTS_FILE).is_file():
            state = "exists but holds none" if folder.is_dir() else "does not exist"
            raise NcfmError(
                f"Expected a synthetic set (a folder with {FACTS_FILE} and {IMAGES_FILE}), "
                f"but {folder} {state}. `ncfm distill ... --out {folder}` makes one."
            )
        facts = read_json(folder / FACTS_FILE)
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise NcfmError(f"{folder / FACTS_FILE} was not written by ncfm (expected format {FORMAT!r}).")
        try:
            return cls._from_facts(folder, facts)
        except (KeyError, TypeError, AttributeError) as error:
            raise NcfmFailure(f"{folder / FACTS_FILE} is damaged: {type(error).__name__} {error}.") from error

    @classmethod
    def _from_facts(cls, folder: Path, facts: dict[str, Any]) -> SyntheticSet:
        if facts["version"] > FORMAT_VERSION:
            raise NcfmError(
                f"{folder} has format version {facts['version']}, this ncfm reads up to {FORMAT_VERSION}; upgrade ncfm."
            )
        stored = read_tensors(folder / IMAGES_FILE)
        images = stored.get("images")
        if images is None or content_hash(images) != facts["images_hash"]:
            raise NcfmFailure(f"{folder / IMAGES_FILE} does not fit {FACTS_FILE} (another hash): damaged or mixed up.")
        statistics = Statistics(tuple(facts["statistics"]["mean"]), tuple(facts["statistics"]["std"]))
        if facts["statistics"].get("zca"):
            statistics = statistics._replace(whitening=Whitening(**read_tensors(folder / WHITENING_FILE)))
        class_names, soft = tuple(facts["class_names"]), None
        if "soft_labels" in facts:
            said = read_tensors(folder / LABELS_FILE)
            if _hash(said) != facts["soft_labels"]["hash"]:
                raise NcfmFailure(
                    f"{folder / LABELS_FILE} does not fit {FACTS_FILE} (another hash): damaged or mixed up."
                )
            soft = SoftLabels(said["values"], said.get("classes"), len(class_names))
        found = cls(
            to_float(images) if images.dtype == torch.uint8 else images,
            class_names,
            statistics,
            facts["factor"],
            facts["mode"],
            facts["bound"],
            facts["facts"],
            soft,
            tuple(facts.get("scores", ())),
        )
        labels = stored.get("labels")  # sets of earlier versions have none: they follow from the shape
        if labels is not None and not torch.equal(labels, found._stored_labels()):
            raise NcfmFailure(f"{folder / IMAGES_FILE} has labels out of order: damaged or mixed up.")
        return replace(found, scores=(*found.scores, *_scores_of_run(folder, found.scores)))

    def _stored_labels(self) -> Tensor:
        """The class of every stored image, (C * ipc,), for programs that read the tensors alone."""
        return torch.arange(self.num_classes).repeat_interleave(self.ipc)


def load(path: str | Path) -> SyntheticSet:
    """A synthetic set from its folder or from a run folder.

    Raises:
        NcfmError: if there is none, or it is damaged.
    """
    return SyntheticSet.load(path)


def check_bits(bits: int, possible: Sequence[int]) -> int:
    """Return ``bits``, of a stored pixel, if it is one of the possible numbers.

    Raises:
        NcfmError: naming those.
    """
    if bits not in possible:
        raise NcfmError(f"bits of a pixel must be {' or '.join(map(str, possible))}, got {bits}.")
    return bits


def read_scores(path: Path) -> list[dict[str, Any]]:
    """The evaluations that a run folder remembers; none if there is no such file.

    Raises:
        NcfmError: if the file is not a list of evaluations.
    """
    if not path.is_file():
        return []
    entries = read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise NcfmFailure(f"{path} is not a list of evaluations; remove it to judge again.")
    return entries


def add_scores(path: Path, new: Sequence[Mapping[str, Any]]) -> None:
    """Add evaluations to those that a run folder remembers, but those that it has, however long they took.

    Raises:
        NcfmError: as `read_scores`; NcfmFailure if the file cannot be written.
    """

    def said(entry: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in entry.items() if key != "seconds"}

    with taking_turns(path):
        known = read_scores(path)
        added = [dict(entry) for entry in new if said(entry) not in map(said, known)]
        write_json(path, known + added)


def _scores_of_run(folder: Path, known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores in the run folder around a set that the set does not bring along, without their large tables."""
    if folder.name != SET_FOLDER:
        return []
    entries = [
        {key: value for key, value in entry.items() if key != "confusion"}  # C * C numbers
        for entry in read_scores(folder.parent / SCORES_FILE)
    ]
    return [entry for entry in entries if entry not in known]


def _hash(tensors: Mapping[str, Tensor]) -> str:
    return content_hash(*(part for name in sorted(tensors) for part in (name, tensors[name])))
