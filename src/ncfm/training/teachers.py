"""Teachers: a pool of networks trained on the real set, cached on disk by content, blended at each draw.

The feature extractor of an iteration is a teacher whose weights are blended between initial and trained ones,
``beta * initial + (1 - beta) * trained`` with ``beta ~ U(0, 1)``. A few stored networks thus give features of every
stage of training.

Reference:
    Zhang et al., "DANCE: Dual-View Distribution Alignment for Dataset Condensation", IJCAI 2024 (blending, of
    parameters by l ~ U(0, 1): Hansong-Zhang/DANCE, ``DANCE.py``);
    Wang et al., "Dataset Distillation with Neural Characteristic Function", CVPR 2025, arXiv 2502.20653 (pool of 20).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.accelerator import fill
from ncfm._utils.checks import InputError, check_at_least, check_known
from ncfm._utils.device import compiled
from ncfm._utils.files import content_hash
from ncfm._utils.types import Images, Statistics
from ncfm.data.image_set import ImageSet
from ncfm.data.rescaling import rescaling
from ncfm.networks.layout import channels_last
from ncfm.networks.registry import create_network, on_device
from ncfm.training.epoch_states import Weights
from ncfm.training.fit import predict

EXTRACTORS = ("blended", "trained", "random", "checkpoint")


@dataclass(frozen=True)
class Teacher:
    """One network before and after its training on the real set."""

    initial: Weights  # parameters and buffers, by name
    trained: Weights
    seconds: float  # of its training, also of a cached teacher
    between: tuple[Weights, ...] = ()  # after each of its epochs but the last, if they were recorded

    @property
    def states(self) -> tuple[Weights, ...]:
        """Its weights from the start to the end, those of epochs in between where they were recorded."""
        return (self.initial, *self.between, self.trained)


class Drawn(NamedTuple):
    """The extractor that was drawn: a teacher with a share of its initial weights, or at a stage of its training."""

    teacher: int
    blend: float  # in [0, 1]; of a checkpoint the share of the epochs that are left


class TeacherPool:
    """Trained networks from which every iteration draws its feature extractor.

    The pool has one live network per role (blended, trained). Drawn weights are written into it in place, so that
    compiled code and memory are reused.

    Args:
        teachers: at least one; all of the architecture that ``make_network`` builds.
        make_network: builds a network of that architecture from the seed of its initial weights.
        statistics: normalisation the teachers were trained with.
        device: where the live networks are.
        compile_networks: whether to compile them.
        shown: normalisation of the inputs that `relabel` gets; None: that of the teachers.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        make_network: Callable[[int], nn.Module],
        *,
        statistics: Statistics,
        device: torch.device,
        compile_networks: bool = False,
        shown: Statistics | None = None,
    ) -> None:
        check_at_least(len(teachers), 1, "number of teachers")
        self.statistics = statistics
        self.is_shown_otherwise = shown is not None and shown[:2] != statistics[:2]
        self._rescaling = rescaling(shown, statistics, device) if shown and self.is_shown_otherwise else None
        self._initial = [_on(t.initial, device) for t in teachers]
        self._trained = [_on(t.trained, device) for t in teachers]
        self._states = [t.states for t in teachers]  # where they are: on the CPU, mapped from files if cached
        self.seconds = sum(t.seconds for t in teachers)
        self.accuracies: tuple[float, ...] = ()  # on the test split, of each trained teacher; () until measured
        self._make_network = make_network
        self.drawn: Drawn | None = None  # the weights of `blended`; None for those that are of no teacher
        self.blended = _frozen(make_network(0), device)
        self.whole = _frozen(make_network(0), device)
        self.classify = compiled(self.whole, compile_networks)  # logits of the trained teacher that was drawn last

    def __len__(self) -> int:
        return len(self._trained)

    def draw(
        self,
        generator: Generator,
        kind: str = "blended",
        *,
        blend: tuple[float, float] = (0.0, 1.0),
        epochs: tuple[int, int | None] = (0, None),
    ) -> nn.Module:
        """The extractor of one iteration: the same module each time, with other weights.

        Args:
            generator: draws teacher and weights.
            kind: of `EXTRACTORS`. "blended" is a random teacher, its weights and buffers (BatchNorm statistics) blended
                by beta ~ U(low, high); integer buffers are the trained ones. "trained" is a random trained teacher.
                "checkpoint" is a random teacher after a random epoch of its training; it needs teachers that were
                recorded. "random" is a network with new random weights, as in DM; no teacher contributes.
            blend: low and high.
            epochs: first and last epoch of "checkpoint", both included; 0 is before the first, None the end.

        Raises:
            NcfmError: for an unknown kind, or epochs that the teachers do not have.
        """
        check_known(kind, EXTRACTORS, "extractor")
        if kind == "random":
            seed = int(torch.randint(2**62, (), generator=generator))
            fill(self.blended.state_dict(), self._make_network(seed).state_dict())
            self.drawn = None
            return self.blended
        index = int(torch.randint(len(self), (), generator=generator))
        if kind == "checkpoint":
            first, last = self._epochs(epochs)
            return self.after_epoch(index, first + int(torch.randint(last - first + 1, (), generator=generator)))
        beta = (
            blend[0] + (blend[1] - blend[0]) * float(torch.rand((), generator=generator)) if kind == "blended" else 0.0
        )
        return self.blended_at(index, beta)

    def _epochs(self, epochs: tuple[int, int | None]) -> tuple[int, int]:
        """The first and last of a range of epochs, which must lie within the recorded ones."""
        end = min(map(len, self._states)) - 1
        first, last = epochs[0], end if epochs[1] is None else epochs[1]
        if not 0 <= first <= last <= end:
            raise InputError(
                f"Expected a range of epochs within 0..{end}, which the teachers have recorded, got {first}..{last}; "
                "change teachers.first_epoch and teachers.last_epoch, or train longer (teachers.epochs)."
            )
        return first, last

    def after_epoch(self, index: int, epoch: int) -> nn.Module:
        """Teacher number ``index`` after an epoch of its training (0: before the first): the module of `draw`."""
        states = self._states[index]
        fill(self.blended.state_dict(), states[epoch])
        self.drawn = Drawn(index, 1 - epoch / (len(states) - 1))
        return self.blended

    def blended_at(self, index: int, beta: float) -> nn.Module:
        """Teacher number ``index`` with ``beta`` of its initial weights: the module of `draw`."""
        blend(self.blended, self._initial[index], self._trained[index], beta)
        self.drawn = Drawn(index, beta)
        return self.blended

    def draw_trained(self, generator: Generator) -> nn.Module:
        """A random trained teacher (for calibration): the same module each time, with other weights."""
        index = int(torch.randint(len(self), (), generator=generator))
        blend(self.whole, self._initial[index], self._trained[index], beta=0.0)
        return self.whole

    def trained(self, index: int) -> nn.Module:
        """The trained teacher number ``index``."""
        blend(self.whole, self._initial[index], self._trained[index], beta=0.0)
        return self.whole

    def log_probabilities(self, images: Images) -> Tensor:
        """Logarithm of the trained teachers' mean distribution over classes, (n, C) on the CPU.

        Args:
            images: (n, c, h, w) in [0, 1].
        """
        of_teachers = [
            torch.log_softmax(predict(self.trained(i), images, statistics=self.statistics), dim=1)
            for i in range(len(self))
        ]
        return _mean_distribution(of_teachers)

    @torch.no_grad()
    def relabel(self, inputs: Tensor) -> Tensor:
        """`log_probabilities` of normalised network inputs (n, c, h, w): (n, C) on their device.

        For the batches of a training: one pass per teacher, without synchronisation with the device.
        """
        of_teachers = []
        if self._rescaling is not None:
            inputs = inputs * self._rescaling[0] + self._rescaling[1]
        for index in range(len(self)):
            self.trained(index)
            of_teachers.append(torch.log_softmax(self.classify(channels_last(inputs)).float(), dim=1))
        return _mean_distribution(of_teachers)

    def weights(self, index: int) -> tuple[Weights, Weights]:
        """Weights of teacher number ``index`` before and after its training, on the pool's device."""
        return self._initial[index], self._trained[index]

    @property
    def fingerprints(self) -> list[str]:
        """The `fingerprint` of every teacher, in order."""
        return [self.fingerprint(index) for index in range(len(self))]

    @property
    def first_fingerprint(self) -> str:
        """What determines the features of the first trained teacher: its `fingerprint`, and how images are shown to it
        where that is not as the data say."""
        shown = f" {self.statistics[:2]!r}" if self.is_shown_otherwise else ""
        return f"{self.fingerprint(0)}{shown}"

    def fingerprint(self, index: int) -> str:
        """Content hash of the trained teacher number ``index``: its weights and its layers.

        Layers with equal weights can differ in what they compute, such as instance and layer norm.
        """
        weights = self._trained[index]
        names = sorted(weights)  # a file has them in another order than a network
        tensors = (weights[name][None] for name in names)  # with a leading axis: BatchNorm's counters have no axes
        return content_hash(repr(self.whole), *names, *tensors)


def _mean_distribution(log_probabilities: Sequence[Tensor]) -> Tensor:
    """Logarithm of the mean of distributions, each given by its log-probabilities (n, C)."""
    return torch.logsumexp(torch.stack(list(log_probabilities)), dim=0) - math.log(len(log_probabilities))


@torch.no_grad()
def blend(network: nn.Module, initial: Weights, trained: Weights, beta: float) -> None:
    """Set every parameter and buffer of ``network`` to ``beta * initial + (1 - beta) * trained``, in place."""
    for name, value in network.state_dict(keep_vars=True).items():
        if value.is_floating_point():
            value.copy_(torch.lerp(trained[name], initial[name], beta))
        else:
            value.copy_(trained[name])


def network_for(images: ImageSet, name: str, *, seed: int) -> nn.Module:
    """A new network for the images and classes of a set; ``name`` is one of `create_network`."""
    return create_network(
        name, channels=images.channels, num_classes=images.num_classes, image_size=images.image_size, seed=seed
    )


def untrained_pool(
    images: ImageSet,
    network: str,
    *,
    number: int = 1,
    epochs: int = 1,
    device: torch.device,
    compile_networks: bool = False,
) -> TeacherPool:
    """A pool of random weights, for plans and benchmarks: an iteration takes as long as with trained weights."""
    weights = [network_for(images, network, seed=seed).state_dict() for seed in range(2 * number)]
    return TeacherPool(
        [
            Teacher(weights[2 * i], weights[2 * i + 1], 0.0, (weights[2 * i],) * max(epochs - 1, 0))
            for i in range(number)
        ],
        lambda seed: network_for(images, network, seed=seed),
        statistics=images.statistics,
        device=device,
        compile_networks=compile_networks,
    )


def copied(module: nn.Module) -> Weights:
    """A copy of the weights and buffers of a network, on the CPU."""
    return {name: value.detach().clone().contiguous().cpu() for name, value in module.state_dict().items()}


def _on(weights: Weights, device: torch.device) -> Weights:
    return {name: value.to(device) for name, value in weights.items()}


def _frozen(module: nn.Module, device: torch.device) -> nn.Module:
    """The module on the device, in evaluation mode, without gradients for its parameters."""
    return on_device(module, device).requires_grad_(False).eval()
