"""Evaluation: the last epoch is the result, the test split is only measured on, and one seed is one number."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncfm._utils.checks import NcfmError, RunError
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.data.image_set import ImageSplit, to_float
from ncfm.evaluation import PROTOCOLS, equal_steps, evaluate, get_protocol, interval
from ncfm.evaluation import students as evaluation_run
from ncfm.evaluation.students import Look, looks_after
from ncfm.networks import create_network, on_device
from ncfm.synthetic.soft_labels import SoftTargets, TeacherTargets
from ncfm.training.fit import fit, steps_per_epoch
from ncfm.training.fit_vmapped import fit_side_by_side
from strategies import rng
from tiny import CPU, NETWORK, PROTOCOL, changed, few, grouped, random_pool


@pytest.fixture(scope="module")
def images(digits):
    return few(digits)


@pytest.fixture
def judge(images):
    def evaluate_(train=None, test=None, **options):
        train = images.train.labelled() if train is None else train
        options = {"protocol": PROTOCOL, "network": NETWORK} | options
        return evaluate(
            train,
            images.test if test is None else test,
            num_classes=10,
            statistics=images.statistics,
            **grouped("compute", **options),
        )

    return evaluate_


# --- intervals ----------------------------------------------------------------------------------------------

# Two-sided 95 % points of Student's t by number of values, from the printed tables (three decimals).
STUDENT_T = {2: 12.706, 3: 4.303, 5: 2.776, 10: 2.262, 31: 2.042}


@pytest.mark.parametrize("n", STUDENT_T)
def test_the_interval_by_hand(n):
    values = [0.5 + 0.01 * i for i in range(n)]
    mean = 0.5 + 0.01 * (n - 1) / 2
    std = 0.01 * math.sqrt(n * (n + 1) / 12)  # of 0, 1, ..., n - 1 with n - 1 in the denominator
    found = interval(values)
    half = STUDENT_T[n] * std / math.sqrt(n)
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(std)
    assert found.low == pytest.approx(mean - half, abs=1e-3 * std)
    assert found.high == pytest.approx(mean + half, abs=1e-3 * std)


def test_one_value_has_no_interval():
    found = interval([0.3])
    assert found[:2] == (0.3, 0.0)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_no_values_are_refused():
    with pytest.raises(NcfmError, match="number of values must be at least 1, got 0"):
        interval([])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(-0.5, 0.5))
def test_intervals_move_with_their_values(values, shift):
    a, b = interval(values), interval([v + shift for v in values])
    assert b.mean - a.mean == pytest.approx(shift, abs=1e-9)
    assert b.std == pytest.approx(a.std, abs=1e-9)
    assert a.low <= a.mean <= a.high


# --- protocols ----------------------------------------------------------------------------------------------


def test_the_papers_protocol_is_the_papers():
    # gszfwsb/NCFM, condenser/evaluate.py: AdamW(lr=1e-3) has PyTorch's weight decay, and the loader drops no batch.
    p = get_protocol("ncfm-2025-v2")
    r = p.recipe
    assert (r.epochs, r.optimizer, r.lr, r.batch_size, r.schedule) == (2000, "adamw", 1e-3, 128, "fifths")
    assert (r.augment, r.cutmix_probability, r.weight_decay) == ("dsa:color_flip_crop|scale|rotate", 0.5, 0.01)
    assert (r.keep_last, p.num_runs, p.looks) == (True, 10, 20)


def test_the_protocol_of_dsa_is_that_of_its_authors():
    # VICO-UoE/DatasetCondensation, evaluate_synset: one of six operations a batch, by ParamDiffAug's mode "S".
    p = get_protocol("dsa-2021")
    r = p.recipe
    assert (r.epochs, r.optimizer, r.lr, r.batch_size, r.schedule) == (1000, "heavy-ball", 0.01, 256, "half")
    assert (r.momentum, r.weight_decay, r.cutmix_probability) == (0.9, 5e-4, 0.0)
    assert (r.augment, r.keep_last) == ("dsa:color|crop|cutout|flip|scale|rotate", True)


def test_the_protocol_of_dance_is_that_of_its_authors():
    # Hansong-Zhang/DANCE: arguments/arg_condense.py, train.py, misc/augment.py.
    p = get_protocol("dance-2024")
    r = p.recipe
    assert (r.epochs, r.optimizer, r.lr, r.batch_size, r.schedule) == (1500, "heavy-ball", 0.01, 64, "step")
    assert (r.momentum, r.weight_decay, r.cutmix_probability) == (0.9, 5e-4, 0.5)
    assert (r.augment, r.keep_last, p.looks) == ("dsa:color_flip_crop|scale|rotate", True, 6)


def test_the_first_form_of_the_papers_protocol_stays():
    # Rows were made under it.
    p = get_protocol("ncfm-2025")
    r = p.recipe
    assert (r.epochs, r.optimizer, r.lr, r.batch_size, r.schedule) == (2000, "adamw", 1e-3, 128, "fifths")
    assert (r.augment, r.cutmix_probability, r.weight_decay) == ("color_crop_flip_scale_rotate", 0.5, 5e-4)
    assert p.num_runs == 10


def test_the_brief_protocol_is_pinned():
    p = get_protocol("brief")
    r = p.recipe
    assert (r.epochs, r.optimizer, r.lr, r.batch_size, r.schedule) == (20, "adamw", 1e-3, 16, "one-cycle")
    assert (r.augment, r.cutmix_probability, r.weight_decay) == ("color_crop_flip_scale_rotate", 0.0, 5e-4)
    assert p.num_runs == 3


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_is_found_by_its_name(name):
    assert get_protocol(name) is not None
    assert get_protocol(name) == PROTOCOLS[name]
    assert get_protocol(name).name == name


def test_another_recipe_shows_in_the_name():
    quick = PROTOCOLS["quick"]
    assert get_protocol("quick", epochs=7).name == "quick@epochs=7"
    assert get_protocol("quick", epochs=7).recipe == dataclasses.replace(quick.recipe, epochs=7)
    both = get_protocol("quick", epochs=0, augment="crop")
    assert both.name == "quick@epochs=0,augment=crop"
    assert (both.recipe.epochs, both.recipe.augment) == (0, "crop")


def test_what_is_as_pinned_does_not_show_in_the_name():
    quick = PROTOCOLS["quick"]
    assert get_protocol("quick", epochs=quick.recipe.epochs, augment=quick.recipe.augment) == quick
    # More students or looks measure the same thing more finely.
    finer = get_protocol("quick", num_runs=7, looks=5)
    assert (finer.name, finer.num_runs, finer.looks) == ("quick", 7, 5)
    assert finer.recipe == quick.recipe


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(NcfmError, match=r"Unknown protocol 'quik'. Did you mean 'quick'.*ncfm-2025"):
        get_protocol("quik")


@pytest.mark.parametrize("changes", [{"epochs": -1}, {"augment": "colour"}])
def test_impossible_changes_are_refused(changes):
    with pytest.raises(NcfmError):
        get_protocol("quick", **changes)


def epochs_of_looks(epochs, looks):
    protocol = changed(epochs=epochs, looks=looks)
    return {epoch for epoch in (range(1, epochs + 1) or [0]) if looks_after(protocol, epoch)}


@pytest.mark.parametrize(
    ("epochs", "looks", "expected"),
    [
        *((10, 1, {10}), (10, 2, {5, 10}), (10, 3, {4, 7, 10}), (2, 5, {1, 2}), (10, 0, {10}), (0, 1, {0})),
        (3, 10**9, {1, 2, 3}),
    ],
)
def test_looks_are_at_equal_distances_and_end_with_the_last_epoch(epochs, looks, expected):
    assert epochs_of_looks(epochs, looks) == expected


@given(st.integers(1, 300), st.integers(1, 30))
def test_there_are_as_many_looks_as_asked_for(epochs, looks):
    found = epochs_of_looks(epochs, looks)
    assert max(found) == epochs
    assert min(found) >= 1
    assert len(found) == min(looks, epochs)


def test_equal_steps_by_hand():
    # 400 epochs of 40 images in batches of 64 are 400 steps; 1347 images are 21 batches; 400 / 21 = 19.05.
    protocol = equal_steps(PROTOCOLS["quick"], num_images=1347, reference_images=40)
    assert protocol.recipe.epochs == 20
    assert dataclasses.replace(protocol.recipe, epochs=400) == PROTOCOLS["quick"].recipe
    # 400 epochs of 400 images in batches of 64 are 2400 steps; 50,000 images are 781 batches.
    assert equal_steps(PROTOCOLS["quick"], 50_000, 400).recipe.epochs == 4
    assert equal_steps(changed(epochs=1), 50_000, 10).recipe.epochs == 1  # at least one


@given(st.integers(1, 5000), st.integers(1, 500), st.integers(1, 50))
def test_equal_steps_are_at_least_and_hardly_more(num_images, reference, epochs):
    protocol = changed(epochs=epochs)
    wanted = epochs * steps_per_epoch(reference, protocol.recipe)
    each = steps_per_epoch(num_images, protocol.recipe)
    found = equal_steps(protocol, num_images, reference).recipe.epochs
    assert wanted <= found * each < wanted + each


# --- students -----------------------------------------------------------------------------------------------


def test_one_seed_is_one_result(judge):
    first, again, other = (judge(seed=seed) for seed in (3, 3, 4))
    assert first.accuracies == again.accuracies
    assert first.accuracies != other.accuracies
    assert len(set(first.accuracies)) == 2  # its two students are not one


def test_more_students_keep_the_first_ones(judge):
    assert judge(protocol=changed(num_runs=3)).accuracies[:2] == judge().accuracies


def test_the_result_describes_itself(judge):
    found = judge()
    assert (found.network, found.protocol, found.epochs, found.num_images) == (NETWORK, "tiny", 3, 80)
    assert len(found.accuracies) == len(found.best_accuracies) == 2
    assert found.seconds > 0
    assert found.accuracy_mean == found.interval.mean == pytest.approx(sum(found.accuracies) / 2)
    assert found.accuracy_std == found.interval.std
    assert found.accuracy_best_mean == pytest.approx(sum(found.best_accuracies) / 2)


def test_the_last_epoch_is_the_result_and_the_best_is_a_column_of_its_own(judge, monkeypatch):
    looks = iter([0.1, 0.9, 0.3, 0.2, 0.4, 0.5])
    monkeypatch.setattr(evaluation_run, "measure", lambda *a: Look(next(looks), ((0,),), 0.0))
    found = judge(protocol=changed(looks=3))
    assert found.accuracies == (0.3, 0.5)
    assert found.best_accuracies == (0.9, 0.5)
    assert next(looks, None) is None


def test_with_one_look_best_and_last_agree(judge):
    found = judge()
    assert found.accuracies == found.best_accuracies


def test_looking_more_often_changes_nothing(judge):
    once, often = judge(), judge(protocol=changed(looks=3))
    assert once.accuracies == often.accuracies
    assert all(best >= last for best, last in zip(often.best_accuracies, often.accuracies, strict=True))


def test_an_untrained_student_guesses(judge):
    found = judge(protocol=changed(epochs=0, num_runs=6))
    assert 0.0 < found.accuracy_mean < 0.25  # chance is 0.1
    assert found.accuracies == found.best_accuracies


def test_a_set_with_shuffled_labels_is_worth_chance(judge, images):
    protocol = changed(epochs=15)
    good = judge(protocol=protocol).accuracy_mean
    labels = images.train.labels[torch.randperm(80, generator=rng(0))]
    shuffled = judge(LabelledImages(to_float(images.train.images), labels), protocol=protocol).accuracy_mean
    assert good > 0.6
    assert shuffled < 0.25  # chance is 0.1; the spread over labellings is about 0.05


def test_8_bit_and_float_images_are_the_same_set(judge, images):
    stored = judge(LabelledImages(images.train.images, images.train.labels))
    assert stored.accuracies == judge().accuracies


def test_the_test_split_is_only_measured_on(judge, images, monkeypatch):
    # Students must end with the same weights whatever the test split holds.
    weights = []

    def spy(student, stored, **options):
        weights.append({k: v.clone() for k, v in student.state_dict().items()})
        return torch.zeros(len(stored), 10)

    monkeypatch.setattr(evaluation_run, "predict", spy)
    poison = ImageSplit.of(255 - images.test.images, images.test.labels.flip(0), 10)
    for test in (images.test, poison):
        judge(test=test, protocol=changed(looks=3), network=NETWORK + "-batch")
    clean, poisoned = weights[:6], weights[6:]
    assert len(poisoned) == 6
    for a, b in zip(clean, poisoned, strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(clean[0]["classifier.weight"], clean[1]["classifier.weight"])  # it does train


def test_the_order_of_the_test_split_does_not_matter(judge, images):
    order = torch.randperm(len(images.test), generator=rng(0))
    test = dataclasses.replace(images.test, images=images.test.images[order], labels=images.test.labels[order])
    assert judge(test=test).accuracies == pytest.approx(judge().accuracies, abs=1e-12)


def test_progress_is_told(judge):
    heard = []
    judge(on_epoch=heard.append)
    assert heard == [1, 2, 3, 4, 5, 6]  # 2 students of 3 epochs
    heard.clear()
    judge(on_epoch=heard.append, side_by_side=True)
    assert heard == [2, 4, 6]


# --- side by side -------------------------------------------------------------------------------------------


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


# --- mistakes -----------------------------------------------------------------------------------------------


def broken(train, **changes):
    return train._replace(**{key: change(getattr(train, key)) for key, change in changes.items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": lambda x: x[:, :, :6, :6]}, r"images of shape \(1, 6, 6\), the test split of \(1, 8, 8\)"),
        ({"images": lambda x: x.repeat(1, 3, 1, 1)}, r"\(3, 8, 8\)"),
        ({"images": lambda x: x.index_fill(0, torch.tensor([3]), torch.nan)}, "64 values that are not finite"),
        ({"labels": lambda y: y.int()}, "must be int64 class indices.*labels.long"),
        ({"labels": lambda y: y + 1}, r"must lie in 0..9 .* got 1..10"),
        ({"labels": lambda y: y - 1}, r"got -1..8"),
    ],
)
def test_a_set_that_does_not_fit_is_told(judge, images, changes, message):
    with pytest.raises(NcfmError, match=message):
        judge(broken(images.train.labelled(), **changes))


@pytest.mark.parametrize("cut", [slice(0, 70), slice(0, 0)], ids=["fewer", "none"])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_as_many_labels_as_images(judge, images, part, cut):
    with pytest.raises(NcfmError, match="labels"):
        judge(broken(images.train.labelled(), **{part: lambda x: x[cut]}))


def test_no_students_are_refused(judge):
    with pytest.raises(NcfmError, match="num_runs must be at least 1"):
        judge(protocol=changed(num_runs=0))


def test_an_unknown_network_is_told(judge):
    with pytest.raises(NcfmError, match="Unknown network 'convnot'"):
        judge(network="convnot")
