"""The discrepancy as a module: a loss for generative models, with fixed, redrawn or learned frequencies.

`ncfm.discrepancy.ncfd` is the formula. The module adds what a training loop needs: frequencies on the module's device,
a random stream in its state, and an adversary with its own optimizer.
"""

from __future__ import annotations

import contextlib
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.checks import (
    InputError,
    check_at_least,
    check_fraction,
    check_known,
    check_matrix_pair,
    check_positive,
)
from ncfm._utils.seeding import generator as named_generator
from ncfm._utils.types import Features, Frequencies, Labels, PerGroup
from ncfm.discrepancy import ncfd
from ncfm.discrepancy.by_class import by_class
from ncfm.discrepancy.chosen_frequencies import checked_sampler, kept_frequencies, sampler_of_family
from ncfm.discrepancy.frequencies import LEARNED_SAMPLERS, FrequencySampler
from ncfm.discrepancy.halves import CRITERIA, criterion_by_halves


class CharacteristicDiscrepancy(nn.Module):
    r"""`ncfd` of two samples, differentiable in both of them.

    ``frequencies`` gives the frequencies:

    - a fixed family, drawn again at every call: "gaussian", "student" (see `ncfm.discrepancy.frequencies`). With
      ``redraw=False`` the first draw is kept, so that equal calls give equal values.
    - a learned family: "mixture", "direct". `forward` only evaluates it. `ascend` updates the adversary with its own
      optimizer on detached samples. No gradient of a loss reaches the adversary, and none of the adversary's gradients
      reaches the samples.
    - a sampler of `ncfm.discrepancy.frequencies` or your own, or a tensor (k, d), which is kept.

    The scale of the frequencies must fit the samples. Far below 1 / (distance of two rows) only means are compared, far
    above it only noise. ``1 / ncfm.discrepancy.median_bandwidth(x, y)`` is a good start; "student" covers many scales.

    The ``state_dict`` contains the random stream, kept frequencies, the adversary and its optimizer, so that a loaded
    training resumes exactly.

    Args:
        num_features: width d of the samples.
        frequencies: see above.
        num_frequencies: k, of a family.
        scale: of a family; 1.5 fits features of norm 1.
        redraw: False keeps the first draw of a fixed family or sampler.
        amplitude_weight: alpha in [0, 1]; 1 compares amplitudes (spread) only, 0 phases (location) only.
        corrected: correct the amplitudes for the sizes of the samples, see `ncfm.discrepancy.modulus`.
        adversary_lr: Adam's learning rate of a learned family.
        chunk_size: rows projected at once, see `ncfm.characteristic_function`.
        criterion: what `ascend` maximises: "discrepancy", which the noise of finite samples raises too; "halves", the
            squared gap from two halves of x, which it does not raise; "studentised", the same in units of its standard
            deviation. The rows of x have to be independent and in random order.
        seed: of the frequencies, and of the adversary's initial weights.

    Raises:
        NcfmError: for invalid settings.

    Reference:
        Wang et al., "Dataset Distillation with Neural Characteristic Function: A Minmax Perspective", CVPR 2025,
        arXiv 2502.20653 (the discrepancy). Ansari, Scarlett and Soh, "A Characteristic Function Approach to Deep
        Implicit Generative Modeling", CVPR 2020, arXiv 1909.07425 (characteristic functions as a generator's loss).

    >>> discrepancy = CharacteristicDiscrepancy(2, scale=1.0)
    >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> bool(discrepancy(x, x + 1) > 2 * discrepancy(x[:250], x[250:]))
    True
    """

    frequencies: Tensor | None

    def __init__(
        self,
        num_features: int,
        frequencies: str | FrequencySampler | Frequencies = "gaussian",
        *,
        num_frequencies: int = 256,
        scale: float = 1.5,
        redraw: bool = True,
        amplitude_weight: float = 0.5,
        corrected: bool = False,
        adversary_lr: float = 1e-3,
        chunk_size: int | None = None,
        criterion: str = "discrepancy",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(num_features, 1, "num_features")
        check_fraction(amplitude_weight, "amplitude_weight")
        check_positive(adversary_lr, "adversary_lr")
        self.num_features, self.amplitude_weight, self.corrected = num_features, amplitude_weight, corrected
        self.adversary_lr, self.chunk_size = adversary_lr, chunk_size
        self.criterion = check_known(criterion, CRITERIA, "criterion")
        self._generator = named_generator(seed, "frequencies")
        self._optimizer: torch.optim.Optimizer | None = None
        kept, self.sampler = None, None
        if isinstance(frequencies, Tensor):
            kept = kept_frequencies(frequencies, num_features)
        else:
            sampler = frequencies
            if isinstance(sampler, str):
                sampler = sampler_of_family(sampler, num_features, num_frequencies, scale, seed)
            self.sampler = cast("nn.Module", checked_sampler(sampler, num_features))
            if not redraw:
                if self.is_learned:
                    raise InputError("Learned frequencies are drawn at every call; leave out redraw=False.")
                kept = cast("FrequencySampler", self.sampler).sample(self._generator)
        self.register_buffer("frequencies", kept)

    @property
    def is_learned(self) -> bool:
        """Whether there is an adversary to train with `ascend`."""
        return self.sampler is not None and any(True for _ in self.sampler.parameters())

    def forward(
        self,
        x: Features,
        y: Features,
        *,
        labels: tuple[Labels, Labels] | None = None,
        generator: Generator | None = None,
    ) -> PerGroup:
        """Discrepancy of two samples.

        Args:
            x: (..., n, d), such as real samples.
            y: (..., m, d) of the same groups, such as generated ones. Samples in half precision are taken in float32.
            labels: classes of the rows, (n,) and (m,): every class is compared separately.
            generator: draws the frequencies instead of the module's own stream.

        Returns:
            () for x of shape (n, d), (...) for groups; (C,) with labels, classes in ascending order.

        Raises:
            NcfmError: if shapes do not fit, or a class is on one side only.
        """
        x, y = self._checked(x, y)
        with _in_full_precision(x):
            with torch.no_grad():
                t = self.draw(generator).to(x)
            return by_class(self._discrepancy, x, y, t, labels)

    def ascend(self, x: Features, y: Features, *, labels: tuple[Labels, Labels] | None = None) -> Tensor:
        """Move the adversary once to where the samples differ more, both frozen.

        Returns:
            The value () of its criterion before it.

        Raises:
            NcfmError: if nothing is learned, shapes do not fit, or there are not two rows of x to halve.
        """
        if not self.is_learned:
            raise InputError(
                f"Nothing to train: frequencies are fixed; learned families: {', '.join(LEARNED_SAMPLERS)}."
            )
        x, y = self._checked(x.detach(), y.detach())
        optimizer = self._own_optimizer()
        with torch.enable_grad(), _in_full_precision(x):
            value = by_class(self._criterion, x, y, self.draw().to(x), labels).mean()
            tensors = [p for p in optimizer.param_groups[0]["params"] if p.requires_grad]
            gradients = torch.autograd.grad(value, tensors)
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = gradient
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return value.detach()

    def draw(self, generator: Generator | None = None) -> Frequencies:
        """Frequencies (k, d) of one call: those kept, or a fresh draw."""
        if self.frequencies is not None:
            return self.frequencies
        return cast("FrequencySampler", self.sampler).sample(generator or self._generator)

    def get_extra_state(self) -> dict[str, Any]:
        """The random stream, and the adversary's optimizer if it has moved."""
        optimizer = None if self._optimizer is None else self._optimizer.state_dict()
        return {"generator": self._generator.get_state(), "optimizer": optimizer}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on where `get_extra_state` was asked."""
        self._generator.set_state(state["generator"].cpu())
        self._optimizer = None
        if state["optimizer"] is not None:
            self._own_optimizer().load_state_dict(state["optimizer"])

    def extra_repr(self) -> str:
        """What is compared, for ``print``."""
        where = "" if self.frequencies is None else f", frequencies={tuple(self.frequencies.shape)}"
        return f"num_features={self.num_features}, amplitude_weight={self.amplitude_weight}{where}"

    def _own_optimizer(self) -> torch.optim.Optimizer:
        """The adversary's optimizer, on the adversary's device."""
        parameters = list(cast("nn.Module", self.sampler).parameters())
        if self._optimizer is None:
            self._optimizer = torch.optim.Adam(parameters, lr=self.adversary_lr, maximize=True)
        moments = [state["exp_avg"] for state in self._optimizer.state.values()]
        if moments and moments[0].device != parameters[0].device:  # the module moved, its moments did not
            self._optimizer.load_state_dict(self._optimizer.state_dict())
        return self._optimizer

    def _checked(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        check_matrix_pair(x, y, "samples")
        if x.shape[-1] != self.num_features:
            raise InputError(
                f"Expected samples of width {self.num_features}, got {x.shape[-1]}; give num_features={x.shape[-1]}, "
                "and images as images.flatten(1)."
            )
        if not (x.is_floating_point() and y.is_floating_point()):
            raise InputError(f"Expected floating-point samples, got {x.dtype} and {y.dtype}; convert with .float().")
        common = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        return x.to(common), y.to(common)

    def _discrepancy(self, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """What `forward` returns, of samples without labels."""
        return ncfd(
            x,
            y,
            t,
            amplitude_weight=self.amplitude_weight,
            corrected=self.corrected,
            chunk_size=self.chunk_size,
        )

    def _criterion(self, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """What `ascend` maximises, of samples without labels."""
        if self.criterion == "discrepancy":
            return self._discrepancy(x, y, t)
        return criterion_by_halves(self.criterion, x, y, t, chunk_size=self.chunk_size)


def _in_full_precision(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Without the autocast of a training around: what is compared are differences of means, lost in half precision."""
    kind = x.device.type
    if not torch.amp.autocast_mode.is_autocast_available(kind):
        return contextlib.nullcontext()
    return torch.autocast(kind, enabled=False)
