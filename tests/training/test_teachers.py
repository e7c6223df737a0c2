"""Teachers: blending of their weights, draws from the pool, and what the pool says of itself."""

from __future__ import annotations

import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm._utils.types import Statistics
from ncfm.networks import create_network
from ncfm.training.pretraining import pretrain
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import Teacher, TeacherPool, blend, network_for
from tiny import few

CPU = torch.device("cpu")
RECIPE = TrainingRecipe(epochs=1, optimizer="sgd", lr=0.05, batch_size=16, schedule="cosine", augment="flip")


@pytest.fixture(scope="module")
def images(digits):
    return few(digits, 4)


def same(a, b):
    """Whether two dictionaries of weights are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


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
    pool = pretrain(images, network="convnet1w8", num_teachers=1, recipe=RECIPE)
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
