"""Students side by side: the same as one by one."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ncfm._utils.checks import NcfmError, RunError
from ncfm._utils.types import Statistics
from ncfm.networks import create_network, on_device
from ncfm.synthetic.soft_labels import SoftTargets, TeacherTargets
from ncfm.training.fit import fit
from ncfm.training.fit_vmapped import fit_side_by_side
from strategies import rng
from tiny import CPU, NETWORK, PROTOCOL, changed, random_pool


@pytest.mark.parametrize("network", [NETWORK, "convnet1w8-batch"])
def test_side_by_side_is_one_by_one(judge, images, network):
    recipe = dataclasses.replace(PROTOCOL.recipe, epochs=4, augment="color_crop_flip", cutmix_probability=0.5)
    options = {"protocol": dataclasses.replace(PROTOCOL, recipe=recipe, num_runs=3), "network": network}
    alone, together = (judge(side_by_side=on, **options) for on in (False, True))
    # Rounding tips test images that lie between two classes; before a batch norm it also moves the biases, whose
    # gradients are nothing but rounding, and with them what the running means have to follow.
    assert together.accuracies == pytest.approx(alone.accuracies, abs=0.01 if network == NETWORK else 0.03)
    assert len(set(together.accuracies)) > 1  # each student its own weights and its own random numbers


def test_side_by_side_trains_the_same_weights(images):
    recipe = dataclasses.replace(PROTOCOL.recipe, epochs=3, augment="color_crop_flip", cutmix_probability=0.5)
    stored, labels = images.train.images, images.train.labels
    options = {"recipe": recipe, "statistics": images.statistics}

    def students():
        return [create_network(NETWORK, channels=1, num_classes=10, image_size=8, seed=i) for i in range(3)]

    together, alone = students(), students()
    fit_side_by_side(together, stored, labels, generators=[rng(i) for i in range(3)], **options)
    for i, network in enumerate(alone):
        fit(network, stored, labels, generator=rng(i), **options)
        for name, value in network.state_dict().items():
            if name != "blocks.0.bias":  # without effect under a norm: its gradient is rounding, or exactly zero
                torch.testing.assert_close(together[i].state_dict()[name], value, atol=2e-3, rtol=2e-2)
    assert not torch.equal(together[0].classifier.weight, together[1].classifier.weight)


def test_side_by_side_asks_the_teachers_what_each_would_alone(images):
    recipe = dataclasses.replace(PROTOCOL.recipe, epochs=3, augment="color_crop_flip", cutmix_probability=0.5)
    soft = TeacherTargets(random_pool(images).relabel, "random", 0.8, 2.0)
    options = {"recipe": recipe, "statistics": images.statistics, "soft": soft}

    def students():
        return [create_network(NETWORK, channels=1, num_classes=10, image_size=8, seed=i) for i in range(3)]

    together, alone = students(), students()
    stored, labels = images.train.images, images.train.labels
    fit_side_by_side(together, stored, labels, generators=[rng(i) for i in range(3)], **options)
    for i, network in enumerate(alone):
        fit(network, stored, labels, generator=rng(i), **options)
        for name, value in network.state_dict().items():
            if name != "blocks.0.bias":  # see above
                torch.testing.assert_close(together[i].state_dict()[name], value, atol=2e-3, rtol=2e-2)


def test_side_by_side_takes_colour_images(images):
    # Channels-last weights, in which colour images come out of a convolution in a layout that vmap cannot normalise.
    stored, labels = images.train.images.expand(-1, 3, -1, -1), images.train.labels
    networks = [
        on_device(create_network("convnet2w16", channels=3, num_classes=10, image_size=8, seed=i), CPU)
        for i in range(2)
    ]
    before = [network.classifier.weight.clone() for network in networks]
    recipe = dataclasses.replace(PROTOCOL.recipe, epochs=1)
    options = {"recipe": recipe, "statistics": Statistics((0.5,) * 3, (0.3,) * 3)}
    fit_side_by_side(networks, stored, labels, generators=[rng(i) for i in range(2)], **options)
    assert all(not torch.equal(a, n.classifier.weight) for a, n in zip(before, networks, strict=True))


class Tied(torch.nn.Module):
    """Two layers of one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.classifier = torch.nn.Linear(64, 64), torch.nn.Linear(64, 10)
        self.second = torch.nn.Linear(64, 64)
        self.second.weight = self.first.weight

    def forward(self, images):
        return self.classifier(torch.relu(self.second(torch.relu(self.first(images.flatten(1))))))


def test_tied_weights_train_side_by_side(images):
    torch.manual_seed(0)
    together, alone = Tied(), Tied()
    alone.load_state_dict(together.state_dict())
    stored, labels = images.train.images, images.train.labels
    options = {"recipe": dataclasses.replace(PROTOCOL.recipe, epochs=2), "statistics": images.statistics}
    fit_side_by_side([together], stored, labels, generators=[rng(0)], **options)
    fit(alone, stored, labels, generator=rng(0), **options)
    assert together.first.weight is together.second.weight
    torch.testing.assert_close(together.state_dict(), alone.state_dict(), atol=1e-4, rtol=1e-3)


def test_untrained_students_side_by_side(judge):
    protocol = dataclasses.replace(PROTOCOL, recipe=dataclasses.replace(PROTOCOL.recipe, epochs=0))
    assert judge(protocol=protocol, side_by_side=True).accuracies == judge(protocol=protocol).accuracies


def test_a_diverging_student_is_named(images):
    networks = [create_network(NETWORK, channels=1, num_classes=10, image_size=8, seed=i) for i in range(2)]
    with torch.no_grad():
        networks[1].classifier.weight.fill_(float("nan"))
    with pytest.raises(RunError, match=r"networks \[1\] is not finite in epoch 1"):
        fit_side_by_side(
            networks,
            images.train.images,
            images.train.labels,
            recipe=PROTOCOL.recipe,
            statistics=images.statistics,
            generators=[rng(0), rng(1)],
        )


@pytest.mark.parametrize("side_by_side", [False, True])
def test_students_of_teachers_who_always_say_the_same_are_those_of_soft_labels(judge, side_by_side):
    said = torch.log_softmax(torch.randn(10, generator=rng(0)), 0)
    asked = TeacherTargets(lambda x: said.expand(len(x), 10), "always", 0.5, 2.0)
    known = SoftTargets(said.expand(80, 10), 0.5, 2.0)
    options = {"protocol": changed(cutmix_probability=0.5), "side_by_side": side_by_side}
    accuracies = judge(soft=asked, **options).accuracies
    assert accuracies == judge(soft=known, **options).accuracies
    assert accuracies != judge(**options).accuracies


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"weight": 2.0}, "weight of the soft labels"), ({"temperature": -1.0}, "temperature must be above 0")],
)
def test_teachers_that_cannot_be_used_so_are_told(judge, changes, message):
    with pytest.raises(NcfmError, match=message):
        judge(soft=TeacherTargets(lambda x: x, "", **changes))


def test_the_given_set_and_the_callers_random_numbers_are_left_alone(judge, images):
    train = images.train.labelled()
    before, state = train.images.clone(), torch.random.get_rng_state()
    judge(train)
    assert torch.equal(train.images, before)
    assert torch.equal(torch.random.get_rng_state(), state)
