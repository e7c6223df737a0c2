"""Training of a pool of teachers, one by one or side by side in stacked passes. Each is cached."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ncfm._utils.accelerator import autocast
from ncfm._utils.checks import check_at_least
from ncfm._utils.compute import Compute
from ncfm._utils.device import compiled
from ncfm._utils.distributed import Ranks
from ncfm.data.image_set import ImageSet
from ncfm.networks.registry import is_own, on_device
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.epoch_states import EpochStates
from ncfm.training.fit import fit
from ncfm.training.fit_vmapped import fit_side_by_side
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.stack import fitting_stack
from ncfm.training.teacher_trainings import Trainings
from ncfm.training.teachers import Teacher, TeacherPool, copied, network_for

OnEpoch = Callable[[int, int], None]
"""Called with (teacher, finished epochs of it)."""


def pretrain(
    images: ImageSet,
    *,
    network: str = "convnet",
    num_teachers: int,
    recipe: TrainingRecipe,
    seed: int = 0,
    compute: Compute | None = None,
    cache: Path | None = None,
    on_epoch: OnEpoch | None = None,
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
        compute: device of the training and of the pool, precision, compilation; whether teachers that are not cached
            are trained in stacked passes (`fit_side_by_side`; the package's own networks only); and ranks, which share
            the teachers and all get the whole pool.
        cache: folder of the cache; default ``~/.cache/ncfm/teachers``.
        on_epoch: called with (teacher, finished epochs) after each epoch, also of a stacked pass; not for a cached
            teacher. An exception of it ends the training, which the next call resumes.
        record: keep the weights after every epoch, for extractors that are checkpoints. A teacher that was cached
            without them is trained again. Such teachers are trained in turn.

    Raises:
        NcfmError: if ``num_teachers`` is below 1, or training diverges.
    """
    check_at_least(num_teachers, 1, "num_teachers")
    compute = compute or Compute()
    trainings = Trainings(images, network, recipe, seed, compute.precision, cache, record)
    module = on_device(network_for(images, network, seed=0), compute.device)
    found = {index: trainings.cached(index, module) for index in compute.ranks.mine(num_teachers)}
    own = {index: teacher for index, teacher in found.items() if teacher is not None}
    missing = [index for index in found if index not in own]
    if len(missing) > 1 and compute.teachers_side_by_side and is_own(network) and not record:
        own |= _train_together(trainings, missing, compute, on_epoch)
    else:
        own |= _train_in_turn(trainings, missing, module, compute, on_epoch)
    return TeacherPool(
        _exchange(own, num_teachers, module, compute.ranks, num_between=max(recipe.epochs - 1, 0) if record else 0),
        lambda seed: network_for(images, network, seed=seed),
        statistics=images.statistics,
        device=compute.device,
        compile_networks=compute.compile_networks,
    )


def _train_in_turn(
    trainings: Trainings, indices: Sequence[int], module: nn.Module, compute: Compute, on_epoch: OnEpoch | None
) -> dict[int, Teacher]:
    """Train teachers one by one, all of them in ``module``, so that it is compiled once."""
    forward = compiled(module, compute.compile_networks)
    trained: dict[int, Teacher] = {}
    for index in indices:
        states = trainings.states(index)
        note = partial(_after_epoch, index=index, module=module, states=states, on_epoch=on_epoch)
        teacher = _train(trainings, index, module, forward, note, trainings.checkpoint([index]))
        between = states.find(module)
        if between is None:  # resumed after an epoch whose state is gone
            teacher = _train(trainings, index, module, forward, note, None)
            between = states.find(module)
        trained[index] = replace(trainings.finish(index, teacher), between=tuple(between or ()))
    return trained


def _after_epoch(epoch: int, index: int, module: nn.Module, states: EpochStates, on_epoch: OnEpoch | None) -> None:
    """Store the state of a teacher after an epoch, if states are recorded, and report the epoch."""
    states.note(epoch, module)
    if on_epoch is not None:
        on_epoch(index, epoch)


def _train(
    trainings: Trainings,
    index: int,
    module: nn.Module,
    forward: Callable[..., Any],
    after_epoch: Callable[[int], None],
    checkpoint: TrainingCheckpoint | None,
) -> Teacher:
    """Train one teacher in ``module``, whose compiled form is ``forward``."""
    module.load_state_dict(trainings.fresh(index).state_dict())
    initial, began = copied(module), time.perf_counter()
    fit(
        module,
        generator=trainings.stream(index),
        forward=forward,
        after_epoch=after_epoch,
        checkpoint=checkpoint,
        **trainings.common,
    )
    return Teacher(initial, copied(module), _seconds(began, checkpoint))


def _train_together(
    trainings: Trainings, indices: Sequence[int], compute: Compute, on_epoch: OnEpoch | None
) -> dict[int, Teacher]:
    """Train teachers side by side, as many at a time as fit into memory."""
    module = on_device(trainings.fresh(indices[0]), compute.device)
    image = torch.zeros(1, *trainings.images.train.images.shape[1:], device=compute.device)
    with autocast(compute.device, compute.precision):
        fitting = fitting_stack(module.eval(), image, trainings.recipe.batch_size) or len(indices)
    trained: dict[int, Teacher] = {}
    for first in range(0, len(indices), fitting):
        group = indices[first : first + fitting]
        modules = [on_device(trainings.fresh(index), compute.device) for index in group]
        initial, began, checkpoint = [copied(one) for one in modules], time.perf_counter(), trainings.checkpoint(group)
        fit_side_by_side(
            modules,
            generators=[trainings.stream(index) for index in group],
            compile_networks=compute.compile_networks,
            after_epoch=partial(_report, trainings.recipe.epochs, indices, first, len(group), on_epoch),
            checkpoint=checkpoint,
            **trainings.common,
        )
        each = round(_seconds(began, checkpoint) / len(group), 3)
        for index, start, one in zip(group, initial, modules, strict=True):
            trained[index] = trainings.finish(index, Teacher(start, copied(one), each))
    return trained


def _report(
    epochs: int, indices: Sequence[int], before: int, together: int, on_epoch: OnEpoch | None, epoch: int
) -> None:
    """Tell of an epoch of several teachers what training one by one would tell after as many epochs."""
    if on_epoch is not None:
        teacher, finished = divmod(before * epochs + together * epoch - 1, epochs)
        on_epoch(indices[teacher], finished + 1)


def _seconds(began: float, checkpoint: TrainingCheckpoint | None) -> float:
    """Of a training that began at a moment of `time.perf_counter`, with what it took before; as in the cache."""
    return round(time.perf_counter() - began + (0.0 if checkpoint is None else checkpoint.earlier), 3)


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
        blank = tuple(copied(module) for _ in range(0 if index in own else num_between))
        teacher = own.get(index) or Teacher(copied(module), copied(module), seconds[str(index)], blank)
        for weights in teacher.states:
            # By name: a file has them in another order than a network.
            ranks.broadcast([weights[name] for name in sorted(weights)], source=index % ranks.count)
        teachers.append(teacher)
    return teachers
