"""Where students are trained, alone or side by side, and tested."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ncfm._utils.accelerator import autocast
from ncfm._utils.compute import Compute
from ncfm._utils.device import compiled
from ncfm._utils.seeding import derive_seed, generator
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.data.image_set import ImageSplit, to_if_it_fits
from ncfm.evaluation.looks import Look, Looks, looks_after, measure
from ncfm.evaluation.protocols import Protocol
from ncfm.evaluation.student_cache import Student
from ncfm.networks.registry import create_network, on_device
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.fit import fit, predict
from ncfm.training.fit_vmapped import fit_side_by_side
from ncfm.training.stack import fitting_stack


class Classroom:
    """Where students are trained: the sets on the device, and networks whose memory later ones take over."""

    def __init__(
        self,
        train: LabelledImages,
        test: ImageSplit,
        num_classes: int,
        statistics: Statistics,
        protocol: Protocol,
        network: str,
        seed: int,
        soft: StudentTargets | None,
        compute: Compute,
    ) -> None:
        device = compute.device
        self.images, self.labels = to_if_it_fits(train.images, device), train.labels.to(device)
        self.test_images, self.test_labels = to_if_it_fits(test.images, device), test.labels
        self.num_classes, self.statistics, self.protocol = num_classes, statistics, protocol
        self.network, self.seed, self.soft = network, seed, soft
        self.compute = compute
        self.modules: list[nn.Module] = []
        self.forwards: list[Callable[..., Any]] = []

    def fitting(self, count: int) -> int:
        """How many of ``count`` students fit into memory side by side, at least 1."""
        if count < 2:
            return 1
        device = self.compute.device
        image = torch.zeros(1, *self.images.shape[1:], device=device)
        module = on_device(self.fresh(0), device).eval()
        with autocast(device, self.compute.precision):
            fitting = fitting_stack(module, image, min(self.protocol.recipe.batch_size, len(self.images)))
        return count if fitting is None else min(count, fitting)

    def fresh(self, run: int) -> nn.Module:
        """A network with the initial weights of student number ``run``."""
        return create_network(
            self.network,
            channels=self.images.shape[1],
            num_classes=self.num_classes,
            image_size=self.images.shape[-1],
            seed=derive_seed(self.seed, "students", run),
        )

    def train(
        self, runs: Sequence[int], on_epoch: Callable[[int], None], kept: TrainingCheckpoint | None = None
    ) -> list[Student]:
        """Train some students, together if they are more than one, from where their training was cut."""
        began = time.perf_counter()
        modules, forwards = self._networks(runs)
        looks = Looks(lambda: [self.look(*pair) for pair in zip(modules, forwards, strict=True)], kept)

        def after_epoch(epoch: int) -> None:
            if looks_after(self.protocol, epoch):
                looks.take()
            on_epoch(epoch)

        self._fit(runs, modules, forwards, after_epoch, kept)
        if self.protocol.recipe.epochs == 0:  # the untrained networks
            after_epoch(0)
        last, accuracies = looks.last(), looks.accuracies()
        seconds = (time.perf_counter() - began + (0.0 if kept is None else kept.earlier)) / len(runs)
        return [
            Student(own, look.confusion, look.calibration_error, seconds, {})
            for own, look in zip(accuracies, last, strict=True)
        ]

    def _networks(self, runs: Sequence[int]) -> tuple[list[nn.Module], list[Callable[..., Any]]]:
        """Networks with the initial weights of some students, and their compiled forms."""
        for run in runs[len(self.modules) :]:
            self.modules.append(on_device(self.fresh(run), self.compute.device))
            alone = len(runs) == 1
            self.forwards.append(compiled(self.modules[-1], self.compute.compile_networks and alone))
        modules, forwards = self.modules[: len(runs)], self.forwards[: len(runs)]
        for module, run in zip(modules, runs, strict=True):
            module.load_state_dict(self.fresh(run).state_dict())
        return modules, forwards

    def _fit(
        self,
        runs: Sequence[int],
        modules: list[nn.Module],
        forwards: list[Callable[..., Any]],
        after_epoch: Callable[[int], None],
        kept: TrainingCheckpoint | None,
    ) -> None:
        """Train networks in place: one alone, several side by side."""
        common: dict[str, Any] = {
            "recipe": self.protocol.recipe,
            "statistics": self.statistics,
            "precision": self.compute.precision,
            "soft": self.soft,
            "after_epoch": after_epoch,
            "checkpoint": kept,
        }
        generators = [generator(self.seed, "students", run, "training") for run in runs]
        if len(runs) == 1:
            fit(modules[0], self.images, self.labels, generator=generators[0], forward=forwards[0], **common)
        else:
            common["compile_networks"] = self.compute.compile_networks
            fit_side_by_side(modules, self.images, self.labels, generators=generators, **common)

    def look(self, module: nn.Module, forward: Callable[..., Any]) -> Look:
        """What a student says of the test split."""
        return measure(predict(module, self.test_images, statistics=self.statistics, forward=forward), self.test_labels)
