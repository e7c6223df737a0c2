"""Epochs of teachers and of stacked networks on the meta device: one read an epoch, by `to_host`, and nothing else.

What runs there runs on a GPU without making the host wait, see `ncfm._utils.accelerator`.
"""

import pytest
import torch

from ncfm.data.normalization import normalize
from ncfm.networks import create_network
from ncfm.networks.registry import on_device
from ncfm.synthetic.soft_labels import SoftTargets, TeacherTargets
from ncfm.training import checkpoint as training_checkpoint
from ncfm.training import fit as fit_module
from ncfm.training import fit_vmapped
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.fit import fit
from ncfm.training.fit_vmapped import fit_side_by_side
from ncfm.training.recipe import TrainingRecipe
from strategies import rng
from waits import META, without_waiting

MIXED = {"augment": "color_crop_cutout_flip_scale_rotate", "cutmix_probability": 0.5, "label_smoothing": 0.1}
RECIPES = {
    "plain": {},
    "mixed": MIXED,
    "adamw": {"optimizer": "adamw", "keep_last": True},
    "one of several": {"augment": "color_flip_crop|scale|rotate"},
}
CASES = [
    *(("convnet1w8", changes) for changes in RECIPES),
    *((name, "mixed") for name in ("convnet1w8-batch", "resnet10w8-batch", "vit2w16", "mlp2w16")),
]


@pytest.fixture
def reads(monkeypatch):
    """How often a training reads from the device; what it reads is 0."""
    seen = []

    def to_host(tensor):
        seen.append(tuple(tensor.shape))
        return torch.zeros(tensor.shape, dtype=tensor.dtype) if tensor.device == META else tensor.clone()

    for module in (fit_module, fit_vmapped, training_checkpoint):
        monkeypatch.setattr(module, "to_host", to_host)
    return seen


def recipe(epochs=1, **changes):
    options = {"optimizer": "sgd", "lr": 0.01, "batch_size": 16, "schedule": "one-cycle", "augment": "crop_flip"}
    return TrainingRecipe(epochs=epochs, **(options | changes))


def network(name, seed=0):
    return on_device(create_network(name, channels=1, num_classes=10, image_size=8, seed=seed), META)


def data(digits, stored=META):
    normalize(torch.zeros(1, 1, 8, 8, device=META), digits.statistics)  # statistics travel once
    return digits.train.images[:32].to(stored), digits.train.labels[:32].to(META)


def soft(kind, count=32):
    probabilities = torch.full((count, 10), -2.302585)
    if kind == "stored":
        return SoftTargets(probabilities, weight=0.5, temperature=2.0)
    return TeacherTargets(lambda x: x.flatten(1)[:, :10].log_softmax(1), "teacher", weight=0.5)


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_an_epoch_of_a_teacher_reads_its_loss_once(digits, reads, name, changes):
    module, (images, labels) = network(name), data(digits)
    common = {"recipe": recipe(**RECIPES[changes]), "statistics": digits.statistics, "generator": rng(0)}
    without_waiting(lambda: fit(module, images, labels, **common))
    assert reads == [()]


@pytest.mark.parametrize("kind", ["stored", "teachers"])
@pytest.mark.parametrize("stored", [META, torch.device("cpu")], ids=["there", "in memory"])
def test_soft_labels_and_images_that_do_not_fit_on_the_device(digits, reads, monkeypatch, kind, stored):
    """Images that do not fit there stay in memory: only the chosen ones travel."""
    module, (images, labels) = network("convnet1w8"), data(digits, stored)
    options = {"recipe": recipe(**MIXED), "statistics": digits.statistics, "soft": soft(kind)}
    monkeypatch.setattr(fit_module, "to_if_it_fits", lambda images, device: images)
    without_waiting(lambda: fit(module, images, labels, generator=rng(0), **options))
    assert reads == [()]


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_a_stacked_epoch_reads_its_losses_once(digits, reads, name, changes):
    modules, (images, labels) = [network(name, seed) for seed in range(2)], data(digits)
    generators = [rng(0), rng(1)]
    common = {"recipe": recipe(**RECIPES[changes]), "statistics": digits.statistics, "generators": generators}
    without_waiting(lambda: fit_side_by_side(modules, images, labels, **common))
    assert reads == [(2,)]


@pytest.mark.parametrize("kind", ["stored", "teachers"])
def test_stacked_networks_learn_from_soft_labels(digits, reads, kind):
    modules, (images, labels) = [network("convnet1w8", seed) for seed in range(2)], data(digits)
    common = {"recipe": recipe(**MIXED), "statistics": digits.statistics, "soft": soft(kind)}
    without_waiting(lambda: fit_side_by_side(modules, images, labels, generators=[rng(0), rng(1)], **common))
    assert reads == [(2,)]


@pytest.mark.parametrize("together", [False, True])
def test_a_checkpoint_of_a_training_reads_by_to_host(digits, reads, tmp_path, together):
    (images, labels), kept = data(digits), TrainingCheckpoint(tmp_path / "unfinished", seconds=0)
    common = {"recipe": recipe(epochs=2), "statistics": digits.statistics, "checkpoint": kept}
    if together:
        modules = [network("convnet1w8", seed) for seed in range(2)]
        without_waiting(lambda: fit_side_by_side(modules, images, labels, generators=[rng(0), rng(1)], **common))
    else:
        module = network("convnet1w8")
        without_waiting(lambda: fit(module, images, labels, generator=rng(0), **common))
    weights = len(list(network("convnet1w8").parameters()))
    streams = 2 if together else 1
    assert len(reads) == 2 + 2 * weights + streams  # two losses; after the first epoch weights, momentum and generators
