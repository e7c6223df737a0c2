"""Ranks: processes that share one piece of work, on one machine or on several (torch.distributed).

Every rank draws the same random numbers and keeps the classes (or teachers, or students) of its share. What they need
of each other is summed or gathered here, and nowhere else. A process alone is a group of one, for which all of this
does nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ncfm._utils.checks import NcfmError, NcfmFailure
from ncfm._utils.device import is_out_of_memory

# Ranks wait for each other's teachers, which may take hours. One that is lost closes its connections and is noticed at
# once, however long this is.
TIMEOUT = datetime.timedelta(hours=24)


class LostRank(NcfmFailure):
    """Another rank has ended, or cannot be reached."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that share its work.

    Every method but `share`, `mine` and `own_device` is a meeting: all ranks must call it, in the same order.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """The ranks of torch.distributed if the program has joined them, else one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is nobody to meet."""
        return self.count == 1

    def share(self, total: int) -> slice:
        """This rank's part of ``total`` things in a row; parts differ by one at most, the first ranks have more.

        Raises:
            NcfmError: if there are fewer things than ranks.
        """
        if total < self.count:
            raise NcfmError(f"{self.count} ranks cannot share {total} classes; start at most {total}.")
        return slice(*(self._begin(total, rank) for rank in (self.rank, self.rank + 1)))

    def mine(self, total: int) -> range:
        """The numbers below ``total`` that are this rank's where each is a piece of work for itself."""
        return range(self.rank, total, self.count)

    def _begin(self, total: int, rank: int) -> int:
        """Where a rank's part begins."""
        each, more = divmod(total, self.count)
        return rank * each + min(rank, more)

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Each tensor summed over the ranks, in one message; the same bits everywhere. Without gradient."""
        if self.is_alone or not tensors:
            return list(tensors)
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with _in_touch():
            dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)]

    def gather(self, own: Tensor, total: int) -> Tensor:
        """All ranks' shares of ``total`` rows, put together in their order; every rank gets the whole."""
        if self.is_alone:
            return own
        sizes = [self._begin(total, rank + 1) - self._begin(total, rank) for rank in range(self.count)]
        padded = own.new_zeros(sizes[0], *own.shape[1:])
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        with _in_touch():
            dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def hand_out(self, tensors: Sequence[Tensor], source: int) -> None:
        """Fill tensors, of the same shapes everywhere, with those of one rank."""
        if self.is_alone:
            return
        with _in_touch():
            for tensor in tensors:
                dist.broadcast(tensor, source)

    def collect(self, value: Any) -> list[Any]:
        """What JSON can hold of every rank, in their order; every rank gets all. Nothing is pickled."""
        if self.is_alone:
            return [value]
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        with _in_touch():
            dist.all_gather(lengths, torch.tensor([len(text)]))
            padded = torch.zeros(int(max(lengths)), dtype=torch.uint8)
            padded[: len(text)] = text
            parts = [torch.empty_like(padded) for _ in lengths]
            dist.all_gather(parts, padded)
        return [json.loads(part[: int(length)].numpy().tobytes()) for part, length in zip(parts, lengths, strict=True)]

    def after_first(self, work: Callable[[], object]) -> None:
        """Let the first rank do something before anybody goes on.

        Raises:
            NcfmError: on the others if it failed there; the first raises what went wrong.
        """
        if self.is_alone:
            work()
            return
        failure: BaseException | None = None
        if self.is_first:
            try:
                work()
            except BaseException as error:  # told to the others first, so that nobody waits for what does not come
                failure = error
        (failed,) = self.sum([torch.tensor(int(failure is not None))])
        if failure is not None:
            raise failure
        if failed:
            raise NcfmError("The first rank has stopped, and says why.")

    def in_turn(self, work: Callable[[], Any]) -> Any:
        """Let the first rank do something, then the others: what it leaves in a cache they find there.

        Raises:
            NcfmError: as `after_first`.
        """
        found: list[Any] = []
        self.after_first(lambda: found.append(work()))
        return found[0] if found else work()

    def own_device(self, device: torch.device) -> torch.device:
        """Of a machine's GPUs the one of this rank (torchrun's LOCAL_RANK), unless a certain one is asked for."""
        if self.is_alone or str(device) != "cuda":
            return device
        own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", self.rank)) % torch.cuda.device_count())
        torch.cuda.set_device(own)
        return own


ALONE = Ranks()


@contextlib.contextmanager
def _in_touch() -> Iterator[None]:
    """Tell the failure of a meeting in our words.

    Raises:
        LostRank: whatever the backend says of it.
    """
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise LostRank("Lost touch with another rank, which has ended or cannot be reached.") from error


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Join the ranks that torchrun has started (or whoever sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT), and
    leave them in the end. Without them, or if the program has joined already, there is nothing to do.

    Messages between CPUs go by Gloo, those between GPUs by NCCL.

    Raises:
        LostRank: if they do not find each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or not dist.is_available() or dist.is_initialized():
        yield Ranks.here()
        return
    # Its functions have the group of the moment as a default, which must not be ours: who keeps a group alive keeps the
    # threads of Gloo, and one that frees a message while Python shuts down aborts the process
    # (https://github.com/pytorch/pytorch/pull/179291).
    import torch.distributed.nn.functional

    with _in_touch():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
    try:
        yield Ranks.here()
    finally:
        dist.destroy_process_group()
