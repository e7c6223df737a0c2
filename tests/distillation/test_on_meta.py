"""An iteration and a checkpoint on the meta device: nothing is read back, and nothing is on another device.

What runs there runs on a GPU without making the host wait, see `ncfm._utils.accelerator`.
"""

import dataclasses

import pytest
import torch

from every_objective import EVERY_OBJECTIVE, OF_SAMPLERS
from ncfm._utils.seeding import Streams
from ncfm.data.whitening import zca
from ncfm.discrepancy.frequencies import SAMPLERS
from ncfm.distillation import Player, checkpoint
from ncfm.distillation.checkpoint import Progress, load_checkpoint, take_checkpoint
from ncfm.distillation.history import Measured
from ncfm.distillation.nonfinite_guard import Guard
from ncfm.distillation.objectives import OBJECTIVES, MeanMatching
from ncfm.distillation.options import Trajectories
from ncfm.distillation.start_range import StartRange
from ncfm.distillation.trajectory_step import DIFFERENTIATIONS, TrajectoryStep
from ncfm.networks import create_network
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import start_images
from ncfm.training.experts import STORED, ExpertPool, Trajectory, flat
from on_device import step_on
from strategies import rng
from tiny import NETWORK
from waits import META, without_waiting


def played(step, iterations=1):
    """The record of the last of some guarded iterations, none of which may wait."""
    guard = Guard(step)
    for _ in range(iterations):
        record = without_waiting(guard)
    assert guard.in_a_row.device == guard.rolled_back.device == META
    return record


def test_every_objective_and_sampler_is_played_here():
    names = {name.split()[0].rstrip(",") for name in EVERY_OBJECTIVE}
    assert names == OBJECTIVES.keys()
    assert {name.split()[1] for name in OF_SAMPLERS} == SAMPLERS.keys()


@pytest.mark.parametrize("name", EVERY_OBJECTIVE)
def test_an_iteration_of_every_objective(images, name):
    step = step_on(META, images, EVERY_OBJECTIVE[name]())
    record = played(step)
    assert all(value.device == META for value in record if value is not None)
    assert {tensor.device for tensor in step.tensors().values()} == {META}


@pytest.mark.parametrize(
    "options",
    [
        {"factor": 2, "augment": "none", "calibration_weight": 0.0},
        {"extractor": "trained", "ascent_steps": 2, "descent_steps": 2},
        {"extractor": "random", "ascent_steps": 0},
        {"extractor": "checkpoint"},
        {"network": "convnet1w8-batch"},
        {"network": "convnet1w8-batch", "batch_norm": "blended"},
        {"classes_per_step": 5},
        {"gradient_chunk_size": 7, "chunk_size": 4},
        {"ipc": (1, 2, 3, 1, 2, 3, 1, 2, 3, 1), "factor": 2},
        {"ipc": (1, 2, 3, 1, 2, 3, 1, 2, 3, 1), "calibration_reduction": "sum"},
        {"calibration_step": "separate"},
    ],
    ids=str,
)
def test_an_iteration_of_every_setting(images, options):
    played(step_on(META, images, OF_SAMPLERS["ncfd mixture"](), **options))


def test_a_later_iteration_has_the_optimizers_moments(images):
    played(step_on(META, images, OF_SAMPLERS["ncfd mixture"]()), iterations=2)


def test_an_iteration_on_whitened_images(images):
    statistics = images.statistics._replace(whitening=zca(images.train.images, images.statistics))
    played(step_on(META, images, MeanMatching(), statistics=statistics))


def test_images_that_stay_in_memory_are_chosen_there(images):
    """Images that do not fit on the device: positions stay on the CPU, and only the chosen images travel."""
    step = step_on(META, images, MeanMatching())
    step.real.split = dataclasses.replace(step.real.split, images=images.train.images)
    played(step)


def test_measurements_are_kept_without_reading_them(images):
    step = step_on(META, images, OF_SAMPLERS["ncfd mixture"]())
    guard = Guard(step)
    measured = Measured(1, 0.5, step(), guard.in_a_row)
    with pytest.raises(RuntimeError, match="meta"):
        measured.numbers()  # is the read: `History.read`, after an interval


def test_a_checkpoint_reads_every_tensor_by_to_host(images, monkeypatch):
    read = []

    def to_host(tensor):
        read.append(tensor.device)
        return torch.zeros(tensor.shape, dtype=tensor.dtype) if tensor.device == META else tensor.clone()

    step = step_on(META, images, OF_SAMPLERS["ncfd mixture"]())
    step()
    monkeypatch.setattr(checkpoint, "to_host", to_host)
    arguments = step.tensors(), step.optimizers(), step.streams
    taken = without_waiting(lambda: take_checkpoint(Progress(iteration=1), *arguments))
    assert {tensor.device.type for tensor in taken.tensors.values()} == {"cpu"}
    assert len(read) == len(taken.tensors)
    assert read.count(META) == len(step.tensors()) + 2 * (1 + len(step.adversary.tensors))  # and Adam's two moments


def test_a_checkpoint_is_loaded_onto_the_device(images, tmp_path):
    from tiny import make_step, random_pool

    on_cpu = make_step(images, random_pool(images), ipc=2)
    on_cpu()
    take_checkpoint(Progress(iteration=1), on_cpu.tensors(), on_cpu.optimizers(), on_cpu.streams).write(tmp_path)
    step = step_on(META, images, OF_SAMPLERS["ncfd mixture"]())
    step.objective.sampler.num_frequencies = 64
    progress = load_checkpoint(tmp_path, step.tensors(), step.optimizers(), step.streams)
    assert progress.iteration == 1
    moments = [s["exp_avg"] for o in step.optimizers().values() for s in o.state_dict()["state"].values()]
    assert len(moments) == 1 + len(step.adversary.tensors)
    assert {moment.device for moment in moments} == {META}
    played(step)


# --- trajectory matching --------------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("differentiation", DIFFERENTIATIONS)
def test_an_iteration_of_trajectory_matching(images, differentiation, soft):
    networks = [create_network(NETWORK, channels=1, num_classes=10, image_size=8, seed=seed) for seed in range(3)]
    states = torch.stack([flat(network) for network in networks]).to(STORED)
    experts = ExpertPool([Trajectory(states, 0.0)], networks[0], statistics=images.statistics, device=META)

    def player(tensor):
        tensor = tensor.to(META).requires_grad_()
        return Player([tensor], torch.optim.Adam([tensor], lr=0.01))

    step = TrajectoryStep(
        experts,
        player(start_images(images, ipc=1, factor=1, init="real", generator=rng(0))),
        player(torch.zeros(10, 10)) if soft else None,
        player(torch.tensor(-4.0)),
        streams=Streams(0),
        augment="color_crop_flip",
        start=StartRange(0, 1),
        formation=Formation(factor=1),
        options=Trajectories(student_steps=2, student_batch_size=6, matched_epochs=1, differentiation=differentiation),
    )
    record = played(step)
    assert {value.device for value in record} == {META}
