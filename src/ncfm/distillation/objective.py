"""What an objective is: the discrepancy of every class that a synthetic set minimises, one class a group.

`Objective` has the members, `PlainObjective` is the base of those that have only a discrepancy, and `check_objective`
tries one from outside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.checks import InputError, describe
from ncfm._utils.types import Features, PerGroup
from ncfm.distillation.diagnosis import Diagnosis, Spectrum

ALL = slice(None)  # of the classes


class Measured(NamedTuple):
    """The discrepancy of every class, its parts if it has some, and what the adversary ascends in its place."""

    discrepancy: PerGroup  # (C,)
    amplitude: PerGroup | None = None  # (C,) mean squared gap of the amplitudes, without gradient
    phase: PerGroup | None = None  # (C,) the same of the phases
    criterion: PerGroup | None = None  # (C,) of the adversary; then the discrepancy has no gradient for it


class Objective(Protocol):
    """A discrepancy of every class, with the adversary that maximises it, if it has one."""

    adversary: nn.Module | None
    """The player that ascends; None if nothing is learned but the images."""

    couples_classes: bool
    """Whether the discrepancy of a class depends on features of other classes: then all classes have to be in one step,
    in one process."""

    has_frequencies: bool
    """Whether `diagnose` and `spectrum` have frequencies to describe; else both return None."""

    def to(self, device: torch.device) -> None:
        """Move the objective's tensors to the device of the features."""
        ...

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """Discrepancy (C,) of real (C, n, d) and synthetic (C, m, d) features.

        Gradients reach the synthetic features and the adversary's parameters. The memory is not changed. All random
        numbers are drawn by ``generator``.
        """
        ...

    def measure(self, real: Features, synthetic: Features, generator: Generator) -> Measured:
        """The same discrepancy from the same draws, with its parts.

        With a criterion the adversary ascends that. Its gradient is for the adversary alone, and that of the
        discrepancy for the synthetic features alone, so that one backward pass serves both players.
        """
        ...

    def diagnose(self, real: Features, synthetic: Features, generator: Generator) -> Diagnosis | None:
        """The discrepancy at the objective's frequencies and at fixed ones; arguments as in `discrepancy`."""
        ...

    def spectrum(self, generator: Generator) -> Spectrum | None:
        """Lengths and directions of the frequencies of one draw."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The memory by name: tensors that a checkpoint holds and that resuming fills in place; mostly empty.

        They exist from the start, in their final shape. Only `to` may replace them.
        """
        ...

    def remember(self, real: Features) -> None:
        """Add an iteration's real features (C, n, d) to the memory: once per iteration, after the steps.

        Not called if `state` is empty: the features of all classes are then never in memory together.
        """
        ...


class Draw(NamedTuple):
    """An objective whose random numbers are drawn: it can be measured on a part of the classes after another."""

    measure: Callable[[Features, Features, slice], Measured]
    """Measures real (P, n, d) and synthetic (P, m, d) features of the classes of a slice, see `Objective.measure`."""
    frequencies: Tensor | None = None
    """Drawn frequencies (k, d) with the graph that leads to the adversary; None: gradients reach it directly."""


@runtime_checkable
class DrawsOnce(Protocol):
    """An objective that can hold one draw of its random numbers for several parts of the classes."""

    def draw(self, generator: Generator) -> Draw:
        """Draw the random numbers of one `Objective.measure`."""
        ...


def draw_once(objective: Objective, generator: Generator) -> Draw:
    """One draw of an objective's random numbers, by its own `DrawsOnce.draw` if it has one.

    Otherwise every part draws them again, from the same state of the generator: they are equal, but cost their time.
    """
    if isinstance(objective, DrawsOnce):
        return objective.draw(generator)
    state = generator.get_state()

    def measure(real: Features, synthetic: Features, classes: slice) -> Measured:
        generator.set_state(state)
        return objective.measure(real, synthetic, generator)

    return Draw(measure)


class NoAdversary:
    """Only the images are learned, and there is nothing to move to a device."""

    adversary: nn.Module | None = None

    def to(self, device: torch.device) -> None:
        """There is nothing to move."""


class NoMemory:
    """Iterations do not depend on earlier ones."""

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def remember(self, real: Features) -> None:
        """There is no memory."""


class NoFrequencies(ABC):
    """A discrepancy without frequencies and without parts."""

    has_frequencies = False

    @abstractmethod
    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """Discrepancy (C,), see `Objective`."""

    def measure(self, real: Features, synthetic: Features, generator: Generator) -> Measured:
        """The discrepancy, which has no parts."""
        return Measured(self.discrepancy(real, synthetic, generator))

    def diagnose(self, real: Features, synthetic: Features, generator: Generator) -> Diagnosis | None:
        """There are no frequencies."""
        return None

    def spectrum(self, generator: Generator) -> Spectrum | None:
        """There are no frequencies."""
        return None


class PlainObjective(NoAdversary, NoMemory, NoFrequencies):
    """An objective that has only a `discrepancy`: no adversary, no memory, no frequencies."""

    couples_classes = False


TRIAL = (4, 2)  # real and synthetic images of a class


def check_objective(objective: object, name: str, num_classes: int, num_features: int) -> Objective:
    """Check an objective from outside: its members, and one iteration on random features.

    The trial fills the memory, so that the objective is not to be used afterwards.

    Args:
        objective: what the callable returned.
        name: of the callable, for messages.
        num_classes, num_features: C and d.

    Raises:
        NcfmError: naming the callable, if a member is missing, the trial raises, or the discrepancy is not (C,), finite
            and differentiable.
    """
    members = [*Objective.__annotations__, *(m for m in vars(Objective) if not m.startswith("_"))]
    missing = [member for member in dict.fromkeys(members) if not hasattr(objective, member)]
    if missing:
        raise InputError(
            f"The objective {name!r} has no {', '.join(missing)} (it is a {type(objective).__name__}); derive it from "
            "ncfm.distillation.objectives.PlainObjective, or see Objective there for what these are."
        )
    checked = cast("Objective", objective)
    n, m = TRIAL
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(num_classes, n, num_features, generator=rng)
    synthetic = torch.randn(num_classes, m, num_features, generator=rng).requires_grad_()
    try:
        measured = checked.measure(real, synthetic, torch.Generator().manual_seed(1))
        value = checked.discrepancy(real, synthetic, torch.Generator().manual_seed(1))
        checked.remember(real)
        state = checked.state()
    except Exception as error:
        raise InputError(
            f"The objective {name!r} fails on real features {tuple(real.shape)} and synthetic ones "
            f"{tuple(synthetic.shape)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(measured, Measured):
        raise InputError(f"The objective {name!r} must measure a Measured(discrepancy, ...), got {describe(measured)}.")
    for found in (measured.discrepancy, value):
        _check_value(found, name, num_classes)
    if not (isinstance(state, dict) and all(isinstance(tensor, Tensor) for tensor in state.values())):
        raise InputError(f"The state() of the objective {name!r} must be a dict of tensors, got {describe(state)}.")
    if not (checked.adversary is None or isinstance(checked.adversary, nn.Module)):
        raise InputError(
            f"The adversary of the objective {name!r} must be a torch.nn.Module or None, "
            f"got {describe(checked.adversary)}."
        )
    _check_gradients(value, synthetic, checked.adversary, name)
    return checked


def _check_value(value: object, name: str, num_classes: int) -> None:
    if not isinstance(value, Tensor) or tuple(value.shape) != (num_classes,):
        raise InputError(
            f"The objective {name!r} must give one value for each class, a tensor of shape ({num_classes},), "
            f"got {describe(value)}."
        )
    if not bool(torch.isfinite(value).all()):
        raise InputError(f"The objective {name!r} is not finite on random features.")


def _check_gradients(value: Tensor, synthetic: Tensor, adversary: nn.Module | None, name: str) -> None:
    tensors = {"the synthetic features": synthetic}
    if adversary is not None:
        tensors |= {f"the adversary's {key}": p for key, p in adversary.named_parameters() if p.requires_grad}
    for key, tensor in tensors.items():
        gradient = None
        if value.requires_grad and tensor.requires_grad:
            (gradient,) = torch.autograd.grad(value.sum(), tensor, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise InputError(f"The objective {name!r} is not differentiable: no gradient reaches {key}.")
        if not bool(torch.isfinite(gradient).all()):
            raise InputError(f"The objective {name!r} has a gradient that is not finite, on {key}.")
