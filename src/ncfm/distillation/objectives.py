"""The objectives that match distributions of features, and their table.

`OBJECTIVES` names them. A new one is a class with the members of `Objective` and a line in that table; the user's own
is named ``module:callable`` instead. The tests in ``tests/distillation/test_objectives.py`` check the same properties
of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from ncfm._utils.checks import InputError, check_at_least, check_fraction, check_positive
from ncfm._utils.progress import counted
from ncfm._utils.types import Features, PerGroup
from ncfm.discrepancy import covariance_gap, gaussian_mmd, mean_gap, median_bandwidth, paired_gap
from ncfm.distillation.characteristic_matching import CharacteristicMatching
from ncfm.distillation.closed_form import EntropicMatching, FisherMatching
from ncfm.distillation.objective import (
    Measured,
    NoAdversary,
    NoFrequencies,
    Objective,
    PlainObjective,
    check_objective,
)

__all__ = [
    "OBJECTIVES",
    "CharacteristicMatching",
    "CovarianceMatching",
    "EntropicMatching",
    "FisherMatching",
    "KernelMatching",
    "MeanMatching",
    "Measured",
    "Objective",
    "PlainObjective",
    "PointMatching",
    "check_objective",
]


class MeanMatching(PlainObjective):
    """Distribution matching: squared distance of the class means. It has no adversary and draws no random numbers.

    Reference:
        Zhao and Bilen, "Dataset Condensation with Distribution Matching", WACV 2023.
    """

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """`mean_gap` of every class."""
        return mean_gap(real, synthetic)


class PointMatching(PlainObjective):
    """Point matching: mean squared distance of synthetic features from real ones paired with them at random.

    The baseline of the others: it pulls every image to the mean of its class. Unlike them it is not 0 for a synthetic
    set that is distributed as the real one.
    """

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """`paired_gap` of every class. Real batches come in random order, so nothing is drawn here."""
        return paired_gap(real, synthetic)


class KernelMatching(PlainObjective):
    r"""Kernel matching: squared Gaussian-kernel MMD of every class, the mean over several bandwidths.

    By default the bandwidths are multiples of the median distance between the real and synthetic features of the
    class (`median_bandwidth`), computed again in every iteration and not differentiated. The estimate counts pairs of a
    point with itself: a constant, whose gradient is 0.

    Args:
        bandwidths: fixed ones; None takes the median heuristic.
        factors: multiples of the median distance; no effect on fixed bandwidths.

    Raises:
        NcfmError: if a bandwidth or a factor is not above 0, or there is none.

    Reference:
        Zhang et al., "M3D: Dataset Condensation by Minimizing Maximum Mean Discrepancy", AAAI 2024. The bandwidths:
        Gretton et al., "A Kernel Two-Sample Test", JMLR 13, 2012.
    """

    def __init__(
        self, bandwidths: Sequence[float] | None = None, *, factors: Sequence[float] = (0.5, 1.0, 2.0)
    ) -> None:
        for name, numbers in (("bandwidth", bandwidths), ("bandwidth factor", factors)):
            if numbers is not None:
                check_at_least(len(numbers), 1, f"number of {name}s")
                for number in numbers:
                    check_positive(number, name)
        self.bandwidths = None if bandwidths is None else tuple(bandwidths)
        self.factors = tuple(factors)

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """`gaussian_mmd` of every class, its distances from matrix products."""
        if self.bandwidths is not None:
            return gaussian_mmd(real, synthetic, bandwidth=self.bandwidths, exact=False)
        median = median_bandwidth(real, synthetic)
        widths = torch.stack([factor * median for factor in self.factors], dim=-1)  # (C, factors)
        return gaussian_mmd(real, synthetic, bandwidth=widths, exact=False)


class CovarianceMatching(NoAdversary, NoFrequencies):
    r"""Diversified semantic matching: means, covariances, and the means under earlier extractors.

    .. math:: \|\mu_x - \mu_y\|^2 + w_{cov} \|S_x - S_y\|_F^2 + w_{hist} \|\mu_{hist} - \mu_y\|^2

    The paper also matches the synthetic features to "historical integrated prototypes", because the extractor and with
    it the target change in every iteration. Here mu_hist (C, d) is a moving average of the class means of the
    real batches of earlier iterations, each under the extractor of its iteration: after iteration i it moves by
    max(1 - decay, 1 / i) of the way to that iteration's means. It is thus their plain mean at first and an exponential
    average over 1 / (1 - decay) iterations later. The third term is 0 while the memory is empty.

    Args:
        num_classes: C.
        num_features: width d of the features.
        covariance_weight: w_cov, at least 0.
        history_weight: w_hist, at least 0.
        decay: of the memory, in [0, 1]; 0 keeps the last iteration only, 1 weights all of them equally.

    Raises:
        NcfmError: if a weight or the decay is out of range.

    Reference:
        Li et al., "Diversified Semantic Distribution Matching for Dataset Distillation", ACM MM 2024. The weights, the
        form of the moving average and its start are ours.
    """

    couples_classes = False

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        *,
        covariance_weight: float = 1.0,
        history_weight: float = 1.0,
        decay: float = 0.99,
    ) -> None:
        check_at_least(num_classes, 1, "num_classes")
        check_at_least(num_features, 1, "num_features")
        check_at_least(covariance_weight, 0, "covariance_weight")
        check_at_least(history_weight, 0, "history_weight")
        check_fraction(decay, "decay")
        self.covariance_weight, self.history_weight, self.decay = covariance_weight, history_weight, decay
        self._mean = torch.zeros(num_classes, num_features)
        self._iterations = torch.zeros((), dtype=torch.int64)  # a tensor, so that no device is waited for

    def to(self, device: torch.device) -> None:
        """Move the memory."""
        self._mean, self._iterations = self._mean.to(device), self._iterations.to(device)

    def state(self) -> dict[str, Tensor]:
        """mu_hist (C, d) and the number of iterations in it, ()."""
        return {"mean": self._mean, "iterations": self._iterations}

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """The three terms of every class.

        Raises:
            NcfmError: if the features are not those of C classes of width d.
        """
        gap = mean_gap(real, synthetic) + self.covariance_weight * covariance_gap(real, synthetic)
        self._check(synthetic)
        history = (self._mean.to(synthetic.dtype) - synthetic.mean(-2)).square().sum(-1)
        return gap + self.history_weight * (self._iterations > 0) * history

    @torch.no_grad()
    def remember(self, real: Features) -> None:
        """Move mu_hist towards the class means of these features, by the step given above."""
        self._check(real)
        self._iterations += 1
        self._mean.lerp_(real.mean(-2).to(self._mean.dtype), (1 / self._iterations).clamp(min=1 - self.decay))

    def _check(self, features: Features) -> None:
        """Raise NcfmError unless they are of C classes and width d; those of one class would broadcast to all."""
        if (*features.shape[:-2], features.shape[-1]) != self._mean.shape:
            classes, width = self._mean.shape
            raise InputError(
                f"Expected features of {counted(classes, 'class')} and width {width}, got shape "
                f"{tuple(features.shape)}; "
                "build the objective with the data's num_classes and the extractor's num_features."
            )


def _kernel_matching(*, bandwidths: Sequence[float] | None, bandwidth_factors: Sequence[float]) -> KernelMatching:
    return KernelMatching(bandwidths, factors=bandwidth_factors)


def _covariance_matching(
    *,
    num_classes: int,
    num_features: int,
    covariance_weight: float,
    history_weight: float,
    history_decay: float,
) -> CovarianceMatching:
    return CovarianceMatching(
        num_classes,
        num_features,
        covariance_weight=covariance_weight,
        history_weight=history_weight,
        decay=history_decay,
    )


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "ncfd": CharacteristicMatching,
    "mean": MeanMatching,
    "mse": PointMatching,
    "mmd": _kernel_matching,
    "dsdm": _covariance_matching,
    "fisher": FisherMatching,
    "entropic": EntropicMatching,
}
"""The objectives that match distributions of features, by name.

An objective is built with those of these keyword arguments that it names: num_features (d), num_classes (C),
seed_generator (for initial weights), sampler and criterion (of the settings ``frequencies``), and any setting of
``objective``.
"""
