"""The one supervised loop: schedules by hand, reproducibility, wiring, mistakes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm._utils.types import Statistics
from ncfm.data.augment import SiameseAugment
from ncfm.data.levels import to_float
from ncfm.networks import create_network
from ncfm.networks.layout import channels_last
from ncfm.synthetic.soft_labels import SoftTargets, TeacherTargets, distillation_loss
from ncfm.training.fit import (
    accuracy,
    epoch_batches,
    fit,
    network_input,
    predict,
    recompute_batch_norms,
    steps_per_epoch,
)
from ncfm.training.recipe import (
    OPTIMIZERS,
    SCHEDULES,
    TrainingRecipe,
    make_optimizer,
    recipe_key,
    recipe_text,
    schedule_factor,
)
from ncfm.training.targets import make_targets, maybe_cutmix, mixed_loss

RECIPE = TrainingRecipe(epochs=2, optimizer="sgd", lr=0.05, batch_size=32, schedule="cosine")
PLAIN = Statistics((0.0,), (1.0,))  # leaves images as they are


def changed(**changes):
    return dataclasses.replace(RECIPE, **changes)


def some_digits(digits, n=10):
    """The first n images of every class, and their labels."""
    picked = (digits.train.offsets[:, None] + torch.arange(n)).flatten()
    return digits.train.images[picked], digits.train.labels[picked]


def new_network(name="convnet1w8", seed=0):
    return create_network(name, channels=1, num_classes=10, image_size=8, seed=seed)


def trained_weights(digits, recipe=RECIPE, *, seed=0, images=None, name="convnet1w8", **options):
    """All parameters and buffers after training on a few digits."""
    network = new_network(name)
    stored, labels = some_digits(digits)
    fit(
        network,
        stored if images is None else images,
        labels,
        recipe=recipe,
        statistics=digits.statistics,
        generator=generator(seed, "training"),
        **options,
    )
    return torch.cat([v.detach().double().flatten() for v in network.state_dict().values()])


# --- schedules --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ("one-cycle", {0.0: 0.0, 0.1: 0.5, 0.2: 1.0, 0.6: 0.5, 1.0: 0.0}),
        ("cosine", {0.0: 1.0, 1 / 3: 0.75, 0.5: 0.5, 2 / 3: 0.25, 1.0: 0.0}),
        ("step", {0.0: 1.0, 0.66: 1.0, 0.67: 0.2, 0.83: 0.2, 0.84: 0.04, 1.0: 0.04}),
        ("half", {0.0: 1.0, 0.49: 1.0, 0.5: 0.1, 1.0: 0.1}),
        ("fifths", {0.0: 1.0, 0.19: 1.0, 0.21: 0.5, 0.5: 0.25, 0.7: 0.125, 0.9: 0.0625, 1.0: 0.0625}),
        ("constant", {0.0: 1.0, 0.5: 1.0, 1.0: 1.0}),
    ],
)
def test_schedule_by_hand(schedule, values):
    for progress, factor in values.items():
        assert schedule_factor(schedule, progress) == pytest.approx(factor, abs=1e-12), progress


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_stay_between_0_and_1_and_begin_and_end_above_0(schedule):
    steps = 10
    optimizer, scheduler = make_optimizer(changed(schedule=schedule), nn.Linear(1, 1), steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    expected = [RECIPE.lr * schedule_factor(schedule, (i + 0.5) / steps) for i in range(steps)]
    assert rates == pytest.approx(expected)
    assert all(0 < rate <= RECIPE.lr for rate in rates)


# --- batches ----------------------------------------------------------------------------------------------


@given(n=st.integers(1, 50), size=st.integers(1, 60), seed=st.integers(0, 20))
def test_an_epoch_visits_every_image_once_but_a_short_rest(n, size, seed):
    batches = list(epoch_batches(n, size, generator(seed)))
    visited = torch.cat(batches).tolist()
    assert len(batches) == steps_per_epoch(n, changed(batch_size=size))
    assert len(set(visited)) == len(visited)
    assert set(visited) <= set(range(n))
    assert len(visited) == (n if n < size else n - n % size)
    assert {len(b) for b in batches} == {min(n, size)}


@given(n=st.integers(1, 50), size=st.integers(1, 60), seed=st.integers(0, 20))
def test_an_epoch_that_keeps_its_last_batch_visits_every_image(n, size, seed):
    batches = list(epoch_batches(n, size, generator(seed), keep_last=True))
    assert len(batches) == steps_per_epoch(n, changed(batch_size=size, keep_last=True)) == math.ceil(n / size)
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert [len(b) for b in batches[:-1]] == [size] * (len(batches) - 1)


def test_the_order_is_new_each_epoch():
    g = generator(0)
    first, second = (torch.cat(list(epoch_batches(64, 8, g))) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.cat(list(epoch_batches(64, 8, generator(0)))))


def test_no_image_is_left_out_for_long():
    g = generator(0)
    seen = torch.cat([torch.cat(list(epoch_batches(10, 4, g))) for _ in range(20)])
    assert set(seen.tolist()) == set(range(10))  # each is left out with probability 1/5 an epoch


def test_fit_makes_the_steps_that_the_schedule_counts(digits, monkeypatch):
    """100 images in batches of 32: three steps, the last four images wait."""
    sizes = []
    network = new_network()
    stored, labels = some_digits(digits)
    fit(
        network,
        stored,
        labels,
        recipe=RECIPE,
        statistics=digits.statistics,
        generator=generator(0),
        forward=lambda x: (sizes.append(len(x)), network(x))[1],
    )
    assert sizes == [32] * 3 * RECIPE.epochs


# --- optimizers -------------------------------------------------------------------------------------------


def one_step(optimizer_name, **changes):
    """A parameter of value 2 after one step with gradient 3 and learning rate 0.1."""
    recipe = changed(optimizer=optimizer_name, lr=0.1, schedule="constant", **changes)
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    optimizer, _ = make_optimizer(recipe, module, 1)
    module.weight.grad = torch.full((1, 1), 3.0)
    optimizer.step()
    return float(module.weight.detach())


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("sgd", {"momentum": 0.0, "weight_decay": 0.0}, 2 - 0.1 * 3),
        ("sgd", {"momentum": 0.0, "weight_decay": 0.5}, 2 - 0.1 * (3 + 0.5 * 2)),
        ("sgd", {"momentum": 0.9, "weight_decay": 0.0}, 2 - 0.1 * (3 + 0.9 * 3)),  # Nesterov looks ahead
        ("adamw", {"weight_decay": 0.0}, 2 - 0.1),  # the first step of Adam is the sign of the gradient
        ("adamw", {"weight_decay": 0.5}, 2 * (1 - 0.1 * 0.5) - 0.1),  # decoupled decay
    ],
)
def test_one_step_by_hand(name, changes, expected):
    assert one_step(name, **changes) == pytest.approx(expected, rel=1e-5)


def test_all_parameters_are_optimised():
    network = new_network()
    optimizer, _ = make_optimizer(RECIPE, network, 1)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in network.parameters()}


# --- learning ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.05), ("adamw", 0.01)])
def test_digits_are_learnt(digits, optimizer, lr):
    network = new_network("convnet1w16")
    stored, labels = some_digits(digits, n=40)
    recipe = changed(optimizer=optimizer, lr=lr, epochs=8)
    fit(network, stored, labels, recipe=recipe, statistics=digits.statistics, generator=generator(0))
    test = digits.require_test()
    # Chance is 0.1.
    assert accuracy(network, test.images, test.labels, statistics=digits.statistics) > 0.75


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augment": "color_crop_cutout_flip_scale_rotate"},
        {"cutmix_probability": 0.5},
        {"optimizer": "adamw", "lr": 0.01, "label_smoothing": 0.1},
    ],
    ids=["plain", "augmented", "cutmix", "adamw"],
)
def test_the_same_seed_gives_the_same_bits(digits, changes):
    recipe = changed(**changes)
    first = trained_weights(digits, recipe)
    torch.rand(7)  # the global state does not enter
    assert torch.equal(first, trained_weights(digits, recipe))
    assert not torch.equal(first, trained_weights(digits, recipe, seed=1))


def test_training_leaves_the_global_random_state_alone(digits):
    before = torch.get_rng_state()
    trained_weights(digits, changed(augment="flip", cutmix_probability=0.5))
    assert torch.equal(before, torch.get_rng_state())


def test_stored_and_float_images_are_the_same_to_training(digits):
    stored, _ = some_digits(digits)
    assert torch.equal(trained_weights(digits), trained_weights(digits, images=to_float(stored)))


def test_training_leaves_the_images_alone(digits):
    stored, _ = some_digits(digits)
    floats = to_float(stored)
    before = floats.clone()
    trained_weights(digits, changed(augment="color_flip", cutmix_probability=1.0), images=floats)
    assert torch.equal(floats, before)


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_decay": 0.1},
        {"label_smoothing": 0.2},
        {"cutmix_probability": 1.0},
        {"augment": "flip"},
        {"momentum": 0.0},
        {"lr": 0.01},
        {"schedule": "constant"},
        {"batch_size": 50},
        {"epochs": 3},
        {"optimizer": "adamw"},
    ],
    ids=lambda c: next(iter(c)),
)
def test_every_number_of_a_recipe_has_an_effect(digits, changes):
    assert not torch.allclose(trained_weights(digits), trained_weights(digits, changed(**changes)), atol=1e-5)


def test_no_epochs_change_nothing(digits):
    untouched = torch.cat([v.double().flatten() for v in new_network().state_dict().values()])
    assert torch.equal(trained_weights(digits, changed(epochs=0)), untouched)


def test_after_epoch_counts_from_one(digits):
    finished = []
    trained_weights(digits, changed(epochs=3), after_epoch=finished.append)
    assert finished == [1, 2, 3]


def test_weights_stay_in_float32_in_a_lower_precision(digits):
    network = new_network()
    stored, labels = some_digits(digits)
    fit(
        network,
        stored,
        labels,
        recipe=RECIPE,
        statistics=digits.statistics,
        generator=generator(0),
        precision=torch.bfloat16,
    )
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in network.parameters())


def test_a_network_in_evaluation_mode_is_trained_in_training_mode(digits):
    """BatchNorm's running statistics move only in training mode."""
    network = new_network("convnet1w8-batch").eval()
    before = network.blocks[1].running_mean.clone()
    stored, labels = some_digits(digits)
    fit(network, stored, labels, recipe=RECIPE, statistics=digits.statistics, generator=generator(0))
    assert not torch.equal(before, network.blocks[1].running_mean)


# --- the loss ---------------------------------------------------------------------------------------------


def fixed_logits():
    return torch.randn(6, 4, generator=generator(0, "logits"))


LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def loss_of(recipe, *, soft=None, order=None, share=1.0):
    targets = make_targets(LABELS, soft, torch.device("cpu"))
    return mixed_loss(fixed_logits(), targets, order, share, recipe)


def one_by_one(logits, targets):
    """Mean over images of -sum_c target log p."""
    return -(targets * torch.log_softmax(logits, 1)).sum(1).mean()


def test_the_loss_is_cross_entropy():
    expected = -torch.log_softmax(fixed_logits(), 1)[torch.arange(6), LABELS].mean()
    torch.testing.assert_close(loss_of(RECIPE), expected)


def test_label_smoothing_by_hand():
    target = 0.8 * nn.functional.one_hot(LABELS, 4) + 0.2 / 4
    torch.testing.assert_close(loss_of(changed(label_smoothing=0.2)), one_by_one(fixed_logits(), target))


def test_cutmix_weighs_both_labels_by_area():
    order = torch.tensor([5, 4, 3, 2, 1, 0])
    log_p = torch.log_softmax(fixed_logits(), 1)
    rows = torch.arange(6)
    expected = -(0.7 * log_p[rows, LABELS] + 0.3 * log_p[rows, LABELS[order]]).mean()
    torch.testing.assert_close(loss_of(RECIPE, order=order, share=0.7), expected)


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_cutmix_mixes_the_asked_share_of_batches(probability, share):
    g, recipe = generator(0), changed(cutmix_probability=probability)
    mixed = [maybe_cutmix(torch.zeros(2, 1, 2, 2), recipe, g)[1] is not None for _ in range(400)]
    # Deviation at 0.25: sqrt(0.25 * 0.75 / 400) = 0.022; four of them.
    assert sum(mixed) / 400 == pytest.approx(share, abs=0.087 if 0 < share < 1 else 0)


# --- soft labels ------------------------------------------------------------------------------------------


def said(temperature=1.0, weight=1.0):
    return SoftTargets(torch.log_softmax(torch.randn(6, 4, generator=generator(1)), 1), weight, temperature)


def test_soft_labels_are_the_targets():
    torch.testing.assert_close(loss_of(RECIPE, soft=said()), one_by_one(fixed_logits(), said().log_probabilities.exp()))


def test_one_hot_soft_labels_are_hard_ones():
    certain = SoftTargets(nn.functional.one_hot(LABELS, 4).float().log().clamp_min(-1e4))
    torch.testing.assert_close(loss_of(RECIPE, soft=certain), loss_of(RECIPE))


def test_soft_and_hard_labels_share_by_weight():
    hard, soft, both = loss_of(RECIPE), loss_of(RECIPE, soft=said(3.0)), loss_of(RECIPE, soft=said(3.0, 0.25))
    torch.testing.assert_close(both, 0.75 * hard + 0.25 * soft)


def test_the_temperature_flattens_both_sides():
    targets = torch.softmax(said().log_probabilities / 4, 1)
    expected = 16 * one_by_one(fixed_logits() / 4, targets)
    torch.testing.assert_close(loss_of(RECIPE, soft=said(4.0)), expected)


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_gradients_of_soft_labels_keep_their_size(temperature):
    # At a high temperature the gradient tends to (z - z_teacher) / C for logits of mean zero (Hinton et al., 2.1).
    z, teacher = (torch.randn(4, generator=generator(i)).double() for i in (2, 3))
    z, teacher = (z - z.mean()).requires_grad_(), teacher - teacher.mean()
    loss = distillation_loss(z, torch.softmax(teacher / temperature, 0), temperature)
    (gradient,) = torch.autograd.grad(loss, z)
    expected = temperature * (torch.softmax(z / temperature, 0) - torch.softmax(teacher / temperature, 0))
    torch.testing.assert_close(gradient, expected)
    if temperature == 20.0:
        torch.testing.assert_close(gradient, (z - teacher) / 4, atol=0.03, rtol=0.05)


def test_soft_labels_are_mixed_as_the_images_are():
    order = torch.tensor([5, 4, 3, 2, 1, 0])
    p = said().log_probabilities.exp()
    expected = one_by_one(fixed_logits(), 0.6 * p + 0.4 * p[order])
    torch.testing.assert_close(loss_of(RECIPE, soft=said(), order=order, share=0.6), expected)


def test_students_side_by_side_have_losses_of_their_own():
    logits = torch.randn(2, 6, 4, generator=generator(4))
    targets = make_targets(LABELS, said(2.0, 0.5), torch.device("cpu"))
    orders = torch.stack([torch.randperm(6, generator=generator(i)) for i in range(2)])
    at = torch.stack([torch.randperm(6, generator=generator(i + 2)) for i in range(2)])
    together = mixed_loss(logits, targets.at(at), orders, torch.tensor([0.3, 0.9]), RECIPE)
    for i, share in enumerate((0.3, 0.9)):
        torch.testing.assert_close(together[i], mixed_loss(logits[i], targets.at(at[i]), orders[i], share, RECIPE))


# --- teachers who are asked of every batch ------------------------------------------------------------------

SAID = torch.log_softmax(torch.randn(10, generator=generator(7)), 0)
MIXED = {"augment": "color_crop_flip", "cutmix_probability": 0.5, "label_smoothing": 0.1}


def always(weight=1.0, temperature=1.0):
    """Teachers who say the same of every image."""
    return TeacherTargets(lambda x: SAID.expand(len(x), 10), "always", weight, temperature)


@pytest.mark.parametrize("changes", [{}, MIXED], ids=["plain", "mixed"])
@pytest.mark.parametrize(("weight", "temperature"), [(1.0, 1.0), (0.3, 4.0), (0.0, 2.0)])
def test_teachers_who_always_say_the_same_are_soft_labels(digits, changes, weight, temperature):
    stored = SoftTargets(SAID.expand(100, 10), weight, temperature)
    asked, known = (trained_weights(digits, changed(**changes), soft=s) for s in (always(weight, temperature), stored))
    assert torch.equal(asked, known)
    assert torch.equal(asked, trained_weights(digits, changed(**changes))) == (weight == 0)


def test_teachers_see_the_batch_as_the_student_does(digits):
    """Augmented and mixed; drawn once more here, from the same generator."""
    recipe = changed(augment="color_crop_flip", cutmix_probability=0.5)
    seen, shown = [], []
    network = new_network()
    stored, labels = some_digits(digits)
    fit(
        network,
        stored,
        labels,
        recipe=recipe,
        statistics=digits.statistics,
        generator=generator(3),
        forward=lambda x: (shown.append(x.clone()), network(x))[1],
        soft=TeacherTargets(lambda x: (seen.append(x.clone()), SAID.expand(len(x), 10))[1], "spy"),
    )
    source, expected, mixed = generator(3), [], 0
    for _ in range(recipe.epochs):
        for batch in epoch_batches(100, 32, source):
            x = network_input(stored[batch], digits.statistics)
            x, order, _ = maybe_cutmix(SiameseAugment(recipe.augment).apply_each(x, source), recipe, source)
            expected.append(x)
            mixed += order is not None
    assert len(seen) == len(shown) == len(expected) == 6
    assert 0 < mixed < 6
    for teacher, student, alone in zip(seen, shown, expected, strict=True):
        assert torch.equal(teacher, student)
        assert torch.equal(teacher, alone)


def test_nothing_that_a_teacher_says_of_a_mixed_image_is_mixed_again():
    order = torch.tensor([5, 4, 3, 2, 1, 0])
    said = torch.log_softmax(torch.randn(6, 4, generator=generator(1)), 1)
    targets = make_targets(LABELS, TeacherTargets(lambda x: said, "", 0.4, 3.0), torch.device("cpu"))
    loss = mixed_loss(fixed_logits(), targets.shown(torch.zeros(6, 1, 2, 2)), order, 0.7, RECIPE)
    log_p, rows = torch.log_softmax(fixed_logits(), 1), torch.arange(6)
    hard = -(0.7 * log_p[rows, LABELS] + 0.3 * log_p[rows, LABELS[order]]).mean()
    taught = 9 * one_by_one(fixed_logits() / 3, torch.softmax(said / 3, 1))
    torch.testing.assert_close(loss, 0.6 * hard + 0.4 * taught)


def test_what_teachers_say_of_students_side_by_side_is_each_ones_own():
    x = torch.randn(2, 3, 1, 2, 2, generator=generator(0))
    targets = TeacherTargets(lambda inputs: torch.log_softmax(inputs.flatten(1), 1), "pixels", temperature=2.0)
    found = targets.probabilities(x)
    assert found.shape == (2, 3, 4)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(found[i, j], torch.softmax(x[i, j].flatten() / 2, 0))


def test_with_weight_1_hard_labels_do_not_enter(digits):
    stored, labels = some_digits(digits)
    weights = []
    for hard in (labels, labels.flip(0)):
        network = new_network()
        options = {"recipe": changed(**MIXED), "statistics": digits.statistics, "soft": always()}
        fit(network, stored, hard, generator=generator(0), **options)
        weights.append(network.classifier.weight.detach().clone())
    assert torch.equal(*weights)


def test_no_gradient_flows_to_the_teacher(digits):
    teacher = new_network(seed=5).eval()
    before = [p.detach().clone() for p in teacher.parameters()]
    said = TeacherTargets(lambda x: torch.log_softmax(teacher(x), 1), "network")
    assert not said.probabilities(torch.zeros(2, 1, 8, 8)).requires_grad
    weights = trained_weights(digits, changed(**MIXED), soft=said)
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(p, q) for p, q in zip(teacher.parameters(), before, strict=True))
    assert not torch.equal(weights, trained_weights(digits, changed(**MIXED)))


def test_a_student_learns_what_its_teacher_knows(digits):
    """The labels given are wrong for every image; the teacher's are right."""
    stored, labels = some_digits(digits, n=40)
    teacher = new_network("convnet1w16")
    recipe = changed(optimizer="adamw", lr=0.01, epochs=8)
    fit(teacher, stored, labels, recipe=recipe, statistics=digits.statistics, generator=generator(0))
    teacher.eval()
    student = new_network("convnet1w16", seed=1)
    said = TeacherTargets(lambda x: torch.log_softmax(teacher(x), 1), "network")
    wrong = (labels + 1) % 10
    fit(student, stored, wrong, recipe=recipe, statistics=digits.statistics, generator=generator(1), soft=said)
    assert accuracy(student, stored, labels, statistics=digits.statistics) > 0.75


# --- the loop, written out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [None, SoftTargets(SAID.expand(100, 10), 0.3, 4.0)], ids=["hard", "soft"])
def test_training_is_this_loop_to_the_bit(digits, soft):
    recipe = changed(**MIXED)
    network, (stored, labels) = new_network(), some_digits(digits)
    source = generator(0, "training")
    optimizer, schedule = make_optimizer(recipe, network, 6)
    for _ in range(recipe.epochs):
        for batch in epoch_batches(100, 32, source):
            x = network_input(stored[batch], digits.statistics)
            x, order, share = maybe_cutmix(SiameseAugment(recipe.augment).apply_each(x, source), recipe, source)
            logits = network(channels_last(x))

            def of(at, logits=logits):
                each = nn.functional.cross_entropy(logits, labels[at], label_smoothing=0.1, reduction="none")
                if soft is not None:
                    each = 0.7 * each + 0.3 * distillation_loss(logits, soft.probabilities()[at], 4.0)
                return each.mean()

            loss = of(batch) if order is None else share * of(batch) + (1 - share) * of(batch[order])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    expected = torch.cat([v.detach().double().flatten() for v in network.state_dict().values()])
    assert torch.equal(trained_weights(digits, recipe, soft=soft), expected)


# --- BatchNorm ----------------------------------------------------------------------------------------------


def batch_norm_network():
    return create_network("convnet2w4-batch", channels=1, num_classes=3, image_size=8, seed=0)


def test_recomputed_statistics_are_those_of_the_batches():
    network, batches = batch_norm_network(), [torch.randn(n, 1, 8, 8, generator=generator(n)) + 2 for n in (5, 9)]
    first = network.blocks[1]
    with torch.no_grad():
        maps = [network.blocks[0](batch) for batch in batches]
        means = [m.mean((0, 2, 3)) for m in maps]
        variances = [m.var((0, 2, 3)) for m in maps]
    momentum = first.momentum
    recompute_batch_norms(network.eval(), iter(batches))
    torch.testing.assert_close(first.running_mean, (means[0] + means[1]) / 2, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(first.running_var, (variances[0] + variances[1]) / 2, atol=1e-6, rtol=1e-4)
    assert (first.momentum, network.training, first.training) == (momentum, False, False)
    again = {k: v.clone() for k, v in network.state_dict().items()}
    recompute_batch_norms(network, iter(batches))  # from the batches alone, whatever was there
    assert all(torch.equal(v, again[k]) for k, v in network.state_dict().items())


def test_nothing_is_recomputed_from_single_images():
    network = batch_norm_network()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    recompute_batch_norms(network, [torch.randn(1, 1, 8, 8)])
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("name", ["convnet3w4-batch", "convnet1w4-batch"])  # the first ends with maps of one pixel
def test_batches_of_one_image_train_a_batch_norm_network(digits, name):
    stored, labels = some_digits(digits)
    network = create_network(name, channels=1, num_classes=10, image_size=8, seed=0)
    before = network.classifier.weight.detach().clone()
    recipe = changed(batch_size=1, epochs=1)
    fit(network, stored[:6], labels[:6], recipe=recipe, statistics=digits.statistics, generator=generator(0))
    assert not torch.equal(before, network.classifier.weight)
    assert bool(torch.isfinite(network.classifier.weight).all())


# --- mistakes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lr", [1e30, math.inf])
def test_a_diverging_training_is_told_with_its_epoch(digits, lr):
    with pytest.raises(NcfmError, match=r"loss became (nan|inf) in epoch 1 of 2; lower the learning rate"):
        trained_weights(digits, changed(lr=lr), name="convnet1w8-none")


def test_images_that_are_not_finite_are_told(digits):
    stored, _ = some_digits(digits)
    images = to_float(stored).fill_(float("nan"))
    with pytest.raises(NcfmError, match="loss became nan in epoch 1"):
        trained_weights(digits, images=images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": -1}, "epochs must be at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"optimizer": "sdg"}, r"Unknown optimizer 'sdg'\. Did you mean 'sgd'\? Known: adamw, heavy-ball, sgd"),
        ({"schedule": "cosin"}, r"Unknown schedule 'cosin'\. Did you mean 'cosine'\?"),
        ({"augment": "flip_colour"}, r"Unknown augmentation 'colour'\. Did you mean 'color'\?"),
    ],
)
def test_wrong_recipes_are_refused(changes, message):
    with pytest.raises(NcfmError, match=message):
        changed(**changes)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimizer_trains_with_every_schedule(digits, optimizer, schedule):
    weights = trained_weights(digits, changed(optimizer=optimizer, schedule=schedule, lr=0.01, epochs=1))
    assert weights.isfinite().all()


# --- prediction -------------------------------------------------------------------------------------------


class Brightest(nn.Module):
    """Classifies an image of one row by its brightest pixel; knows whether it is in training mode."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.modes = []

    def forward(self, images):
        self.modes.append(self.training)
        return images[:, 0, 0] * self.scale


def rows(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


IMAGES = rows([0.9, 0.1, 0.0], [0.2, 0.3, 0.1], [0.1, 0.5, 0.6], [0.0, 0.1, 0.9])


def test_accuracy_by_hand():
    assert accuracy(Brightest(), IMAGES, torch.tensor([0, 1, 2, 2]), statistics=PLAIN) == 1.0
    assert accuracy(Brightest(), IMAGES, torch.tensor([0, 0, 0, 2]), statistics=PLAIN) == 0.5
    assert accuracy(Brightest(), IMAGES, torch.tensor([1, 0, 0, 0]), statistics=PLAIN) == 0.0


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_predictions_do_not_depend_on_the_batch_size(batch_size):
    logits = predict(Brightest(), IMAGES, statistics=PLAIN, batch_size=batch_size)
    assert torch.equal(logits, IMAGES[:, 0, 0])
    assert not logits.requires_grad


@pytest.mark.parametrize("mode", [True, False])
def test_prediction_is_in_evaluation_mode_and_puts_the_mode_back(mode):
    network = Brightest().train(mode)
    predict(network, IMAGES, statistics=PLAIN)
    assert network.modes == [False]
    assert network.training is mode


def test_prediction_takes_stored_images_and_a_compiled_form(digits):
    network = new_network()
    stored, _ = some_digits(digits)
    called = []
    logits = predict(
        network,
        stored,
        statistics=digits.statistics,
        forward=lambda x: (called.append(1), network(x))[1],
    )
    assert called
    expected = predict(network, to_float(stored), statistics=digits.statistics)
    assert torch.equal(logits, expected)


def test_inputs_are_normalised_floats():
    stored = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    statistics = Statistics((0.5,), (0.25,))
    expected = torch.tensor([[[[-2.0, 2.0]]]])
    assert torch.equal(network_input(stored, statistics), expected)
    assert torch.equal(network_input(to_float(stored), statistics), expected)


def test_channels_last_changes_the_layout_only():
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(channels_last(x), x)
    assert channels_last(x).is_contiguous(memory_format=torch.channels_last)


def test_cached_results_keep_their_names_when_a_setting_is_added():
    assert recipe_text(RECIPE) == repr(RECIPE).replace(", keep_last=False", "")
    kept = changed(keep_last=True)
    assert recipe_text(kept) == repr(kept)
    assert ("keep_last", True) in recipe_key(kept)
    assert "keep_last" not in dict(recipe_key(RECIPE))
