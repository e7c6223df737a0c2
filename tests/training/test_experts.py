"""Recorded experts: their trajectories, their files, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call
from torch.testing import assert_close

from few_experts import RECIPE, recorder
from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm.networks import create_network
from ncfm.training.experts import ExpertPool, Trajectory, flat, record_experts
from ncfm.training.fit import fit, predict
from ncfm.training.teachers import network_for


@pytest.fixture(scope="module")
def record(images, tmp_path_factory):
    return recorder(images, tmp_path_factory.mktemp("experts"))


@pytest.fixture(scope="module")
def experts(record):
    return record()


def test_a_trajectory_is_the_training_epoch_by_epoch(images, experts):
    from ncfm._utils.seeding import derive_seed

    network = network_for(images, "convnet1w8", seed=derive_seed(0, "experts", 1))
    states = [flat(network)]
    fit(
        network,
        images.train.images,
        images.train.labels,
        recipe=RECIPE,
        statistics=images.statistics,
        generator=generator(0, "experts", 1, "training"),
        after_epoch=lambda epoch: states.append(flat(network)),
    )
    assert experts.num_epochs == len(states) - 1 == 4
    for epoch, state in enumerate(states):
        assert_close(experts.state(1, epoch), state, rtol=1e-3, atol=1e-7)  # half precision: 11 bits


def test_half_precision_is_far_finer_than_an_epoch(experts):
    for before, after in zip(range(4), range(1, 5), strict=True):
        start, end = experts.state(0, before), experts.state(0, after)
        rounding = 2.0**-12 * end.norm()  # at most half a unit of 11 bits, of every weight
        assert rounding < 0.02 * (end - start).norm()


def test_weights_are_named_views_and_logits_those_of_the_network(images, experts):
    state = experts.state(0, 4)
    network = network_for(images, "convnet1w8", seed=7)
    network.load_state_dict(dict(experts.weights(state)))
    assert torch.equal(flat(network), state)
    x = torch.randn(3, 1, 8, 8, generator=generator(0, "x"))
    assert_close(experts.logits(state, x), network(x))
    state = state.requires_grad_()
    experts.logits(state, x).sum().backward()
    assert state.grad is not None
    assert not any(p.requires_grad for p in experts.network.parameters())
    assert torch.equal(functional_call(experts.network, dict(experts.weights(state)), (x,)), experts.logits(state, x))


def test_experts_learn_and_differ(images, experts):
    def error(state):
        network = network_for(images, "convnet1w8", seed=7)
        network.load_state_dict(dict(experts.weights(state)))
        said = predict(network, images.train.images, statistics=images.statistics)
        return float((said.argmax(1) != images.train.labels).float().mean())

    for expert in range(2):
        assert error(experts.state(expert, 4)) < error(experts.state(expert, 0)) - 0.2
    assert not torch.equal(experts.state(0, 0), experts.state(1, 0))


def test_recorded_experts_are_found_again_one_by_one(record, experts):
    told = []
    again = record(num_experts=3, on_epoch=lambda expert, epoch: told.append((expert, epoch)))
    assert told == [(2, 1), (2, 2), (2, 3), (2, 4)]  # only the third was trained
    for expert in range(2):
        assert torch.equal(again.trajectories[expert].states, experts.trajectories[expert].states)
    assert again.seconds > experts.seconds


def test_a_damaged_recording_is_made_again(images, tmp_path):
    options = {"network": "convnet1w8", "num_experts": 1, "recipe": RECIPE, "cache": tmp_path}
    first = record_experts(images, **options)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(record_experts(images, **options).state(0, 4), first.state(0, 4))


@pytest.mark.parametrize("change", [{"seed": 1}, {"network": "convnet1w4"}])
def test_other_experts_are_others(record, experts, change):
    assert not torch.equal(record(num_experts=1, **change).state(0, 4)[:40], experts.state(0, 4)[:40])


def test_batch_norm_is_refused(images):
    network = create_network("convnet1w8-batch", channels=1, num_classes=10, image_size=8, seed=0)
    with pytest.raises(NcfmError, match="BatchNorm"):
        ExpertPool(
            [Trajectory(flat(network)[None], 0.0)], network, statistics=images.statistics, device=torch.device("cpu")
        )
