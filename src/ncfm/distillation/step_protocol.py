"""What a method is to a run: a `Step`, whatever an iteration of it does."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor
from torch.optim import Optimizer

from ncfm._utils.seeding import Streams
from ncfm.distillation.diagnosis import Diagnosis, Spectrum


class Record(Protocol):
    """What an iteration measured: a NamedTuple of tensors (), the loss first; None for what it has not. To read them
    waits for the device."""

    def _asdict(self) -> dict[str, Any]: ...


class Step(Protocol):
    """A method: calling it plays one iteration."""

    streams: Streams

    @property
    def images_per_pass(self) -> int | None:
        """Synthetic images that a pass with gradient holds; None for all."""
        ...

    def __call__(self) -> Record:
        """Play one iteration."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that iterations change, by name: what a state holds beside optimizers and generators."""
        ...

    def optimizers(self) -> dict[str, Optimizer]:
        """All optimizers by name; ``images_optimizer`` follows the schedule."""
        ...

    def diagnose(self) -> Diagnosis | None:
        """Look at where the adversary looks; None if there is nothing of the kind."""
        ...

    def spectrum(self) -> Spectrum | None:
        """Of the adversary's frequencies; None if there is nothing of the kind."""
        ...

    def halve_chunks(self) -> bool:
        """After an allocation failed: smaller passes from now on. False if they cannot be smaller."""
        ...

    @property
    def can_be_repeated(self) -> bool:
        """Whether an iteration that memory did not suffice for can be played again; not if other ranks are past it."""
        ...
