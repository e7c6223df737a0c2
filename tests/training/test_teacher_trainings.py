"""The trainings of teachers: where they start, their place in the cache, and that no test image enters."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import derive_seed, generator
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.networks import create_network
from ncfm.training.pretraining import pretrain
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teacher_trainings import teacher_key
from tiny import few, grouped

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


# --- start and cache -------------------------------------------------------------------------------------


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
