"""The synthetic set: stored images with everything that is needed to train on them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from PIL.Image import Image
from torch import Generator, Tensor
from torch.utils.data import DataLoader, TensorDataset

from ncfm._utils.checks import InputError, check_at_least, check_factor
from ncfm._utils.progress import counted
from ncfm._utils.tensors import check_dense
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.data.normalization import normalize
from ncfm.synthetic.counts import Ipc, as_counts, in_use
from ncfm.synthetic.display import as_html, show_picture, summary
from ncfm.synthetic.formation import Formation, Mode, decode, decoded_ipc
from ncfm.synthetic.image_grid import image_grid
from ncfm.synthetic.soft_labels import SoftLabels


@dataclass(frozen=True, repr=False)
class SyntheticSet:
    """A distilled dataset: a few images per class that replace a whole dataset in training.

    ``images[c, i]`` is the i-th stored image of class c. Where classes have unequal numbers of images, ipc is the
    largest, and the places beyond a class's own number are black and not in use.
    """

    images: Tensor  # (C, ipc, c, h, w) float32 in [0, 1], as stored
    class_names: tuple[str, ...]  # (C,) in the order of the class indices
    statistics: Statistics  # of the real training split, for normalisation
    factor: int = 1  # tiles per side of a stored image
    mode: str = "single"  # formation mode
    bound: int = 128  # maximum of images per class, for mode "bounded"
    facts: dict[str, Any] = field(default_factory=dict)  # provenance: data, method, configuration, seed
    soft_labels: SoftLabels | None = None  # of the decoded images, in the order of `decoded`
    scores: tuple[dict[str, Any], ...] = ()  # evaluations of these images, in the form of `scores.json`
    counts: tuple[int, ...] | None = None  # (C,) stored images of each class; None: ipc of every class

    def __post_init__(self) -> None:
        check_dense(self.images, "The synthetic images")
        if self.images.ndim != 5 or self.images.shape[0] != len(self.class_names):
            raise InputError(
                f"Expected images of shape (C, ipc, c, h, w) with C = {len(self.class_names)} class names, "
                f"got {tuple(self.images.shape)}."
            )
        check_factor(self.images.shape[-1], self.factor)
        self._check_counts()
        decoded_ipc(self.ipc, self.factor, self.mode, self.bound)
        for tiles in {self.factor, *(range(1, self.factor) if self.mode != "single" else ())}:
            check_factor(self.images.shape[-1], tiles)
        soft = self.soft_labels
        if soft is not None and (len(soft), soft.num_classes) != (self.num_decoded, self.num_classes):
            raise InputError(
                f"Expected soft labels of {counted(self.num_decoded, 'decoded image')} and "
                f"{counted(self.num_classes, 'class')}, got "
                f"{len(soft)} of {soft.num_classes}."
            )

    def _check_counts(self) -> None:
        """Replace equal counts by None, so that one set has one form.

        Raises:
            NcfmError: for counts of other classes, or another largest one than there are places.
        """
        counts = self.counts
        if counts is None:
            return
        if len(counts) != self.num_classes or max(counts) != self.ipc or min(counts) < 1:
            raise InputError(
                f"Expected a number of images for each of {counted(self.num_classes, 'class')}, 1 to {self.ipc}, got "
                f"{counts}."
            )
        self.formation.decoded_in_use(in_use(counts, self.ipc))  # whether the mode allows unequal classes
        object.__setattr__(self, "counts", None if min(counts) == self.ipc else tuple(counts))

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
        """Stored images per class, the largest number if they are unequal."""
        return self.images.shape[1]

    @property
    def per_class(self) -> Ipc:
        """Stored images per class, or of each class if they are unequal."""
        return self.ipc if self.counts is None else self.counts

    @property
    def stored_counts(self) -> tuple[int, ...]:
        """Stored images of each class (C,)."""
        return as_counts(self.per_class, self.num_classes)

    @property
    def mean_ipc(self) -> float:
        """Mean of the stored images per class."""
        return sum(self.stored_counts) / self.num_classes

    @property
    def decoded_ipc(self) -> int:
        """Training images per class after decoding, the largest number if they are unequal."""
        return decoded_ipc(self.ipc, self.factor, self.mode, self.bound)

    @property
    def decoded_in_use(self) -> Tensor:
        """Which decoded images (C, m) are in use, as booleans: all, if the classes are equal."""
        return self.formation.decoded_in_use(in_use(self.stored_counts, self.ipc))

    @property
    def decoded_counts(self) -> tuple[int, ...]:
        """Training images of each class (C,)."""
        return tuple(self.decoded_in_use.sum(1).tolist())

    @property
    def num_decoded(self) -> int:
        """Training images of all classes."""
        return sum(self.decoded_counts)

    def decoded(self) -> LabelledImages:
        """The images to train on: (M, c, h, w) in [0, 1], class by class, with labels (M,)."""
        images = decode(self.images, self.factor, self.mode, self.bound)
        labels = torch.arange(self.num_classes, device=images.device).repeat_interleave(images.shape[1])
        if self.counts is None:
            return LabelledImages(images.flatten(0, 1), labels)
        at = self.decoded_in_use.flatten().nonzero().flatten().to(images.device)
        return LabelledImages(images.flatten(0, 1)[at], labels[at])

    @property
    def stored(self) -> Tensor:
        """The stored images that are in use, (N, c, h, w), class by class as in `stored_labels`."""
        flat = self.images.flatten(0, 1)
        return flat if self.counts is None else flat[in_use(self.counts, self.ipc).flatten()]

    def dataset(self, *, normalized: bool = True, soft: bool = True) -> TensorDataset:
        """The decoded images as a torch dataset, class by class.

        Its items are (image, label), or (image, label, probabilities) if the set has soft labels;
        ``torch.nn.functional.cross_entropy`` accepts both kinds of target.

        Args:
            normalized: images as the networks of this package expect them: each channel minus its mean, divided by its
                standard deviation, and ZCA-whitened if the set was made that way. Otherwise pixels in [0, 1].
            soft: whether to include soft labels.
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
        """Batches of `dataset`: images (b, c, h, w), labels (b,), and probabilities (b, C) if the set has soft labels.

        Args:
            batch_size: images per batch, at least 1; the last batch of an epoch may be smaller.
            normalized, soft: as in `dataset`.
            shuffle: use a new order every epoch.
            generator: draws the orders; default: PyTorch's global one.
            options: further arguments of ``torch.utils.data.DataLoader``, such as ``num_workers``.

        Raises:
            NcfmError: if batch_size is below 1.
        """
        check_at_least(batch_size, 1, "batch_size")
        data = self.dataset(normalized=normalized, soft=soft)
        return DataLoader(data, batch_size, shuffle=shuffle, generator=generator, **options)

    def __repr__(self) -> str:
        return f"SyntheticSet({summary(self)})"

    def _repr_html_(self) -> str:
        """The set in a notebook: its picture and a summary."""
        return as_html(self)

    def picture(self) -> Image:
        """A picture of the stored images with the names of their classes; ``picture().save("set.png")`` writes it."""
        return image_grid(self.images.detach(), self.class_names, counts=self.counts)

    def show(self) -> None:
        """Show `picture`: in the notebook that runs this, or in the system's viewer of images.

        Raises:
            NcfmError: if there is neither.
        """
        show_picture(self.picture(), self)

    @property
    def storage(self) -> float:
        """Stored images per class; soft labels are counted as the number of images that take as many bytes."""
        if self.soft_labels is None:
            return self.mean_ipc
        equivalents = self.soft_labels.image_equivalents(self.images.shape[2], self.images.shape[-1])
        return self.mean_ipc + equivalents / self.num_classes

    @property
    def stored_labels(self) -> Tensor:
        """The class of every stored image, (N,) int64, ascending."""
        return torch.arange(self.num_classes).repeat_interleave(torch.tensor(self.stored_counts))

    def with_images(self, images: Tensor) -> SyntheticSet:
        """The same set with other images of the same shape, without the soft labels and scores of the old images."""
        return replace(self, images=images, soft_labels=None, scores=())
