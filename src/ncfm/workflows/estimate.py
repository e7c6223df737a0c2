"""The time and memory of a run by arithmetic: products of the networks, images of each stage, and one timed pass.

It is ready within seconds, before a plan times real steps, and it says how many images these may have.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ncfm._utils.compute import Compute
from ncfm._utils.progress import counted
from ncfm.config.build import build_protocol
from ncfm.config.pools import PoolSource
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.distillation.pass_sizes import PASS_PEAK, Memory, pass_with_gradient, pass_without_gradient
from ncfm.networks.features import kept_bytes_per_image
from ncfm.networks.registry import on_device
from ncfm.results.formatting import duration
from ncfm.synthetic.counts import Ipc, as_counts
from ncfm.synthetic.formation import Formation
from ncfm.training.fit import steps_per_epoch
from ncfm.training.teachers import network_for

BACKWARD = 3.0  # cost of a pass with its gradients, in passes without
STEP_KEPT = 2.0  # peak of an optimizer step, in the activations that autograd keeps
PLAN_SHARE = 0.5  # of the free memory that a plan may use
PROBE_SECONDS = 0.3  # of the timed passes
PROBE_IMAGES = 64  # in one of them, at most


@dataclass(frozen=True)
class NetworkCost:
    """What a network costs per image."""

    seconds: float  # of a pass without gradient
    kept_bytes: int  # of the activations that autograd keeps in a pass with gradient


@dataclass(frozen=True)
class Estimate:
    """The predicted time and memory of a run, by arithmetic."""

    stages: tuple[tuple[str, str, int, float], ...]  # name, unit, units, seconds per unit
    peak_memory_mb: float  # of the process, as the run would have it
    decoded: int  # training images that the set holds
    teacher: NetworkCost
    student: NetworkCost

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(units * seconds for _, _, units, seconds in self.stages)

    def __str__(self) -> str:
        shown = (f"{name} {counted(units, unit)} of {duration(each)}" for name, unit, units, each in self.stages)
        return f"about {duration(self.seconds)} ({', '.join(shown)}) and {self.peak_memory_mb / 1024:.1f} GiB of memory"


def network_cost(network: nn.Module, forward: Callable[[Tensor], Any], image: Tensor) -> NetworkCost:
    """Time passes of an image (1, c, h, w), in batches where it is small, and count what autograd keeps."""
    network.eval()
    with torch.no_grad():
        forward(image)  # allocations
        alone = _seconds(forward, image)
        fitting = int(min(max(PROBE_SECONDS / 3 / alone, 1), PROBE_IMAGES))
        seconds = alone if fitting == 1 else _seconds(forward, image.expand(fitting, -1, -1, -1)) / fitting
    return NetworkCost(seconds, kept_bytes_per_image(forward, image))


def _seconds(forward: Callable[[Tensor], Any], images: Tensor) -> float:
    """Seconds of a pass, the mean over about `PROBE_SECONDS`."""
    began, passes = time.perf_counter(), 0
    while passes == 0 or time.perf_counter() - began < PROBE_SECONDS:
        forward(images)
        passes += 1
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return (time.perf_counter() - began) / passes


def cost_of(name: str, images: ImageSet, machine: Compute) -> NetworkCost:
    """`network_cost` of the network of a name, for the images of a set, not compiled."""
    network = on_device(network_for(images, name, seed=0), machine.device)
    shape = (1, images.channels, images.image_size, images.image_size)
    return network_cost(network, network, torch.zeros(shape, device=machine.device))


def estimate(
    images: ImageSet,
    config: RunConfig,
    machine: Compute,
    ipc: Ipc,
    sources: list[PoolSource[Any]],
    free_memory: int | None,
) -> Estimate:
    """Estimate a run.

    An iteration passes the real images once, and the decoded ones twice with gradients: for the matching and for the
    calibration. An epoch passes its images once with gradients. What else happens is small for networks of the usual
    size.

    Args:
        images, config, machine, ipc: as for the run.
        sources: of the networks that are trained.
        free_memory: bytes; limits the passes of an iteration. None if unknown.
    """
    d, protocol = config.distill, build_protocol(config)
    teacher = cost_of(config.teachers.network, images, machine)
    alike = config.evaluate.network == config.teachers.network
    student = teacher if alike else cost_of(config.evaluate.network, images, machine)
    decoded = sum(map(Formation.of(d).decoded_ipc, as_counts(ipc, images.num_classes)))
    with_gradient = decoded * (1 + (d.calibration_weight > 0)) * d.descent_steps
    iteration = (images.num_classes * d.real_batch_per_class + BACKWARD * with_gradient) * teacher.seconds
    stages = [("distilling", "iteration", d.iterations, iteration)]
    batches = []
    for source in sources:
        recipe = source.recipe(config)
        per_epoch = steps_per_epoch(len(images.train), recipe) * min(recipe.batch_size, len(images.train))
        units = source.num_missing(images, config, machine) * recipe.epochs
        stages.insert(0, (source.name, "epoch", units, BACKWARD * per_epoch * teacher.seconds))
        batches.append(min(recipe.batch_size, len(images.train)) * teacher.kept_bytes)
    epochs = protocol.num_runs * protocol.recipe.epochs
    stages.append(("students", "epoch", epochs, BACKWARD * decoded * student.seconds))
    batches.append(min(protocol.recipe.batch_size, decoded) * student.kept_bytes)
    _, per_pass = images_per_pass(machine, teacher, decoded, images.num_classes, free_memory)
    peak = max(PASS_PEAK * per_pass * teacher.kept_bytes, STEP_KEPT * max(batches)) + images.train.images.numel()
    return Estimate(tuple(stages), peak / 2**20, decoded, teacher, student)


def images_per_pass(
    machine: Compute, cost: NetworkCost, decoded: int, num_classes: int, free_memory: int | None
) -> tuple[int, int]:
    """Images per pass without gradient, and synthetic ones per pass with gradient, as an iteration will choose them."""
    stated = None if machine.memory_mb is None else machine.memory_mb * 2**20
    memory = Memory(cost.kept_bytes, free_memory, stated)
    with_gradient = machine.gradient_chunk_size or pass_with_gradient(
        memory, total=decoded, of_a_class=-(-decoded // num_classes), device=machine.device, by_classes=True
    )
    return machine.chunk_size or pass_without_gradient(memory, machine.device), with_gradient or decoded


def fitting_images(cost: NetworkCost, free_memory: int | None, kept: float) -> int | None:
    """How many images a timed step may pass with gradient within `PLAN_SHARE` of the free memory; None for any."""
    if free_memory is None:
        return None
    return max(int(PLAN_SHARE * free_memory / (kept * cost.kept_bytes)), 1)
