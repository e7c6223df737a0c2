"""What a run needs of a method: a `Step`, whatever one iteration of it computes."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor
from torch.optim import Optimizer

from ncfm._utils.seeding import Streams
from ncfm.distillation.diagnosis import Diagnosis, Spectrum


class Record(Protocol):
    """The measurements of an iteration: a NamedTuple of tensors (), the minimised value first; None where the method
    has no such measurement. Reading a value waits for the device."""

    def _asdict(self) -> dict[str, Any]: ...


class Step(Protocol):
    """A method: calling it runs one iteration."""

    streams: Streams

    @property
    def images_per_pass(self) -> int | None:
        """Synthetic images in a pass with gradient; None if all at once."""
        ...

    def __call__(self) -> Record:
        """Run one iteration."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that iterations change, by name: a checkpoint has them next to optimizers and generators."""
        ...

    def optimizers(self) -> dict[str, Optimizer]:
        """All optimizers by name; ``images_optimizer`` follows the schedule."""
        ...

    def diagnose(self) -> Diagnosis | None:
        """Diagnose the adversary's frequencies; None for a method without frequencies."""
        ...

    def spectrum(self) -> Spectrum | None:
        """The spectrum of the adversary's frequencies; None for a method without learned frequencies."""
        ...

    def halve_chunks(self) -> bool:
        """After an allocation failed: use smaller passes from now on. False if they cannot be smaller."""
        ...

    @property
    def can_be_repeated(self) -> bool:
        """Whether an iteration that ran out of memory can be run again; not if other ranks have passed it."""
        ...
