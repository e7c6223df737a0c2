"""Every sampler of frequencies, as a function of (num_features, num_frequencies, **options)."""

import pytest
import torch

from ncfm.discrepancy.frequencies import (
    DirectFrequencies,
    GaussianFrequencies,
    ScaleMixtureFrequencies,
    StudentTFrequencies,
)
from strategies import rng


def mixture(fixed_bandwidth):
    def build(d, k, **options):
        options = {"seed_generator": rng(0), "fixed_bandwidth": fixed_bandwidth, **options}
        return ScaleMixtureFrequencies(d, k, **options)

    return build


def direct(fixed_bandwidth):
    def build(d, k, **options):
        return DirectFrequencies(d, k, **{"seed_generator": rng(0), "fixed_bandwidth": fixed_bandwidth} | options)

    return build


SAMPLERS = {
    "gaussian": GaussianFrequencies,
    "student": StudentTFrequencies,
    "mixture": mixture(False),
    "mixture-fixed-bandwidth": mixture(True),
    "direct": direct(False),
    "direct-fixed-bandwidth": direct(True),
}
MIXTURES = {name: build for name, build in SAMPLERS.items() if name.startswith("mixture")}
DIRECT = {name: build for name, build in SAMPLERS.items() if name.startswith("direct")}
LEARNED = MIXTURES | DIRECT
NEAR_GAUSSIAN = {name: build for name, build in SAMPLERS.items() if name != "student"}
every_sampler = pytest.mark.parametrize("build", SAMPLERS.values(), ids=SAMPLERS.keys())
every_mixture = pytest.mark.parametrize("build", MIXTURES.values(), ids=MIXTURES.keys())
every_direct = pytest.mark.parametrize("build", DIRECT.values(), ids=DIRECT.keys())
every_learned = pytest.mark.parametrize("build", LEARNED.values(), ids=LEARNED.keys())
every_near_gaussian = pytest.mark.parametrize("build", NEAR_GAUSSIAN.values(), ids=NEAR_GAUSSIAN.keys())


def push_to_the_edge(sampler, seed=3):
    """Weights so large that tanh saturates: every scale sits on one of its bounds."""
    with torch.no_grad():
        for parameter in sampler.parameters():
            parameter.copy_(1e3 * torch.randn(parameter.shape, generator=rng(seed)))
