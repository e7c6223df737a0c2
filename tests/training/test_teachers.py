"""Teachers: the cache by content, blending, draws, and that no test image enters."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import derive_seed, generator
from ncfm._utils.types import Statistics
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.networks import create_network
from ncfm.training import pretraining
from ncfm.training.pretraining import pretrain, teacher_key
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import Teacher, TeacherPool, blend, network_for
from tiny import few, grouped

CPU = torch.device("cpu")
RECIPE = TrainingRecipe(epochs=1, optimizer="sgd", lr=0.05, batch_size=16, schedule="cosine", augment="flip")


@pytest.fixture(scope="module")
def images(digits):
    return few(digits, 4)


def train_pool(images, **changes):
    options = {"network": "convnet1w8", "num_teachers": 1, "recipe": RECIPE} | changes
    return pretrain(images, **grouped("compute", **options))


def same(a, b):
    """Whether two dictionaries of weights are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def same_pool(a, b):
    return len(a) == len(b) and all(
        same(x, y) for x, y in zip(a._initial + a._trained, b._initial + b._trained, strict=True)
    )


@pytest.fixture
def trainings(monkeypatch):
    """Counts the teachers trained from here on."""
    count = []
    fit = pretraining.fit
    monkeypatch.setattr(pretraining, "fit", lambda *a, **k: (count.append(1), fit(*a, **k))[1])
    return count


# --- the cache --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["convnet1w8", "convnet1w8-batch"])
def test_a_cached_teacher_is_the_trained_one(images, trainings, network, own_cache):
    first = train_pool(images, network=network)
    second = train_pool(images, network=network)
    assert len(trainings) == 1
    assert same_pool(first, second)
    assert first.seconds == pytest.approx(second.seconds, abs=1e-3)
    assert sorted(p.suffix for p in (own_cache / "teachers").iterdir()) == [".json", ".safetensors"]


def test_a_pool_of_3_takes_the_2_of_an_earlier_pool(images, trainings, tmp_path):
    two = train_pool(images, num_teachers=2)
    three = train_pool(images, num_teachers=3)
    assert len(trainings) == 3
    assert all(same(a, b) for a, b in zip(two._trained, three._trained[:2], strict=True))
    # The third is the one that a pool trained at a time would have.
    assert same_pool(three, train_pool(images, num_teachers=3, cache=tmp_path))


def test_teachers_of_a_pool_differ(images):
    pool = train_pool(images, num_teachers=2)
    assert not same(pool._initial[0], pool._initial[1])
    assert not same(pool._trained[0], pool._trained[1])
    assert not same(pool._initial[0], pool._trained[0])


def test_a_teacher_starts_where_its_seed_says(images):
    seed = derive_seed(4, "teachers", 1)
    fresh = create_network("convnet1w8", channels=1, num_classes=10, image_size=8, seed=seed)
    assert same(train_pool(images, num_teachers=2, seed=4)._initial[1], fresh.state_dict())


def test_the_key_changes_with_everything_that_determines_a_teacher(images, digits):
    def key(images=images, network="convnet1w8", recipe=RECIPE, seed=0, precision=torch.float32):
        return teacher_key(images, network, recipe, seed, precision)

    pixel = images.train.images.clone()
    pixel[3, 0, 4, 4] ^= 1
    labels = images.train.labels.clone()
    labels[3] = 1
    recipes = [
        dataclasses.replace(RECIPE, **{f.name: value})
        for f in dataclasses.fields(RECIPE)
        for value in [{"optimizer": "adamw", "schedule": "step", "augment": "none"}.get(f.name, 0.75)]
        if f.name not in ("epochs", "batch_size")
    ]
    keys = [
        key(),
        key(few(digits, 5)),
        key(dataclasses.replace(images, train=ImageSplit.of(pixel, images.train.labels, 10))),
        key(dataclasses.replace(images, train=ImageSplit.of(images.train.images, labels, 10))),
        key(network="convnet1w9"),
        key(seed=1),
        key(precision=torch.bfloat16),
        key(recipe=dataclasses.replace(RECIPE, epochs=2)),
        key(recipe=dataclasses.replace(RECIPE, batch_size=17)),
        *[key(recipe=r) for r in recipes],
    ]
    assert len(recipes) == len(dataclasses.fields(RECIPE)) - 2
    assert len(set(keys)) == len(keys)
    assert key() == key(few(digits, 4)) == key(dataclasses.replace(images, name="renamed"))


def test_another_seed_trains_another_teacher(images, trainings):
    assert not same_pool(train_pool(images, seed=0), train_pool(images, seed=1))
    assert len(trainings) == 2


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".safetensors", lambda p: p.write_bytes(p.read_bytes()[:-9])),
        (".safetensors", lambda p: p.write_bytes(b"")),
        (".safetensors", lambda p: p.unlink()),
        (".json", lambda p: p.write_text("{")),
        (".json", lambda p: p.write_text("{}")),
        (".json", lambda p: p.write_text("[]")),
        (".json", lambda p: p.unlink()),
    ],
    ids=["cut", "empty", "gone", "no json", "no seconds", "a list", "facts gone"],
)
def test_a_damaged_cache_is_trained_again_and_mended(images, trainings, tmp_path, suffix, damage):
    first = train_pool(images, cache=tmp_path)
    (path,) = tmp_path.glob(f"*{suffix}")
    damage(path)
    assert same_pool(first, train_pool(images, cache=tmp_path))
    assert len(trainings) == 2
    train_pool(images, cache=tmp_path)
    assert len(trainings) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(images, trainings, tmp_path):
    (tmp_path / "file").write_text("in the way of the folder")
    cache = tmp_path / "file" / "teachers"
    assert same_pool(train_pool(images, cache=cache), train_pool(images, cache=cache))
    assert len(trainings) == 2


def test_epochs_are_told_but_not_of_cached_teachers(images):
    """What is told can end a piece of work: it must have done something."""
    recipe = dataclasses.replace(RECIPE, epochs=3)
    for expected in ([(0, 1), (0, 2), (0, 3)], []):
        told = []
        train_pool(images, recipe=recipe, on_epoch=lambda *at, told=told: told.append(at))
        assert list(dict.fromkeys(told)) == expected


def test_a_pool_needs_a_teacher(images):
    with pytest.raises(NcfmError, match="num_teachers must be at least 1, got 0"):
        train_pool(images, num_teachers=0)


# --- no test image enters ---------------------------------------------------------------------------------


def test_the_test_split_does_not_enter(images, tmp_path):
    """Replaced by garbage, or gone: the same key and the same weights, bit for bit."""
    expected = train_pool(images)
    noise = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8, generator=generator(0))
    garbage = ImageSplit.of(noise, torch.arange(30) % 10, 10)
    for number, test in enumerate((garbage, None)):
        poisoned = ImageSet(images.name, images.train, test, images.class_names)
        assert same_pool(expected, train_pool(poisoned, cache=tmp_path / str(number)))
        assert poisoned.fingerprint == images.fingerprint
        assert poisoned.statistics == images.statistics


def test_a_test_split_that_must_not_be_read_is_not(images):
    class Trap:
        def __getattr__(self, name):
            raise AssertionError(f"the test split's {name} was read")

    train_pool(ImageSet(images.name, images.train, Trap(), images.class_names))


# --- blending ---------------------------------------------------------------------------------------------


def made_up_weights(network, seed):
    """Random weights for a network; whole numbers for integer buffers."""
    g = generator(seed, "weights")
    return {
        name: torch.randn(v.shape, generator=g) if v.is_floating_point() else torch.full_like(v, seed)
        for name, v in network.state_dict().items()
    }


def new_network(norm="batch"):
    return create_network(f"convnet1w8-{norm}", channels=1, num_classes=10, image_size=8, seed=0)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_blending_by_hand(beta, norm):
    network = new_network(norm)
    initial, trained = made_up_weights(network, 1), made_up_weights(network, 2)
    places = {name: value.data_ptr() for name, value in network.state_dict().items()}
    blend(network, initial, trained, beta)
    for name, value in network.state_dict().items():
        assert value.data_ptr() == places[name]  # in place: compiled code keeps pointing there
        if not value.is_floating_point():
            assert torch.equal(value, trained[name])
        elif beta in (0.0, 1.0):
            assert torch.equal(value, initial[name] if beta else trained[name])
        else:
            expected = beta * initial[name].double() + (1 - beta) * trained[name].double()
            torch.testing.assert_close(value.double(), expected, atol=1e-6, rtol=1e-6)
    kinds = {name.rsplit(".")[-1] for name in network.state_dict()}
    assert ("running_mean" in kinds) == (norm == "batch")  # buffers were among them


def test_blending_leaves_its_ends_alone():
    network = new_network()
    initial, trained = made_up_weights(network, 1), made_up_weights(network, 2)
    blend(network, initial, trained, 0.5)
    assert same(initial, made_up_weights(network, 1))
    assert same(trained, made_up_weights(network, 2))


# --- draws ------------------------------------------------------------------------------------------------


def constant_pool(num_teachers, *, norm="batch"):
    """Teacher i has all weights i at first and i + 1/2 at the end: a drawn weight tells teacher and beta."""
    network = new_network(norm)

    def filled(value):
        return {
            k: torch.full_like(v, value) if v.is_floating_point() else v.clone()
            for k, v in network.state_dict().items()
        }

    return TeacherPool(
        [Teacher(filled(i), filled(i + 0.5), 1.5) for i in range(num_teachers)],
        lambda seed: new_network(norm),
        statistics=Statistics((0.5,), (0.25,)),
        device=CPU,
    )


def weight_of(network):
    return float(network.classifier.bias[0])


def test_draws_are_uniform_over_teachers_and_beta():
    pool, g, n = constant_pool(3), generator(0), 1500
    drawn = torch.tensor([weight_of(pool.draw(g)) for _ in range(n)]).double()
    index = drawn.floor()
    beta = 1 - 2 * (drawn - index)
    counts = torch.bincount(index.long(), minlength=3).double()
    assert float(((counts - n / 3) ** 2 / (n / 3)).sum()) < 13.8  # 2 degrees of freedom, p = 0.001
    tenths = torch.histc(beta, bins=10, min=0, max=1)
    assert float(((tenths - n / 10) ** 2 / (n / 10)).sum()) < 27.9  # 9 degrees of freedom, p = 0.001
    assert abs(float(torch.corrcoef(torch.stack([index, beta]))[0, 1])) < 4 / n**0.5


def test_extractors_can_be_trained_teachers_as_they_ended():
    pool, rng = constant_pool(3), generator(0, "draws")
    found = {weight_of(pool.draw(rng, "trained")) for _ in range(60)}
    assert found == {0.5, 1.5, 2.5}


def test_the_extractor_that_was_drawn_is_known():
    pool, rng = constant_pool(3), generator(0, "draws")
    assert pool.drawn is None
    for kind in ("blended", "trained"):
        for _ in range(10):
            weight, drawn = weight_of(pool.draw(rng, kind)), pool.drawn
            assert weight == pytest.approx(drawn.teacher + 0.5 * (1 - drawn.blend), abs=1e-6)
            assert kind == "blended" or drawn.blend == 0
    pool.draw_trained(rng)  # for the calibration
    pool.trained(0)
    assert pool.drawn is drawn
    pool.blended_at(1, 0.25)
    assert pool.drawn == (1, 0.25)


def test_extractors_can_be_fresh_networks(images):
    pool = train_pool(images, num_teachers=1)
    rng = generator(0, "draws")
    pool.draw(rng)
    rng = generator(0, "draws")
    drawn = [{k: v.clone() for k, v in pool.draw(rng, "random").state_dict().items()} for _ in range(2)]
    assert pool.drawn is None
    assert not same(*drawn)
    seed = int(torch.randint(2**62, (), generator=generator(0, "draws")))
    assert same(drawn[0], network_for(images, "convnet1w8", seed=seed).state_dict())


def test_an_unknown_extractor_is_told():
    with pytest.raises(NcfmError, match="Did you mean 'blended'"):
        constant_pool(1).draw(generator(0, "draws"), "blendid")


def test_trained_draws_are_uniform_and_not_blended():
    pool, g = constant_pool(3), generator(0)
    drawn = [weight_of(pool.draw_trained(g)) for _ in range(600)]
    assert set(drawn) == {0.5, 1.5, 2.5}
    counts = torch.tensor([drawn.count(v) for v in sorted(set(drawn))]).double()
    assert float(((counts - 200) ** 2 / 200).sum()) < 13.8


def test_draws_are_reproducible():
    pool = constant_pool(3)
    first, second = ([weight_of(pool.draw(g)) for _ in range(20)] for g in (generator(1), generator(1)))
    assert first == second
    assert len(set(first)) == 20


def test_a_teacher_can_be_asked_for():
    pool = constant_pool(3)
    assert [weight_of(pool.trained(i)) for i in range(3)] == [0.5, 1.5, 2.5]
    assert len(pool) == 3
    assert pool.seconds == 4.5


def test_the_live_networks_are_the_same_objects_and_apart():
    pool = constant_pool(2)
    blended, whole = pool.draw(generator(0)), pool.draw_trained(generator(0))
    assert blended is pool.draw(generator(1))
    assert whole is pool.draw_trained(generator(1)) is pool.trained(0)
    assert blended is not whole
    before = weight_of(blended)
    pool.trained(1)
    assert weight_of(blended) == before


@pytest.mark.parametrize("draw", ["draw", "draw_trained"])
def test_live_networks_are_frozen_and_in_evaluation_mode(draw):
    pool = constant_pool(2, norm="batch")
    network = getattr(pool, draw)(generator(0))
    assert not any(module.training for module in network.modules())
    assert not any(p.requires_grad for p in network.parameters())
    before = {k: v.clone() for k, v in network.state_dict().items()}
    x = torch.randn(4, 1, 8, 8, generator=generator(0)).requires_grad_()
    network(x).square().sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in network.parameters())
    assert same(before, network.state_dict())  # BatchNorm's statistics have not moved


def test_classify_is_the_teacher_drawn_last():
    pool = constant_pool(2)
    x = torch.randn(2, 1, 8, 8, generator=generator(0))
    network = pool.trained(1)
    assert torch.equal(pool.classify(x), network(x))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_batch_is_relabelled_by_the_mean_of_all_trained_teachers(norm):
    def make(seed):
        return create_network(f"convnet1w4-{norm}", channels=1, num_classes=3, image_size=8, seed=seed)

    teachers_ = [Teacher(make(2 * i).state_dict(), make(2 * i + 1).state_dict(), 0.0) for i in range(3)]
    pool = TeacherPool(teachers_, make, statistics=Statistics((0.5,), (0.25,)), device=CPU)
    images = torch.rand(5, 1, 8, 8, generator=generator(0))
    inputs = (images - 0.5) / 0.25
    mean = sum(torch.softmax(pool.trained(i)(inputs).double(), 1) for i in range(3)) / 3
    said = pool.relabel(inputs.requires_grad_())
    torch.testing.assert_close(said.double().exp(), mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(said, pool.log_probabilities(images))
    assert not said.requires_grad
    torch.testing.assert_close(said[2:3], pool.relabel(inputs[2:3]))  # an image's is its own, whatever is beside it


def test_fingerprints_are_those_of_all_teachers():
    pool = constant_pool(3)
    assert pool.fingerprints == [pool.fingerprint(i) for i in range(3)]
    assert len(set(pool.fingerprints)) == 3


def test_an_empty_pool_is_refused():
    with pytest.raises(NcfmError, match="number of teachers must be at least 1"):
        constant_pool(0)
