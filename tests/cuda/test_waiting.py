"""Nothing waits for the GPU but what says so: PyTorch raises where the host does.

The tests on the meta device find what cannot run without being read. These find transfers that are not asynchronous.
"""

import pytest
import torch

from every_objective import EVERY_OBJECTIVE
from ncfm.distillation.nonfinite_guard import Guard
from ncfm.networks import create_network
from ncfm.networks.registry import on_device
from ncfm.training import fit as fit_module
from ncfm.training import fit_vmapped
from ncfm.training.fit import fit
from ncfm.training.fit_vmapped import fit_side_by_side
from ncfm.training.recipe import TrainingRecipe
from on_device import DEVICE, needs_device, step_on
from strategies import rng

pytestmark = [pytest.mark.cuda, needs_device]

RECIPE = TrainingRecipe(
    epochs=2,
    optimizer="sgd",
    lr=0.01,
    batch_size=16,
    schedule="one-cycle",
    augment="color_crop_cutout_flip_scale_rotate",
    cutmix_probability=0.5,
)
WAITS = "entropic"  # in its eigendecomposition


@pytest.mark.parametrize("name", [name for name in EVERY_OBJECTIVE if not name.startswith(WAITS)])
def test_iterations(images, no_waits, name):
    step = step_on(DEVICE, images, EVERY_OBJECTIVE[name]())
    guard = Guard(step)
    guard()  # kernels are loaded, and statistics travel once
    with no_waits():
        record = guard()
    assert all(bool(torch.isfinite(value)) for value in record if value is not None)
    assert int(guard.rolled_back) == 0


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("name", ["convnet1w8", "convnet1w8-batch"])
def test_epochs(digits, no_waits, monkeypatch, name, together):
    reads = []

    def to_host(tensor):
        if DEVICE.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
        reads.append(tensor.detach().cpu())
        if DEVICE.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        return reads[-1]

    for module in (fit_module, fit_vmapped):
        monkeypatch.setattr(module, "to_host", to_host)
    images, labels = digits.train.images[:64].to(DEVICE), digits.train.labels[:64].to(DEVICE)
    made = [on_device(create_network(name, channels=1, num_classes=10, image_size=8, seed=i), DEVICE) for i in range(2)]
    common = {"recipe": RECIPE, "statistics": digits.statistics}

    def train():
        if together:
            fit_side_by_side(made, images, labels, generators=[rng(0), rng(1)], **common)
        else:
            fit(made[0], images, labels, generator=rng(0), **common)

    train()
    reads.clear()
    with no_waits():
        train()
    assert len(reads) == RECIPE.epochs
