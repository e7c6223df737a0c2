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
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.accelerator import fill
from ncfm._utils.cache import CacheEntry
from ncfm._utils.checks import InputError, check_at_least, check_known
from ncfm._utils.compute import Compute
from ncfm._utils.device import compiled
from ncfm._utils.distributed import Ranks
from ncfm._utils.files import content_hash
from ncfm._utils.seeding import derive_seed, generator
from ncfm._utils.types import Images, Statistics
from ncfm.data.image_set import ImageSet
from ncfm.networks.layout import channels_last
from ncfm.networks.registry import create_network, is_own, on_device
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.epoch_states import EpochStates, Weights
from ncfm.training.fit import fit, predict
from ncfm.training.recipe import TrainingRecipe, recipe_text

EXTRACTORS = ("blended", "trained", "random", "checkpoint")

# Raised when a change of the training code makes cached teachers differ from freshly trained ones.
CACHE_VERSION = 1


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
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        make_network: Callable[[int], nn.Module],
        *,
        statistics: Statistics,
        device: torch.device,
        compile_networks: bool = False,
    ) -> None:
        check_at_least(len(teachers), 1, "number of teachers")
        self.statistics = statistics
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
        self.blended.load_state_dict(states[epoch])
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


def pretrain(
    images: ImageSet,
    *,
    network: str = "convnet",
    num_teachers: int,
    recipe: TrainingRecipe,
    seed: int = 0,
    compute: Compute | None = None,
    cache: Path | None = None,
    on_epoch: Callable[[int, int], None] | None = None,
    record: bool = False,
) -> TeacherPool:
    """Train a pool of teachers on the training split, or take them from the cache.

    Each teacher is cached by the content that determines it: pixels, labels, architecture, recipe, seed, precision. A
    pool of 5 therefore finds the 3 of an earlier run. Networks that are not the package's own are always trained: the
    code behind a name may have changed.

    Args:
        images: the real set; its test split is never touched.
        network: a name for `create_network`.
        num_teachers: size of the pool, at least 1.
        recipe: their training.
        seed: teacher i starts from the seed derived for i.
        compute: device of the training and of the pool, precision, compilation; and ranks, which train the teachers in
            turn and all get the whole pool.
        cache: folder of the cache; default ``~/.cache/ncfm/teachers``.
        on_epoch: called with (teacher, finished epochs) after each epoch; not for a cached teacher. An exception of it
            ends the training, which the next call resumes.
        record: keep the weights after every epoch, for extractors that are checkpoints. A teacher that was cached
            without them is trained again.

    Raises:
        NcfmError: if ``num_teachers`` is below 1, or training diverges.
    """
    check_at_least(num_teachers, 1, "num_teachers")
    compute = compute or Compute()
    module = on_device(network_for(images, network, seed=0), compute.device)
    forward = compiled(module, compute.compile_networks)
    own: dict[int, Teacher] = {}
    for index in compute.ranks.mine(num_teachers):
        own_seed = derive_seed(seed, "teachers", index)
        entry = CacheEntry("teachers", teacher_key(images, network, recipe, own_seed, compute.precision), cache)
        states = EpochStates(entry.key, recipe.epochs if record else 0, cache, is_cached=is_own(network))
        teacher = entry.read(partial(_parse, names=module.state_dict().keys())) if is_own(network) else None
        between = states.find(module)
        if teacher is None or between is None:
            checkpoint = TrainingCheckpoint(entry.checkpoint_path) if is_own(network) else None
            note = partial(_after_epoch, index=index, module=module, states=states, on_epoch=on_epoch)
            training = partial(_train, images, module, forward, recipe, seed, index, compute.precision, note)
            fresh = network_for(images, network, seed=own_seed).state_dict()
            module.load_state_dict(fresh)
            teacher = training(checkpoint)
            between = states.find(module)
            if between is None:  # resumed after an epoch whose state is gone
                module.load_state_dict(fresh)
                teacher = training(None)
                between = states.find(module)
            _write(entry, teacher, asdict(recipe) | {"network": network, "data": images.name})
        own[index] = replace(teacher, between=tuple(between or ()))
    return TeacherPool(
        _exchange(own, num_teachers, module, compute.ranks, num_between=max(recipe.epochs - 1, 0) if record else 0),
        lambda seed: network_for(images, network, seed=seed),
        statistics=images.statistics,
        device=compute.device,
        compile_networks=compute.compile_networks,
    )


def _after_epoch(
    epoch: int,
    index: int,
    module: nn.Module,
    states: EpochStates,
    on_epoch: Callable[[int, int], None] | None,
) -> None:
    """Store the state of a teacher after an epoch, if states are recorded, and report the epoch."""
    states.note(epoch, module)
    if on_epoch is not None:
        on_epoch(index, epoch)


def _exchange(
    own: dict[int, Teacher], number: int, module: nn.Module, ranks: Ranks, *, num_between: int = 0
) -> list[Teacher]:
    """All teachers with their recorded states, from the ranks that trained them; ``module`` has the architecture."""
    if ranks.is_single:
        return [own[index] for index in range(number)]
    seconds: dict[str, float] = {}
    for of_rank in ranks.gather_objects({str(index): teacher.seconds for index, teacher in own.items()}):
        seconds |= of_rank
    teachers = []
    for index in range(number):
        blank = tuple(_copy(module) for _ in range(0 if index in own else num_between))
        teacher = own.get(index) or Teacher(_copy(module), _copy(module), seconds[str(index)], blank)
        for weights in teacher.states:
            # By name: a file has them in another order than a network.
            ranks.broadcast([weights[name] for name in sorted(weights)], source=index % ranks.count)
        teachers.append(teacher)
    return teachers


def teacher_key(images: ImageSet, network: str, recipe: TrainingRecipe, seed: int, precision: torch.dtype) -> str:
    """Content hash of everything that determines a teacher, except the machine."""
    return content_hash(
        f"teacher {CACHE_VERSION}", images.fingerprint, network, recipe_text(recipe), str(seed), str(precision)
    )


def _train(
    images: ImageSet,
    module: nn.Module,
    forward: Callable[..., Any],
    recipe: TrainingRecipe,
    seed: int,
    index: int,
    precision: torch.dtype,
    after_epoch: Callable[[int], None],
    checkpoint: TrainingCheckpoint | None,
) -> Teacher:
    initial = _copy(module)
    began = time.perf_counter()
    fit(
        module,
        images.train.images,
        images.train.labels,
        recipe=recipe,
        statistics=images.statistics,
        generator=generator(seed, "teachers", index, "training"),
        forward=forward,
        precision=precision,
        after_epoch=after_epoch,
        checkpoint=checkpoint,
    )
    seconds = time.perf_counter() - began + (0.0 if checkpoint is None else checkpoint.earlier)
    return Teacher(initial, _copy(module), round(seconds, 3))  # rounded as in the cache


def _parse(entry: CacheEntry, names: Collection[str]) -> Teacher | None:
    """A cached teacher with the weights ``names``; None if the entry has others."""
    tensors, seconds = entry.tensors(), float(entry.facts()["seconds"])
    initial = {k.removeprefix("initial."): v for k, v in tensors.items() if k.startswith("initial.")}
    trained = {k.removeprefix("trained."): v for k, v in tensors.items() if k.startswith("trained.")}
    return Teacher(initial, trained, seconds) if initial.keys() == trained.keys() == set(names) else None


def _write(entry: CacheEntry, teacher: Teacher, facts: dict[str, Any]) -> None:
    tensors = {f"initial.{k}": v for k, v in teacher.initial.items()}
    tensors |= {f"trained.{k}": v for k, v in teacher.trained.items()}
    entry.write(tensors, facts | {"seconds": round(teacher.seconds, 3)})


def _copy(module: nn.Module) -> Weights:
    return {name: value.detach().clone().contiguous().cpu() for name, value in module.state_dict().items()}


def _on(weights: Weights, device: torch.device) -> Weights:
    return {name: value.to(device) for name, value in weights.items()}


def _frozen(module: nn.Module, device: torch.device) -> nn.Module:
    """The module on the device, in evaluation mode, without gradients for its parameters."""
    return on_device(module, device).requires_grad_(False).eval()
