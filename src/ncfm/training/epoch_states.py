"""The weights of a teacher after every epoch of its training: extractors that are real stages, in place of blends.

A state is a file of its own in the cache, written when its epoch ends. An interrupted training finds the states of the
epochs before, and resumes. A state of P weights takes 4 P bytes of disk (see `bytes_of_states`). A pool holds maps of
these files, on the CPU: the weights that are drawn are read from there.

Reference:
    TGDD (2025) draws real checkpoints of a training; blends of initial and trained weights are those of DANCE.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from ncfm._utils.cache import CacheEntry

Weights = dict[str, Tensor]

KIND = "teacher-epochs"


class EpochStates:
    """The states of one training between its first and its last, in the cache.

    The state before the first epoch and that after the last are the teacher's own, and are not stored again.

    Args:
        key: of the teacher, see `ncfm.training.teacher_trainings.teacher_key`.
        num_epochs: of the training.
        cache: folder of the teachers' cache; the states lie in a folder below it. None: the usual one.
        is_cached: whether files are read and written; else states are kept in memory.
    """

    def __init__(self, key: str, num_epochs: int, cache: Path | None = None, *, is_cached: bool = True) -> None:
        self.key, self.num_epochs, self.is_cached = key, num_epochs, is_cached
        self._place = None if cache is None else cache / KIND
        self._kept: dict[int, Weights] = {}  # where a file could not be written

    @property
    def between(self) -> range:
        """The epochs that are stored."""
        return range(1, self.num_epochs)

    def note(self, epoch: int, module: nn.Module) -> None:
        """Store the weights after an epoch."""
        if epoch not in self.between:
            return
        weights = {name: value.detach().cpu().clone().contiguous() for name, value in module.state_dict().items()}
        if self.is_cached:
            self._entry(epoch).write(weights)
        if self._read(epoch, module) is None:
            self._kept[epoch] = weights

    def find(self, module: nn.Module) -> list[Weights] | None:
        """All of them in order, for a network of the architecture of ``module``; None if one is missing or damaged."""
        found = [self._kept.get(epoch) or self._read(epoch, module) for epoch in self.between]
        known = [weights for weights in found if weights is not None]
        return known if len(known) == len(found) else None

    @property
    def are_there(self) -> bool:
        """Whether all have a file."""
        return all((self._entry(e).folder / f"{self._entry(e).key}.safetensors").exists() for e in self.between)

    def _entry(self, epoch: int) -> CacheEntry:
        return CacheEntry(KIND, f"{self.key}-{epoch}", self._place)

    def _read(self, epoch: int, module: nn.Module) -> Weights | None:
        def parse(entry: CacheEntry) -> Weights | None:
            tensors = entry.tensors()
            return tensors if tensors.keys() == module.state_dict().keys() else None

        return self._entry(epoch).read(parse) if self.is_cached else None


def bytes_of_states(module: nn.Module, num_epochs: int) -> int:
    """Bytes on disk of the states that a training of ``num_epochs`` stores."""
    one = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    return one * max(num_epochs - 1, 0)
