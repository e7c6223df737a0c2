"""One iteration of trajectory matching: the batches of a student."""

from __future__ import annotations

import torch

from ncfm._utils.seeding import Streams
from ncfm.distillation import StartRange
from ncfm.distillation.options import Trajectories
from ncfm.distillation.players import Player
from ncfm.distillation.trajectory_step import TrajectoryStep
from ncfm.synthetic.formation import Formation


def adam(tensor):
    """A player of one tensor."""
    tensor = tensor.requires_grad_()
    return Player([tensor], torch.optim.Adam([tensor], lr=0.01))


def test_batches_pass_over_the_whole_set(images, experts):
    seen = []

    class Spy(TrajectoryStep):
        def student_loss(self, at, draw, *tensors):
            seen.append(at)
            return super().student_loss(at, draw, *tensors)

    step = Spy(
        experts,
        adam(torch.rand(10, 1, 1, 8, 8)),
        None,
        adam(torch.tensor(-3.0)),
        streams=Streams(0),
        augment="none",
        start=StartRange(0, 0),
        formation=Formation(1),
        options=Trajectories(student_steps=4, student_batch_size=5),
    )
    step()
    first = seen[:4]
    assert [len(at) for at in first] == [5, 5, 5, 5]
    assert sorted(torch.cat(first[:2]).tolist()) == sorted(torch.cat(first[2:]).tolist()) == list(range(10))
    assert [at.tolist() for at in seen[4:]] == [at.tolist() for at in reversed(first)]  # replayed: the same, backwards
