"""Teachers whose weights after every epoch are kept: recorded, cached, resumed and drawn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ncfm._utils.cache import CacheEntry
from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm._utils.types import Statistics
from ncfm.networks import create_network, register_network
from ncfm.training.epoch_states import KIND, EpochStates, bytes_of_states
from ncfm.training.pretraining import pretrain
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import Teacher, TeacherPool
from tiny import few, grouped

RECIPE = TrainingRecipe(epochs=3, optimizer="sgd", lr=0.05, batch_size=16, schedule="constant", augment="flip")


@pytest.fixture(scope="module")
def images(digits):
    return few(digits, 4)


def train_pool(images, **changes):
    options = {"network": "convnet1w8", "num_teachers": 1, "recipe": RECIPE, "record": True} | changes
    return pretrain(images, **grouped("compute", **options))


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def same_states(a, b):
    return all(same(x, y) for x, y in zip(a._states[0], b._states[0], strict=True))


@pytest.mark.parametrize("network", ["convnet1w8", "convnet1w8-batch"])
def test_the_states_are_those_of_shorter_trainings(images, network, own_cache):
    # With a constant learning rate a training of 2 epochs is the beginning of one of 3.
    pool = train_pool(images, network=network)
    assert len(pool._states[0]) == 4
    assert same(pool._states[0][0], pool._initial[0])
    assert same(pool._states[0][3], pool._trained[0])
    for epochs in (1, 2):
        shorter = train_pool(images, network=network, recipe=replace(RECIPE, epochs=epochs), record=False)
        assert same(shorter._trained[0], pool._states[0][epochs])


def test_recording_leaves_teachers_and_their_names_as_they_are(images, own_cache, trainings):
    plain = train_pool(images, record=False)
    names = {path.name for path in (own_cache / "teachers").iterdir()}
    recorded = train_pool(images)
    assert len(trainings) == 2  # a teacher without states is trained again
    assert same(plain._trained[0], recorded._trained[0])
    assert {path.name for path in (own_cache / "teachers").iterdir()} == names
    assert plain.fingerprints == recorded.fingerprints


def test_states_come_from_the_cache(images, own_cache, trainings):
    first, again = train_pool(images), train_pool(images)
    assert len(trainings) == 1
    assert same_states(first, again)
    assert len(list((own_cache / KIND).glob("*.safetensors"))) == 2  # after the first and the second epoch


def test_a_state_that_is_gone_or_damaged_is_trained_again(images, own_cache, trainings):
    first = train_pool(images)
    for number, spoil in ((2, lambda path: path.unlink()), (3, lambda path: path.write_bytes(b"no tensors"))):
        spoil(sorted((own_cache / KIND).glob("*-2.safetensors"))[0])
        assert same_states(train_pool(images), first)
        assert len(trainings) == number


def test_an_interrupted_recording_resumes_with_its_states(images, own_cache, trainings, monkeypatch):
    whole = train_pool(images, cache=own_cache / "other")

    def stop(_, epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_pool(images, on_epoch=stop)
    seen = []
    resumed = train_pool(images, on_epoch=lambda _, epoch: seen.append(epoch))
    assert seen == [3]
    assert same_states(resumed, whole)


def test_a_recording_whose_early_states_are_gone_starts_again(images, own_cache):
    whole = train_pool(images, cache=own_cache / "other")

    def stop(_, epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_pool(images, on_epoch=stop)
    next((own_cache / KIND).glob("*-1.safetensors")).unlink()
    assert same_states(train_pool(images), whole)


def test_without_a_cache_the_states_are_kept_in_memory(images, own_cache):
    register_network("mine", lambda channels, num_classes, image_size: create_network(
        "convnet1w8", channels=channels, num_classes=num_classes, image_size=image_size, seed=0
    ))  # fmt: skip
    pool = train_pool(images, network="mine")
    assert len(pool._states[0]) == 4
    assert not (own_cache / KIND).exists()


def test_a_cache_that_cannot_be_written_costs_only_memory(images, own_cache, monkeypatch):
    monkeypatch.setattr(CacheEntry, "write", lambda *a, **k: None)
    assert len(train_pool(images)._states[0]) == 4


def test_the_bytes_of_the_states_are_those_of_their_files(images, own_cache):
    train_pool(images)
    module = create_network("convnet1w8", channels=1, num_classes=10, image_size=8, seed=0)
    found = sum(path.stat().st_size for path in (own_cache / KIND).glob("*.safetensors"))
    assert bytes_of_states(module, 3) <= found < bytes_of_states(module, 3) + 2 * 2000  # headers


def test_states_of_another_network_are_none(own_cache):
    states = EpochStates("key", 2)
    states.note(1, create_network("convnet1w8", channels=1, num_classes=10, image_size=8, seed=0))
    assert states.are_there
    assert states.find(create_network("convnet1w8-none", channels=1, num_classes=10, image_size=8, seed=0)) is None


# --- draws ------------------------------------------------------------------------------------------------


def constant_pool(num_teachers, epochs):
    """Teacher i has all weights i + e / 100 after epoch e."""
    module = create_network("convnet1w8-batch", channels=1, num_classes=10, image_size=8, seed=0)

    def filled(value):
        return {k: torch.full_like(v, value) for k, v in module.state_dict().items()}

    def teacher(i):
        first, *between, last = (filled(i + e / 100) for e in range(epochs + 1))
        return Teacher(first, last, 0.0, tuple(between))

    return TeacherPool(
        [teacher(i) for i in range(num_teachers)],
        lambda seed: create_network("convnet1w8-batch", channels=1, num_classes=10, image_size=8, seed=seed),
        statistics=Statistics((0.5,), (0.25,)),
        device=torch.device("cpu"),
    )


def weight_of(network):
    return round(float(network.classifier.bias[0]), 4)


@pytest.mark.parametrize(("epochs", "expected"), [((0, None), range(6)), ((2, 4), range(2, 5)), ((5, 5), [5])])
def test_draws_are_uniform_over_teachers_and_epochs(epochs, expected):
    pool, rng, n = constant_pool(2, 5), generator(0, "draws"), 1200
    drawn = [weight_of(pool.draw(rng, "checkpoint", epochs=epochs)) for _ in range(n)]
    cells = [round(i + e / 100, 4) for i in range(2) for e in expected]
    assert set(drawn) == set(cells)
    counts = torch.tensor([drawn.count(cell) for cell in cells]).double()
    mean = n / len(cells)
    assert float(((counts - mean) ** 2 / mean).sum()) < 31.3  # 11 degrees of freedom at most, p = 0.001


def test_a_draw_has_the_buffers_of_its_epoch_and_names_its_teacher():
    pool = constant_pool(3, 4)
    network = pool.draw(generator(0, "draws"), "checkpoint", epochs=(1, 1))
    assert network is pool.blended
    assert pool.drawn is not None
    assert float(network.blocks[1].running_mean[0]) == pytest.approx(pool.drawn.teacher + 0.01)
    assert pool.drawn.blend == 0.75  # three of four epochs are left


@pytest.mark.parametrize("epochs", [(0, 6), (6, None), (4, 3)])
def test_epochs_that_were_not_recorded_are_told(epochs):
    with pytest.raises(NcfmError, match=r"within 0\.\.5"):
        constant_pool(2, 5).draw(generator(0, "draws"), "checkpoint", epochs=epochs)


def test_blends_lie_in_their_range():
    pool, rng = constant_pool(1, 1), generator(0, "draws")  # 0 at the start, 0.01 at the end
    shares = [1 - 100 * float(pool.draw(rng, blend=(0.2, 0.5)).classifier.bias[0]) for _ in range(400)]
    assert min(shares) == pytest.approx(0.2, abs=0.01)
    assert max(shares) == pytest.approx(0.5, abs=0.01)
    assert sum(shares) / 400 == pytest.approx(0.35, abs=0.02)


def test_the_whole_range_of_blends_is_what_it_was():
    pool, rng = constant_pool(2, 1), generator(0, "draws")
    for _ in range(5):
        state = rng.get_state()
        drawn = weight_of(pool.draw(rng))
        rng.set_state(state)
        index = int(torch.randint(2, (), generator=rng))
        expected = pool.blended_at(index, float(torch.rand((), generator=rng)))
        assert drawn == weight_of(expected)
