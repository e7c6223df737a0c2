"""Losses and gradients of an iteration: each term alone, in passes of some classes, and as one graph."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from by_hand import drawn
from ncfm import kernels
from ncfm._utils.device import cpp_compiler
from ncfm.discrepancy.frequencies import GaussianFrequencies
from ncfm.distillation import views
from ncfm.distillation.objective import ALL
from ncfm.distillation.objectives import CharacteristicMatching, CovarianceMatching, FisherMatching, MeanMatching
from tiny import WIDTH, Frozen, make_step, mixture, random_pool


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (3.0, 0.0), (0.0, 2.0)])
def test_weights_leave_exactly_one_term(make, weights):
    matching, calibration = weights
    played = make(player=Frozen, matching_weight=matching, calibration_weight=calibration)
    played()
    other = make(calibration_weight=1.0)
    real, draw = drawn(other)
    training = other.synthetic.training_images(draw)
    if calibration:
        other.pool.draw_trained(other.streams["calibration"])
        term = calibration * other.calibration.loss(training)
    else:
        synthetic = other.synthetic.features_of(training)
        term = matching * other.objective.discrepancy(real, synthetic, other.streams["frequencies"]).sum()
    (expected,) = torch.autograd.grad(term, other.images.tensors)
    assert expected.abs().max() > 0
    assert_close(played.images.gradients[0][0], expected, rtol=1e-5, atol=1e-7 * float(expected.abs().max()))


def moved(played):
    """Measurements of an iteration, and the gradients of both players."""
    record = played()
    adversary = [] if played.adversary is None else played.adversary.gradients[0]
    return record, [*played.images.gradients[0], *adversary]


OBJECTIVES = {
    "mixture": mixture,
    "halves": lambda: mixture(criterion="halves"),
    "gaussian": lambda: CharacteristicMatching(GaussianFrequencies(WIDTH, 32)),
    "mean": MeanMatching,
}


@pytest.fixture
def double(monkeypatch):
    """A step in double precision, from the images to the gradients."""
    monkeypatch.setattr(views, "to_float", lambda stored: stored.double() / 255)

    def convert(played):
        pixels = played.images.tensors[0]
        pixels.data = pixels.data.double()
        for module in (played.pool.blended, played.pool.whole, played.objective.adversary):
            if module is not None:
                module.double()
        played.views.normalize = lambda x: (x - 0.5) / 0.25
        return played

    return convert


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("size", [2, 5, 7, 30])
def test_passes_of_some_classes_give_the_gradients_of_one_pass(images, double, objective, size):
    """4 images a class: a class is cut, a class a pass, seven images hold one class, several classes a pass."""
    options = {"player": Frozen, "ipc": 4, "matching_weight": 3.0, "calibration_weight": 0.5, "real_batch_per_class": 5}
    found = []
    for chunk in (None, size):
        played = make_step(
            images, random_pool(images), objective=OBJECTIVES[objective](), gradient_chunk_size=chunk, **options
        )
        found.append(moved(double(played)))
        assert len(played.gradients.passes()) == {None: 1, 2: 10, 5: 10, 7: 10, 30: 2}[chunk]
    (expected, gradients), (record, parts) = found
    for value, other in zip(record, expected, strict=True):
        assert value is other is None or float(value) == pytest.approx(float(other), rel=1e-12)
    for part, whole in zip(parts, gradients, strict=True):
        assert whole.abs().max() > 0
        assert_close(part, whole, rtol=1e-9, atol=1e-12 * float(whole.abs().max()))


@pytest.mark.parametrize("more", [{"calibration_reduction": "sum"}, {"calibration_step": "separate"}])
def test_calibrations_of_other_forms_are_those_of_one_pass(images, double, more):
    found = []
    for chunk in (None, 8):
        played = double(make_step(images, random_pool(images), player=Frozen, ipc=4, gradient_chunk_size=chunk, **more))
        record = played()
        found.append((float(record.calibration), [gradient for (gradient,) in played.images.gradients]))
    (expected, gradients), (calibration, parts) = found
    assert calibration == pytest.approx(expected, rel=1e-12)
    assert len(parts) == len(gradients) == (2 if "calibration_step" in more else 1)
    for part, whole in zip(parts, gradients, strict=True):
        assert_close(part, whole, rtol=1e-9, atol=1e-12 * float(whole.abs().max()))


@pytest.mark.parametrize("ascent_steps", [0, 1, 3])
def test_the_frequencies_are_drawn_once_for_all_passes(make, monkeypatch, ascent_steps):
    played = make(ipc=4, gradient_chunk_size=8, ascent_steps=ascent_steps)
    draws, sample = [], played.objective.sampler.sample
    monkeypatch.setattr(played.objective.sampler, "sample", lambda g: (draws.append(1), sample(g))[1])
    played()
    assert len(played.gradients.passes()) == 5
    assert len(draws) == 1 + (ascent_steps if ascent_steps > 1 else 0)


def test_an_iteration_in_one_pass_ends_with_the_generator_of_one_in_many(make):
    states = []
    for chunk in (None, 4):
        for objective in (mixture(), MeanMatching()):
            played = make(ipc=2, objective=objective, gradient_chunk_size=chunk)
            played()
            states.append(played.streams["frequencies"].get_state())
    assert torch.equal(states[0], states[2])
    assert torch.equal(states[1], states[3])


def test_objectives_that_compare_or_remember_classes_take_all_in_one_pass(make):
    for objective in (CovarianceMatching(10, WIDTH), FisherMatching(GaussianFrequencies(WIDTH, 8))):
        played = make(ipc=4, objective=objective, gradient_chunk_size=8)
        assert played.gradients.passes() == [ALL]
        assert torch.isfinite(played().discrepancy)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # asked by the compiler where a random draw splits the graph
@pytest.mark.parametrize(
    ("precision", "criterion"),
    [(torch.float32, "discrepancy"), (torch.bfloat16, "discrepancy"), (torch.float32, "halves")],
)
def test_a_compiled_step_is_the_step(images, pool, precision, criterion):
    # The same draws, the same moves: rounding apart, the images and the adversary go the same way.
    if cpp_compiler() is None:
        pytest.skip("no C++ compiler here")
    options = {"factor": 2, "precision": precision}
    plain, whole = (
        make_step(images, pool, objective=mixture(criterion=criterion), compile_step=on, **options)
        for on in (False, True)
    )
    with kernels.switched_off():
        for _ in range(3):
            expected, found = plain(), whole()
            tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision == torch.float32 else {"rtol": 3e-2, "atol": 1e-2}
            assert_close(found.discrepancy, expected.discrepancy, **tolerance)
            assert_close(found.calibration, expected.calibration, **tolerance)
    moved = plain.images.tensors[0] - whole.images.tensors[0]
    assert float(moved.detach().abs().mean()) < (1e-3 if precision == torch.float32 else 5e-3)
    for a, b in zip(plain.adversary.tensors, whole.adversary.tensors, strict=True):
        assert_close(a, b, rtol=1e-2, atol=1e-3 if precision == torch.float32 else 5e-3)
