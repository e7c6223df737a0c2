"""Extreme inputs in every precision: what is finite stays finite, and is what double precision says of it."""

from __future__ import annotations

import pytest
import torch

from ncfm import CharacteristicDiscrepancy
from ncfm.data.augment import SiameseAugment
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.discrepancy import (
    characteristic_function,
    covariance_gap,
    gaussian_mmd,
    mean_gap,
    median_bandwidth,
    ncfd,
    paired_gap,
    root_mean_gap,
)
from ncfm.discrepancy.frequencies import DirectFrequencies, ScaleMixtureFrequencies, StudentTFrequencies
from ncfm.networks import create_network
from ncfm.networks.features import FeatureExtractor
from ncfm.training.fit import fit
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import untrained_pool
from strategies import normal, rng
from tiny import DSA, NETWORK, distill, mixture

PRECISIONS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
every_precision = pytest.mark.parametrize("dtype", PRECISIONS, ids=lambda d: str(d).removeprefix("torch."))
C, N, M, D, K = 3, 6, 4, 6, 32

BASE = normal(5, C, N + M, D)
T = normal(6, K, D).float().double()  # the same numbers in both
SAMPLES = {
    "ordinary": (BASE[:, :N], BASE[:, N:]),
    "zeros": (torch.zeros(C, N, D), torch.zeros(C, M, D)),
    "equal": (BASE[:, :M], BASE[:, :M]),
    "constant": (torch.ones(C, N, D), torch.ones(C, M, D)),
    "one row each": (BASE[:, :1], BASE[:, N : N + 1]),
    "tiny": (1e-7 * BASE[:, :N], 1e-7 * BASE[:, N:]),
    "denormal": (1e-40 * BASE[:, :N], 1e-40 * BASE[:, N:]),
    "far apart": (BASE[:, :N], BASE[:, N:] + 1e3),
    "huge": (1e4 * BASE[:, :N], 1e4 * BASE[:, N:]),
    "near the largest": (5e36 * BASE[:, :N], 5e36 * BASE[:, N:]),
}


def t(x):
    return T if x.dtype == torch.float64 else T.float()


DISCREPANCIES = {
    "ncfd": lambda x, y: ncfd(x, y, t(x)),
    "amplitude": lambda x, y: ncfd(x, y, t(x), amplitude_weight=1.0),
    "phase": lambda x, y: ncfd(x, y, t(x), amplitude_weight=0.0),
    "corrected": lambda x, y: ncfd(x, y, t(x), corrected=True),
    "in chunks": lambda x, y: ncfd(x, y, t(x), chunk_size=2),
    "mmd": lambda x, y: gaussian_mmd(x, y, bandwidth=1.0),
    "mmd, median": lambda x, y: gaussian_mmd(x, y, bandwidth=median_bandwidth(x, y)[:, None], exact=False),
    "means": mean_gap,
    "covariances": covariance_gap,
    "points": paired_gap,
    "root mean": lambda x, y: root_mean_gap(x, y, t(x)),
}
NO_SLOPE = {"root mean"}  # where samples agree
OF_SQUARES = {"mmd", "mmd, median", "means", "covariances", "points"}  # out of range beyond 1e19, 0 below 1e-23


def representable(dtype):
    """The samples that a precision has numbers for."""
    return [name for name, pair in SAMPLES.items() if all(torch.isfinite(z.to(dtype)).all() for z in pair)]


# Every discrepancy of every sample in float32, in which all is computed. Other precisions are converted on the way in
# and out: every discrepancy meets each of them, and each of them every sample that it has numbers for.
EXTREMES = [(name, samples, torch.float32) for name in DISCREPANCIES for samples in SAMPLES] + [
    (name, representable(dtype)[(i + shift) % len(representable(dtype))], dtype)
    for i, name in enumerate(DISCREPANCIES)
    for shift, dtype in ((0, torch.float64), (3, torch.bfloat16), (6, torch.float16))
]


@pytest.mark.parametrize(
    ("name", "samples", "dtype"), EXTREMES, ids=[f"{n}-{s}-{str(d).removeprefix('torch.')}" for n, s, d in EXTREMES]
)
def test_discrepancies_of_extreme_samples(name, samples, dtype):
    x, y = (z.to(dtype) for z in SAMPLES[samples])
    discrepancy = DISCREPANCIES[name]
    ours, theirs = y.clone().requires_grad_(), y.double().requires_grad_()
    value, wanted = discrepancy(x, ours), discrepancy(x.double(), theirs)
    largest = torch.finfo(torch.float32).max
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    if samples == "near the largest" and name in OF_SQUARES:
        return
    if wanted.abs().max() < largest:
        assert torch.isfinite(value).all()
        no_digits = ("huge", "near the largest", "far apart")  # left of an angle in float32
        if samples not in no_digits and (samples != "denormal" or name not in OF_SQUARES):
            torch.testing.assert_close(value.double(), wanted, rtol=1e-4, atol=2e-5)
    if name in NO_SLOPE:
        return
    (slope,), (wanted_slope,) = (torch.autograd.grad(v.sum(), z) for v, z in ((value, ours), (wanted, theirs)))
    assert slope.dtype == dtype
    if wanted_slope.abs().max() < 0.1 * torch.finfo(dtype).max and wanted.abs().max() < 1e30:
        assert torch.isfinite(slope).all()


@every_precision
def test_mixed_precisions_go_to_the_wider_one(dtype):
    x, y = BASE[:, :N].to(dtype), BASE[:, N:].float()
    widest = torch.promote_types(dtype, torch.float32)
    assert ncfd(x, y, T.to(dtype)).dtype == widest
    assert mean_gap(x, y).dtype == widest
    assert characteristic_function(x, T.float()).real.dtype == widest


def test_equal_samples_are_0_apart_in_half_precision_with_a_slope():
    x = BASE.half()
    y = x.clone().requires_grad_()
    value = ncfd(x, y, T.half())
    assert value.tolist() == [0.0] * C
    assert torch.isfinite(torch.autograd.grad(value.sum(), y)[0]).all()  # in half the epsilon under its root would be 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_metric_is_what_it_is_without(dtype):
    x, y = normal(1, 40, D).float(), normal(2, 30, D).float() + 0.2
    discrepancy = CharacteristicDiscrepancy(D, num_frequencies=K, frequencies="mixture")
    wanted = discrepancy(x, y, generator=rng(0))
    with torch.autocast("cpu", dtype=dtype):
        found = discrepancy(x, y, generator=rng(0))
        ascended = discrepancy.ascend(x, y)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert torch.isfinite(ascended)


# --- samplers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.0, 1e-30, 1e8, -1e8])
@pytest.mark.parametrize("family", [ScaleMixtureFrequencies, DirectFrequencies])
def test_learned_frequencies_stay_in_their_bounds_whatever_the_weights(family, factor):
    sampler = family(D, 64, scale=1.5, spread=3.0, fixed_bandwidth=False, seed_generator=rng(0))
    with torch.no_grad():
        for parameter in sampler.parameters():
            parameter.mul_(factor)
    drawn = sampler.sample(rng(1))
    drawn.square().mean().backward()
    lengths = drawn.detach().norm(dim=1) / D**0.5
    assert torch.isfinite(drawn).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in sampler.parameters())
    assert float(lengths.max()) < 1.5 * 3 * 4  # four deviations of a chi beyond the bound
    assert float(lengths.max()) > 0.1


@pytest.mark.parametrize("degrees", [1, 3, 1000])
def test_heavy_tails_are_finite(degrees):
    assert torch.isfinite(StudentTFrequencies(D, 5000, scale=1.5, degrees_of_freedom=degrees).sample(rng(0))).all()


# --- images -------------------------------------------------------------------------------------------------

IMAGES = {
    "black": torch.zeros(2, 3, 1, 8, 8),
    "far from 0": torch.full((2, 3, 1, 8, 8), 1e4),
    "one bright pixel": torch.zeros(2, 3, 1, 8, 8).index_fill_(4, torch.tensor([3]), 6e4),
    "tiny": torch.full((2, 3, 1, 8, 8), 1e-7),
}


@pytest.mark.parametrize("name", IMAGES)
@every_precision
def test_augmented_extreme_images_are_finite(name, dtype):
    images = IMAGES[name].to(dtype).requires_grad_()
    augment = SiameseAugment(DSA)
    for seed in range(5):
        out = augment.apply(images, augment.draw(2, 8, rng(seed)))
        assert out.dtype == torch.promote_types(dtype, torch.float32)  # colours leave the range of half precision
        assert torch.isfinite(out).all()
        assert torch.isfinite(torch.autograd.grad(out.sum(), images)[0]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [0.0, 1e-30, 3.0, 1e3])
def test_features_of_flat_images_are_on_the_sphere(value, dtype):
    network = create_network(NETWORK, channels=1, num_classes=10, image_size=8, seed=0)
    images = torch.full((2, 1, 8, 8), value).requires_grad_()
    features = FeatureExtractor(network, precision=dtype)(images)
    lengths = features.norm(dim=1)
    assert bool((lengths < 1 + 1e-5).all())
    if value > 1e-12:  # below, what a network makes of it may be below every norm that is divided by
        assert bool((lengths > 1 - 1e-5).all())
    assert torch.isfinite(torch.autograd.grad(features.sum(), images)[0]).all()


def flat_images(level):
    """Ten classes that nobody can tell apart."""
    pixels = torch.full((60, 1, 8, 8), level, dtype=torch.uint8)
    split = ImageSplit.of(pixels, torch.arange(10).repeat_interleave(6), 10)
    return ImageSet("flat", split, split, tuple(map(str, range(10))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("level", [0, 255])
def test_a_set_without_any_difference_distils_and_trains_without_a_trace_of_infinity(level, dtype):
    images = flat_images(level)
    pool = untrained_pool(images, NETWORK, number=2, device=torch.device("cpu"))
    result = distill(
        images, pool, mixture(32), ipc=1, iterations=4, factor=1, real_batch_per_class=4, log_every=1, precision=dtype
    )
    assert result.taken_back == 0
    assert torch.isfinite(result.synthetic.images).all()
    assert all(torch.isfinite(torch.tensor(list(entry.values()))).all() for entry in result.history)

    network = create_network(NETWORK, channels=1, num_classes=10, image_size=8, seed=0)
    fit(
        network,
        images.train.images,
        images.train.labels,
        recipe=TrainingRecipe(epochs=2, optimizer="sgd", lr=0.03, batch_size=20, schedule="one-cycle"),
        statistics=images.statistics,
        generator=rng(0),
        precision=dtype,
    )
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
