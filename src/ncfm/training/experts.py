"""Experts: networks trained on the real set, with their trajectories: the weights after every epoch.

Reference:
    Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ncfm._utils.accelerator import to_device
from ncfm._utils.cache import CacheEntry
from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.compute import Compute
from ncfm._utils.device import compiled
from ncfm._utils.files import content_hash
from ncfm._utils.seeding import derive_seed, generator
from ncfm._utils.types import Statistics
from ncfm.data.image_set import ImageSet
from ncfm.networks.registry import is_own, on_device
from ncfm.training.fit import batch_norms, fit
from ncfm.training.recipe import TrainingRecipe, recipe_text
from ncfm.training.teachers import network_for

STORED = torch.float16
"""Type of recorded weights: rounding changes each by at most 2^-12 of its size, far less than an epoch does."""

# Raised when a change of the training code makes cached experts differ from freshly recorded ones.
CACHE_VERSION = 1


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The weights of one network while it was trained."""

    states: Tensor  # (epochs + 1, P) float16: before the first epoch, and after each
    seconds: float  # of the training, also of a cached trajectory


class ExpertPool:
    """Trajectories, and a network to run at any weights.

    Args:
        trajectories: at least one; all of the architecture of ``network``.
        network: gives the names and shapes of the weights; its own values are not used.
        statistics: normalisation the experts were trained with.
        device: where networks run.

    Raises:
        NcfmError: for a network with BatchNorm statistics, which no training step on a set can match.
    """

    def __init__(
        self, trajectories: Sequence[Trajectory], network: nn.Module, *, statistics: Statistics, device: torch.device
    ) -> None:
        check_at_least(len(trajectories), 1, "number of experts")
        check_no_batch_norm(network)
        self.statistics, self.device = statistics, device
        self.trajectories = list(trajectories)
        self.network = on_device(network, device).requires_grad_(False).train()
        self.shapes = {name: value.shape for name, value in network.named_parameters()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.seconds = math.fsum(t.seconds for t in trajectories)
        self.accuracies: tuple[float, ...] = ()  # as those of a `TeacherPool`; experts are not measured

    def __len__(self) -> int:
        return len(self.trajectories)

    @property
    def num_epochs(self) -> int:
        """Epochs that every trajectory covers."""
        return min(len(t.states) for t in self.trajectories) - 1

    def state(self, expert: int, epoch: int) -> Tensor:
        """The weights of an expert after an epoch (0: before the first), (P,) float32."""
        return to_device(self.trajectories[expert].states[epoch], self.device).float()

    def weights(self, state: Tensor) -> Mapping[str, Tensor]:
        """The named weights of a state (P,), as views of it."""
        parts = state.split(self.sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def logits(self, state: Tensor, images: Tensor) -> Tensor:
        """Logits (n, C) of the network with these weights for normalised images; differentiable in both."""
        logits: Tensor = functional_call(self.network, dict(self.weights(state)), (images,))
        return logits


def check_no_batch_norm(network: nn.Module) -> None:
    """Raise NcfmError for a network with BatchNorm statistics."""
    if batch_norms(network):
        raise InputError(
            "Trajectory matching compares weights only, and this network has BatchNorm statistics in addition; "
            "use another norm, for example convnet or resnet18-instance."
        )


def flat(network: nn.Module) -> Tensor:
    """The weights of a network as one vector (P,), in the order of its parameters; a copy on the CPU."""
    return torch.cat([p.detach().flatten().cpu() for p in network.parameters()])


def record_experts(
    images: ImageSet,
    *,
    network: str = "convnet",
    num_experts: int,
    recipe: TrainingRecipe,
    seed: int = 0,
    compute: Compute | None = None,
    cache: Path | None = None,
    on_epoch: Callable[[int, int], None] | None = None,
) -> ExpertPool:
    """Train experts on the training split and record their trajectories, or take them from the cache.

    Every expert has its own cache entry, by the content that determines it. An interrupted recording resumes with the
    missing experts, and a pool of 10 reuses the 3 of an earlier run.

    Args:
        images: the real set; its test split is never touched.
        network: a name for `create_network`, without BatchNorm.
        num_experts: at least 1.
        recipe: their training; with a constant learning rate and no momentum, plain SGD can follow the trajectories.
        seed: expert i starts from the seed derived for i.
        compute: device, precision and compilation.
        cache: folder of the cache; default ``~/.cache/ncfm/experts``.
        on_epoch: called with (expert, finished epochs) after each epoch; not for a cached expert.

    Raises:
        NcfmError: if ``num_experts`` is below 1, the network has BatchNorm, or training diverges.
    """
    check_at_least(num_experts, 1, "num_experts")
    compute = compute or Compute()
    module = on_device(network_for(images, network, seed=0), compute.device)
    check_no_batch_norm(module)  # before the training, which takes minutes
    forward = compiled(module, compute.compile_networks)
    trajectories = []
    for index in range(num_experts):
        own_seed = derive_seed(seed, "experts", index)
        entry = CacheEntry("experts", expert_key(images, network, recipe, own_seed, compute.precision), cache)
        shape = (recipe.epochs + 1, sum(p.numel() for p in module.parameters()))
        trajectory = entry.read(partial(_parse, shape=shape)) if is_own(network) else None
        if trajectory is None:
            module.load_state_dict(network_for(images, network, seed=own_seed).state_dict())
            states, began = [flat(module).to(STORED)], time.perf_counter()

            def after_epoch(epoch: int, index: int = index, states: list[Tensor] = states) -> None:
                states.append(flat(module).to(STORED))
                if on_epoch is not None:
                    on_epoch(index, epoch)

            fit(
                module,
                images.train.images,
                images.train.labels,
                recipe=recipe,
                statistics=images.statistics,
                generator=generator(seed, "experts", index, "training"),
                forward=forward,
                precision=compute.precision,
                after_epoch=after_epoch,
            )
            trajectory = Trajectory(torch.stack(states), round(time.perf_counter() - began, 3))
            facts = asdict(recipe) | {"network": network, "data": images.name, "seconds": trajectory.seconds}
            entry.write({"states": trajectory.states}, facts)
        trajectories.append(trajectory)
    skeleton = network_for(images, network, seed=0)
    return ExpertPool(trajectories, skeleton, statistics=images.statistics, device=compute.device)


def expert_key(images: ImageSet, network: str, recipe: TrainingRecipe, seed: int, precision: torch.dtype) -> str:
    """Content hash of everything that determines an expert but the machine."""
    return content_hash(
        f"expert {CACHE_VERSION}", images.fingerprint, network, recipe_text(recipe), str(seed), str(precision)
    )


def _parse(entry: CacheEntry, shape: tuple[int, int]) -> Trajectory | None:
    """A recorded trajectory; None if its weights have another shape or type."""
    states, seconds = entry.tensors()["states"], float(entry.facts()["seconds"])
    return Trajectory(states, seconds) if states.shape == shape and states.dtype == STORED else None
