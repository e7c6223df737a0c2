"""Training on a GPU: as on the CPU, stacked as one by one, in bfloat16, and resumed on the CPU."""

import dataclasses

import pytest
import torch

from ncfm._utils.compute import Compute
from ncfm.networks import create_network
from ncfm.networks.registry import on_device
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.fit import fit
from ncfm.training.fit_vmapped import fit_side_by_side
from ncfm.training.pretraining import pretrain
from ncfm.training.recipe import TrainingRecipe
from on_device import DEVICE, needs_cuda, needs_device
from strategies import rng

pytestmark = [pytest.mark.cuda, needs_device]

RECIPE = TrainingRecipe(
    epochs=2, optimizer="sgd", lr=0.02, batch_size=32, schedule="cosine", augment="color_crop", cutmix_probability=0.5
)
NETWORKS = ("convnet2w8", "convnet2w8-batch", "resnet10w8-group", "vit1w8")
CPU = torch.device("cpu")


def network(name, seed, device):
    return on_device(create_network(name, channels=1, num_classes=10, image_size=8, seed=seed), device)


def train(digits, name, device, *, together=False, count=2, recipe=RECIPE, **more):
    """Weights of some networks after a training of 100 digits."""
    data = digits.train.images[:100], digits.train.labels[:100]
    made = [network(name, seed, device) for seed in range(count)]
    common = {"recipe": recipe, "statistics": digits.statistics} | more
    if together:
        fit_side_by_side(made, *data, generators=[rng(i) for i in range(count)], **common)
    else:
        for i, one in enumerate(made):
            fit(one, *data, generator=rng(i), **common)
    return [torch.cat([value.detach().double().flatten().cpu() for value in one.parameters()]) for one in made]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_on_the_device_is_that_on_the_cpu(digits, relative, name):
    for found, expected in zip(train(digits, name, DEVICE), train(digits, name, CPU), strict=True):
        assert relative(found, expected) < 1e-3


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_side_by_side_are_those_trained_one_by_one(digits, relative, name, precision):
    bound = 1e-3 if precision == torch.float32 else 3e-2
    alone, together = (train(digits, name, DEVICE, together=on, count=3, precision=precision) for on in (False, True))
    for found, expected in zip(together, alone, strict=True):
        assert relative(found, expected) < bound


@needs_cuda
def test_a_compiled_pass_is_that_of_the_operators(digits, relative):
    plain, compiled = (
        train(digits, "convnet2w8", DEVICE, together=True, precision=torch.bfloat16, compile_networks=on)
        for on in (False, True)
    )
    for found, expected in zip(compiled, plain, strict=True):
        assert relative(found, expected) < 3e-2


@pytest.mark.parametrize("together", [False, True])
def test_bfloat16_stays_near_float32(digits, relative, together):
    exact = train(digits, "convnet2w8", DEVICE, together=together)
    rounded = train(digits, "convnet2w8", DEVICE, together=together, precision=torch.bfloat16)
    for found, expected in zip(rounded, exact, strict=True):
        assert 0 < relative(found, expected) < 3e-2


@pytest.mark.parametrize("together", [False, True])
def test_a_training_begun_on_the_device_goes_on_on_the_cpu(digits, relative, tmp_path, together):
    kept = tmp_path / "unfinished"
    recipe = dataclasses.replace(RECIPE, epochs=4)

    def stop(epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            digits,
            "convnet2w8",
            DEVICE,
            together=together,
            count=2 if together else 1,
            recipe=recipe,
            after_epoch=stop,
            checkpoint=TrainingCheckpoint(kept),
        )
    options = {"together": together, "count": 2 if together else 1, "recipe": recipe}
    resumed = train(digits, "convnet2w8", CPU, **options, checkpoint=TrainingCheckpoint(kept))
    for found, expected in zip(resumed, train(digits, "convnet2w8", CPU, **options), strict=True):
        assert relative(found, expected) < 2e-3


def test_teachers_side_by_side_fill_a_pool(digits, tmp_path):
    compute = Compute(device=DEVICE, teachers_side_by_side=True)
    data = dataclasses.replace(digits, train=digits.train.first(20))
    options = {"network": "convnet2w8", "num_teachers": 3, "recipe": RECIPE, "cache": tmp_path}
    pool = pretrain(data, compute=compute, **options)
    assert len(pool) == 3
    assert {value.device.type for one in pool._trained for value in one.values()} == {DEVICE.type}
    assert pretrain(data, compute=compute, **options).fingerprints == pool.fingerprints
    assert len(set(pool.fingerprints)) == 3
