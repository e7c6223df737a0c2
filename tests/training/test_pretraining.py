"""Teachers trained side by side are those trained in turn, cached, resumed and told of alike."""

import dataclasses

import pytest
import torch

from ncfm._utils.compute import Compute
from ncfm.distillation import Interrupted
from ncfm.training import pretraining
from ncfm.training.pretraining import pretrain
from ncfm.training.recipe import TrainingRecipe
from tiny import few

RECIPE = TrainingRecipe(
    epochs=2, optimizer="sgd", lr=0.05, batch_size=16, schedule="cosine", augment="crop_flip", cutmix_probability=0.5
)
TOGETHER = Compute(teachers_side_by_side=True)


@pytest.fixture(scope="module")
def images(digits):
    return few(digits, 4)


@pytest.fixture
def stacks(monkeypatch):
    """How many teachers are trained at a time, pass by pass."""
    sizes, train = [], pretraining.fit_side_by_side
    monkeypatch.setattr(
        pretraining, "fit_side_by_side", lambda modules, **k: (sizes.append(len(modules)), train(modules, **k))[1]
    )
    return sizes


def train_pool(images, compute=TOGETHER, num_teachers=3, network="convnet1w8", recipe=RECIPE, **more):
    return pretrain(images, network=network, num_teachers=num_teachers, recipe=recipe, compute=compute, **more)


def weights(pool):
    return [(pool._initial[i], pool._trained[i]) for i in range(len(pool))]


@pytest.mark.parametrize("network", ["convnet1w8", "convnet1w8-batch"])
def test_teachers_side_by_side_are_those_trained_in_turn(images, stacks, tmp_path, network):
    together = train_pool(images, network=network, cache=tmp_path / "together")
    alone = train_pool(images, Compute(), network=network, cache=tmp_path / "alone")
    assert stacks == [3]
    for (start, end), (other_start, other_end) in zip(weights(together), weights(alone), strict=True):
        assert all(torch.equal(start[name], other_start[name]) for name in start)
        torch.testing.assert_close(end, other_end, atol=1e-5, rtol=1e-4)
    assert sorted(path.name for path in (tmp_path / "together").iterdir()) == sorted(
        path.name for path in (tmp_path / "alone").iterdir()
    )


def test_only_missing_teachers_are_trained(images, stacks, tmp_path):
    first = train_pool(images, num_teachers=1, cache=tmp_path)
    assert not stacks  # one is trained as it is
    pool = train_pool(images, num_teachers=3, cache=tmp_path)
    assert stacks == [2]
    again = train_pool(images, num_teachers=3, cache=tmp_path)
    assert stacks == [2]
    assert all(torch.equal(pool._trained[0][name], first._trained[0][name]) for name in pool._trained[0])
    assert all(torch.equal(pool._trained[2][name], again._trained[2][name]) for name in pool._trained[2])


def test_an_interrupted_pass_goes_on(images, stacks, tmp_path):
    def stop(teacher, epoch):
        raise Interrupted("enough")

    whole = train_pool(images, cache=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train_pool(images, cache=tmp_path / "cut", on_epoch=stop)
    assert len(list((tmp_path / "cut").glob("unfinished-*"))) == 1
    told = []
    resumed = train_pool(images, cache=tmp_path / "cut", on_epoch=lambda *at: told.append(at))
    assert told == [(2, 2)]  # the second epoch of three teachers of two epochs
    assert not list((tmp_path / "cut").glob("unfinished-*"))
    for (_, one), (_, other) in zip(weights(whole), weights(resumed), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_pass_has_as_many_teachers_as_fit_into_memory(images, stacks, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "fitting_stack", lambda *_: 2)
    told = []
    pool = train_pool(images, cache=tmp_path / "cut", on_epoch=lambda *at: told.append(at))
    assert stacks == [2, 1]
    assert told == [(0, 2), (1, 2), (2, 1), (2, 2)]  # as far as one by one after 2, 4, 5 and 6 epochs
    whole = train_pool(images, cache=tmp_path / "whole")
    torch.testing.assert_close(pool._trained, whole._trained, atol=1e-5, rtol=1e-4)


def test_networks_from_outside_are_trained_in_turn(images, stacks, monkeypatch):
    from ncfm.networks import registry

    monkeypatch.setitem(registry._registered, "mine", lambda **k: registry.create_network("convnet1w8", seed=0, **k))
    pool = train_pool(images, network="mine", recipe=dataclasses.replace(RECIPE, epochs=1))
    assert len(pool) == 3
    assert not stacks
