"""Named random generators from one seed.

Every use of randomness has a generator with a name of its own. A new draw in one place ("augment") therefore never
shifts the draws of another ("batches"), and each generator can be saved and restored on resume.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping

import torch
from torch import Generator, Tensor


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream ``names``: the first bytes of SHA-256 of seed and names.

    Unlike Python's ``hash`` it is the same in every process and on every machine.
    """
    text = "\0".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int, device: str | torch.device = "cpu") -> Generator:
    """A torch generator for the stream ``names``.

    >>> a, b = generator(0, "batches"), generator(0, "batches")
    >>> bool((torch.rand(3, generator=a) == torch.rand(3, generator=b)).all())
    True
    """
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *names))


class Streams:
    """Generators by name, created on first use, whose states can be saved and restored.

    They are on the CPU, so that every device gets the same numbers. ``devices`` names another device for a stream that
    draws too many numbers to transfer.
    """

    def __init__(self, seed: int, devices: Mapping[str, torch.device] | None = None) -> None:
        self.seed, self.devices = seed, dict(devices or {})
        self._generators: dict[str, Generator] = {}

    def __getitem__(self, name: str) -> Generator:
        if name not in self._generators:
            self._generators[name] = generator(self.seed, name, device=self.devices.get(name, "cpu"))
        return self._generators[name]

    def state(self) -> dict[str, Tensor]:
        """The states of all generators used so far, as byte tensors by name."""
        return {name: g.get_state() for name, g in self._generators.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue every stream from ``state``; a stream that is not in it starts from its seed.

        A stream that was drawn on another kind of device cannot be continued there. It starts from a seed that its
        state determines, with a warning.
        """
        self._generators = {name: g for name, g in self._generators.items() if name in state}
        for name, value in state.items():
            try:
                self[name].set_state(value)
            except (RuntimeError, TypeError):
                self[name].manual_seed(derive_seed(self.seed, name, value.numpy().tobytes().hex()))
                warnings.warn(
                    f"The random stream {name!r} was drawn on another kind of device than {self[name].device}, and "
                    "goes on from a new seed: the result is not that of an uninterrupted run. Resume on the kind of "
                    "device where the run started for that.",
                    stacklevel=2,
                )
