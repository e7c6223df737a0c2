"""Training of several students in one stacked pass, where a loop launches every operator once per student."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state

from ncfm._utils.checks import RunError
from ncfm._utils.types import Statistics
from ncfm.data.augment import AugmentParameters, SiameseAugment
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.training.fit import epoch_batches, network_input, steps_per_epoch, training_mode
from ncfm.training.recipe import TrainingRecipe, make_optimizer
from ncfm.training.targets import make_targets, maybe_cutmix, mixed_loss


def fit_side_by_side(
    networks: Sequence[nn.Module],
    images: Tensor,
    labels: Tensor,
    *,
    recipe: TrainingRecipe,
    statistics: Statistics,
    generators: Sequence[Generator],
    precision: torch.dtype = torch.float32,
    soft: StudentTargets | None = None,
    compile_networks: bool = False,
    after_epoch: Callable[[int], None] | None = None,
) -> None:
    """Train networks of one architecture in place, each as `ncfm.training.fit.fit` would, in stacked passes.

    Weights, buffers and optimizer state are stacked (S, ...), and ``torch.func.vmap`` runs all students in one pass:
    a convolution becomes one with S groups. Every student has its own generator, with the same draws as in `fit`. The
    result therefore equals that of training one by one, up to rounding.

    Args:
        networks: the S students, on one device.
        images, labels, recipe, statistics, precision, soft: as in `fit`.
        generators: one per student.
        compile_networks: compile the stacked pass.
        after_epoch: called with the number of finished epochs; ``networks`` then have the trained weights.

    Raises:
        RunError: if a loss is not finite; the message has the students and the epoch.
    """
    device = next(networks[0].parameters()).device
    images, targets = images.to(device), make_targets(labels, soft, device)
    weights, buffers = stack_module_state(list(networks))
    # Channels first, also for 1x1 filters, which are contiguous in both formats: vmap has no rule for the norm of
    # channels-last images.
    first = torch.contiguous_format
    parameters = {name: nn.Parameter(weight.detach().clone(memory_format=first)) for name, weight in weights.items()}
    skeleton = copy.deepcopy(networks[0])  # on the meta device tied weights would not be tied

    def one(weights: Mapping[str, Tensor], state: Mapping[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(skeleton, (dict(weights), dict(state)), (x,))
        return logits

    forward = torch.func.vmap(one, randomness="different")
    if compile_networks:
        forward = torch.compile(forward)
    optimizer, schedule = make_optimizer(
        recipe, nn.ParameterList(parameters.values()), recipe.epochs * steps_per_epoch(len(images), recipe)
    )
    augment = SiameseAugment(recipe.augment)
    for epoch in range(1, recipe.epochs + 1):
        losses = torch.zeros(len(networks))
        orders = (epoch_batches(len(images), recipe.batch_size, g, keep_last=recipe.keep_last) for g in generators)
        for batch in zip(*orders, strict=True):  # one batch per student
            at = torch.stack(batch).to(device, non_blocking=True)  # (S, n)
            training_mode(skeleton, batch_size=at.shape[1])
            x, order, share = _batches(images[at], recipe, statistics, augment, generators)
            with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
                logits = forward(parameters, buffers, x)
            losses = mixed_loss(logits.float(), targets.at(at).shown(x), order, share, recipe)
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimizer.step()
            schedule.step()
        if not math.isfinite(losses.sum().item()):
            failed = [i for i, loss in enumerate(losses.tolist()) if not math.isfinite(loss)]
            raise RunError(
                f"The training loss of students {failed} is not finite in epoch {epoch} of {recipe.epochs}; "
                f"lower the learning rate (now {recipe.lr}) or use float32."
            )
        if after_epoch is not None:
            _unstack(networks, {**parameters, **buffers})
            after_epoch(epoch)
    _unstack(networks, {**parameters, **buffers})


def _batches(
    images: Tensor,
    recipe: TrainingRecipe,
    statistics: Statistics,
    augment: SiameseAugment,
    generators: Sequence[Generator],
) -> tuple[Tensor, Tensor, Tensor]:
    """Augmented and mixed batches (S, n, c, h, w), the orders of the pasted images (S, n) and their shares (S,).

    Each generator draws in the order of `fit`: first the augmentation of its batch, then whether and how to mix.
    """
    students, size = images.shape[:2]
    x = network_input(images.flatten(0, 1), statistics)
    draws = [augment.draw(size, images.shape[-1], g) for g in generators] if augment.operations else []
    if draws:
        x = augment.apply(x[:, None], AugmentParameters.cat(draws))[:, 0]
    x = x.unflatten(0, (students, size))
    mixed = [maybe_cutmix(x[i], recipe, g) for i, g in enumerate(generators)]
    unchanged = torch.arange(size, device=x.device)
    orders = torch.stack([unchanged if order is None else order for _, order, _ in mixed])
    shares = torch.tensor([share for _, _, share in mixed]).to(x.device, non_blocking=True)
    return torch.stack([images for images, _, _ in mixed]), orders, shares


@torch.no_grad()
def _unstack(networks: Sequence[nn.Module], stacked: Mapping[str, Tensor]) -> None:
    """Write the stacked weights and buffers back into the networks."""
    for i, network in enumerate(networks):
        # Not from state_dict: tied weights have two names there, but are stacked once.
        for name, value in itertools.chain(network.named_parameters(), network.named_buffers()):
            value.copy_(stacked[name][i])
