"""The training images of an iteration by class: as many in every class, or unequal numbers.

Objectives compare classes of as many training images each. Unequal classes are given to them in groups of equal number,
every group with the same random draws, and the discrepancy of each class counts the same, as that of equal ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.checks import InputError
from ncfm._utils.types import Features, GroupedImages, Images, Labels, PerGroup
from ncfm.distillation.diagnosis import Diagnosis, Spectrum
from ncfm.distillation.objective import ALL, Draw, Measured, Objective, draw_once


class ClassSizes(Protocol):
    """Which of the decoded images (C, m, c, h, w) of a part of the classes are trained on."""

    def images(self, decoded: GroupedImages) -> Images:
        """The images in use, (M, c, h, w), class by class."""
        ...

    def features(self, flat: Tensor) -> Tensor:
        """Features (M, d) of the images in use, as the objective takes them."""
        ...

    def labels(self, classes: Tensor) -> Labels:
        """The class (M,) of each image in use, of the part's classes (C,)."""
        ...

    def mean_of_classes(self, values: Tensor) -> Tensor:
        """The mean () over classes of the mean of a class's images, of values (M,) of the images in use."""
        ...

    def of(self, part: slice) -> ClassSizes:
        """The sizes of a part of the classes."""
        ...


class EqualSizes:
    """As many images in every class.

    Args:
        per_class: m.
    """

    def __init__(self, per_class: int) -> None:
        self.per_class = per_class

    def images(self, decoded: GroupedImages) -> Images:
        """All of them."""
        return decoded.flatten(0, 1)

    def features(self, flat: Tensor) -> Features:
        """Class by class, (C, m, d)."""
        return flat.unflatten(0, (-1, self.per_class))

    def labels(self, classes: Tensor) -> Labels:
        """Each class m times."""
        return classes.repeat_interleave(self.per_class)

    def mean_of_classes(self, values: Tensor) -> Tensor:
        """The mean of all."""
        return values.mean()

    def of(self, part: slice) -> EqualSizes:
        """The same m."""
        return self


class UnequalSizes:
    """Unequal numbers of images.

    Args:
        used: (C, m) which decoded images are in use, as booleans.
        device: of the images.
    """

    def __init__(self, used: Tensor, device: torch.device) -> None:
        self._used, self._device = used, device
        self._parts: dict[tuple[int, int], UnequalSizes] = {}
        counts, self._num_classes = used.sum(1), len(used)
        self._class_of = torch.arange(len(used)).repeat_interleave(counts).to(device)  # (M,)
        self._siblings = counts.repeat_interleave(counts).to(device)  # (M,) images of the class of each
        self._at = used.flatten().nonzero().flatten().to(device)

    def images(self, decoded: GroupedImages) -> Images:
        """Those in use. Their positions are distinct, so that no gradient is a sum in an order that may vary."""
        return decoded.flatten(0, 1).index_select(0, self._at)

    def features(self, flat: Tensor) -> Tensor:
        """As they are, for `ByGroups`."""
        return flat

    def labels(self, classes: Tensor) -> Labels:
        """Each class as many times as it has images."""
        return classes.index_select(0, self._class_of)

    def mean_of_classes(self, values: Tensor) -> Tensor:
        """Each image counts the reciprocal of the number of its class's images."""
        return (values / self._siblings).sum() / self._num_classes

    def of(self, part: slice) -> UnequalSizes:
        """Those of the part; the same object for the same part."""
        first, end, _ = part.indices(len(self._used))
        if (first, end) == (0, len(self._used)):
            return self
        if (first, end) not in self._parts:
            self._parts[first, end] = UnequalSizes(self._used[part], self._device)
        return self._parts[first, end]


class _Group:
    """Classes with as many images each: their positions, and the rows of their images among those of all classes."""

    def __init__(self, counts: Tensor, count: int, device: torch.device) -> None:
        classes = (counts == count).nonzero().flatten()
        first = counts.cumsum(0) - counts
        rows = first[classes, None] + torch.arange(count)
        self.classes, self.rows, self.count = classes.to(device), rows.flatten().to(device), count

    def features(self, real: Features, flat: Tensor) -> tuple[Features, Features]:
        """Real features (g, n, d) and synthetic ones (g, count, d) of the group."""
        own = flat.index_select(0, self.rows).unflatten(0, (len(self.classes), self.count))
        return real.index_select(0, self.classes), own


class ByGroups:
    """An objective for unequal classes: it gets the synthetic features flat, (M, d), and measures group by group.

    Every group gets the same draw, so that all classes are compared at the same frequencies.

    Args:
        objective: for equal classes.
        counts: training images of each class (C,).
        device: of the features.

    Raises:
        InputError: for an objective with state, whose memory has a place for every class, and one that compares each
            class with the others.
    """

    couples_classes = False

    def __init__(self, objective: Objective, counts: Sequence[int], device: torch.device) -> None:
        if objective.state() or objective.couples_classes:
            raise InputError(
                "Unequal images per class are for objectives without state that measure each class alone; choose "
                "another objective.name (not dsdm, fisher or entropic), or one --ipc for all classes."
            )
        self._objective, self._counts, self._device = objective, list(counts), device
        sizes = torch.tensor(counts)
        self._groups = [_Group(sizes, count, device) for count in sizes.unique().tolist()]
        self._place = torch.cat([group.classes for group in self._groups]).argsort()  # of each class among the groups
        self._parts: dict[tuple[int, int], ByGroups] = {}
        self.adversary: nn.Module | None = objective.adversary
        self.has_frequencies = objective.has_frequencies

    def to(self, device: torch.device) -> None:
        """Move the objective."""
        self._objective.to(device)

    def discrepancy(self, real: Features, synthetic: Tensor, generator: Generator) -> PerGroup:
        """Discrepancies (C,) of real features (C, n, d) and synthetic ones (M, d)."""
        return self.measure(real, synthetic, generator).discrepancy

    def measure(self, real: Features, synthetic: Tensor, generator: Generator) -> Measured:
        """The same with their parts."""
        return self.draw(generator).measure(real, synthetic, ALL)

    def draw(self, generator: Generator) -> Draw:
        """The random numbers of the objective, for all groups of all parts of the classes."""
        drawn = draw_once(self._objective, generator)
        return Draw(
            lambda real, synthetic, classes: self._of(classes)._measure(drawn, real, synthetic), drawn.frequencies
        )

    def _of(self, part: slice) -> ByGroups:
        """The groups of a part of the classes; the same object for the same part."""
        first, end, _ = part.indices(len(self._counts))
        if (first, end) == (0, len(self._counts)):
            return self
        if (first, end) not in self._parts:
            self._parts[first, end] = ByGroups(self._objective, self._counts[part], self._device)
        return self._parts[first, end]

    def _measure(self, drawn: Draw, real: Features, synthetic: Tensor) -> Measured:
        """Every group at the same draw."""
        found = [drawn.measure(*group.features(real, synthetic), ALL) for group in self._groups]
        discrepancy, *parts = (self._joined(values) for values in zip(*found, strict=True))
        assert discrepancy is not None
        return Measured(discrepancy, *parts)

    def _joined(self, parts: Sequence[Tensor | None]) -> Tensor | None:
        """Values of all classes (C,) from those of the groups; None if they have none."""
        known = [part for part in parts if part is not None]
        return torch.cat(known).index_select(0, self._place) if known else None

    def diagnose(self, real: Features, synthetic: Tensor, generator: Generator) -> Diagnosis | None:
        """None: a diagnosis compares equal classes."""
        return None

    def spectrum(self, generator: Generator) -> Spectrum | None:
        """That of the objective."""
        return self._objective.spectrum(generator)

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def remember(self, real: Features) -> None:
        """There is no memory."""
