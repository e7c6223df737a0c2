"""Steps on any device, and the device that the tests marked ``cuda`` are about."""

import os

import pytest
import torch

from ncfm._utils.seeding import Streams
from ncfm.distillation.budget import Budget
from ncfm.distillation.minmax_step import MinMaxStep
from ncfm.distillation.players import make_players
from ncfm.networks import create_network
from ncfm.synthetic.initialization import start_images
from ncfm.training.teachers import Teacher, TeacherPool
from strategies import rng
from tiny import NETWORK, grouped

# A rehearsal runs the tests of a GPU on the CPU, which then agrees with itself: what is tried are the tests.
DEVICE = torch.device(os.environ.get("NCFM_TEST_DEVICE", "cuda"))
needs_device = pytest.mark.skipif(
    DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="needs an NVIDIA GPU, see tools/gpu_check.sh"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available() or DEVICE.type != "cuda", reason="needs an NVIDIA GPU")


def pool_on(device, images, network=NETWORK, statistics=None):
    """Two teachers of random weights."""

    def make(seed):
        size = {"channels": images.channels, "num_classes": images.num_classes, "image_size": images.image_size}
        return create_network(network, **size, seed=seed)

    ends = [(make(2 * i).state_dict(), make(2 * i + 1).state_dict()) for i in range(2)]
    teachers = [Teacher(start, end, 0.0, (start,)) for start, end in ends]
    return TeacherPool(teachers, make, statistics=statistics or images.statistics, device=device)


def step_on(device, images, objective, *, network=NETWORK, statistics=None, factor=1, ipc=2, **flat_options):
    """A step all of whose tensors are on a device, built as the loop builds it, but for its draws on the CPU."""
    counts = None if isinstance(ipc, int) else ipc
    start = start_images(images, ipc=ipc, factor=factor, init="noise", generator=rng(0))
    players = make_players(start, objective, device, Budget(image_lr=0.01), 1e-3)
    flat_options = {"real_batch_per_class": 4, "factor": factor} | flat_options
    options = grouped("formation", "matching", "extraction", "compute", **flat_options)
    return MinMaxStep(
        images.train.to(device),
        *players,
        objective=objective,
        pool=pool_on(device, images, network, statistics),
        streams=Streams(0),
        counts=counts,
        **options,
    )
