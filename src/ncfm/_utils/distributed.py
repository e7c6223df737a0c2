"""Ranks: processes that share one piece of work, on one machine or on several (torch.distributed).

Every rank draws the same random numbers and has its share of the classes (or teachers, or students). All communication
between ranks is in this module. A single process is a group of one, for which all of it does nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ncfm._utils.checks import InputError, RunError
from ncfm._utils.device import is_out_of_memory
from ncfm._utils.launch import local_rank, local_world_size, world_size
from ncfm._utils.progress import counted

# Ranks wait for each other's teachers, which may take hours. A rank that ends closes its connections, which the others
# notice at once, whatever the timeout.
TIMEOUT = datetime.timedelta(hours=24)


class LostRank(RunError):
    """Another rank has ended, or cannot be reached."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that share its work.

    Every method except `share`, `mine` and `own_device` is collective: all ranks must call it, in the same order.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """The ranks of torch.distributed if its process group is initialised, else a single one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes files and prints."""
        return self.rank == 0

    @property
    def is_single(self) -> bool:
        """Whether this is the only process."""
        return self.count == 1

    def share(self, total: int) -> slice:
        """This rank's contiguous part of ``total`` items; sizes differ by at most one, the first ranks have more.

        Raises:
            NcfmError: if there are fewer items than ranks.
        """
        if total < self.count:
            raise InputError(
                f"{counted(self.count, 'rank')} cannot share {counted(total, 'class')}; start at most {total}."
            )
        return slice(*(self._begin(total, rank) for rank in (self.rank, self.rank + 1)))

    def mine(self, total: int) -> range:
        """The indices below ``total`` of this rank, where each is an independent piece of work."""
        return range(self.rank, total, self.count)

    def _begin(self, total: int, rank: int) -> int:
        """The first index of a rank's part."""
        each, more = divmod(total, self.count)
        return rank * each + min(rank, more)

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Each tensor summed over the ranks, in one message; bit-identical on every rank. Without gradient."""
        if self.is_single or not tensors:
            return list(tensors)
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with _in_touch():
            dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)]

    def gather(self, own: Tensor, total: int) -> Tensor:
        """The shares of ``total`` rows of all ranks, concatenated in rank order; every rank gets the whole."""
        if self.is_single:
            return own
        sizes = [self._begin(total, rank + 1) - self._begin(total, rank) for rank in range(self.count)]
        padded = own.new_zeros(sizes[0], *own.shape[1:])
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        with _in_touch():
            dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def broadcast(self, tensors: Sequence[Tensor], source: int) -> None:
        """Overwrite tensors, of the same shapes on every rank, with those of the rank ``source``."""
        if self.is_single:
            return
        with _in_touch():
            for tensor in tensors:
                dist.broadcast(tensor, source)

    def gather_objects(self, value: Any) -> list[Any]:
        """The values of all ranks in rank order, on every rank. They travel as JSON: nothing is pickled."""
        if self.is_single:
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

    def on_main_process(self, work: Callable[[], object]) -> None:
        """Run ``work`` on the main process only, while the other ranks wait.

        Raises:
            NcfmError: on the other ranks if it failed; the main process raises the error itself.
        """
        if self.is_single:
            work()
            return
        failure: BaseException | None = None
        if self.is_main:
            try:
                work()
            except BaseException as error:  # raised below, when the others know of it and do not wait
                failure = error
        (failed,) = self.sum([torch.tensor(int(failure is not None))])
        if failure is not None:
            raise failure
        if failed:
            raise InputError("The first rank has stopped; see its message.")

    def main_process_first(self, work: Callable[[], Any]) -> Any:
        """Run ``work`` on the main process, then on the other ranks, which find in a cache what it has written.

        Raises:
            NcfmError: as `on_main_process`.
        """
        found: list[Any] = []
        self.on_main_process(lambda: found.append(work()))
        return found[0] if found else work()

    def own_device(self, device: torch.device) -> torch.device:
        """This rank's GPU of the machine (torchrun's LOCAL_RANK), unless ``device`` names a certain one."""
        if self.is_single or str(device) != "cuda":
            return device
        own = torch.device("cuda", local_rank(self.rank) % torch.cuda.device_count())
        torch.cuda.set_device(own)
        return own


ALONE = Ranks()


@contextlib.contextmanager
def _in_touch() -> Iterator[None]:
    """Translate the failure of a collective call.

    Raises:
        LostRank: for any error of the backend, except that memory has run out.
    """
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise LostRank("Lost touch with another rank, which has ended or cannot be reached.") from error


def backend_here() -> str:
    """Gloo between CPUs, NCCL between GPUs; Gloo for both where this machine has more ranks than GPUs, since NCCL
    refuses two ranks on one GPU."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return "cpu:gloo,cuda:nccl" if gpus and local_world_size() <= gpus else "gloo"


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Initialise the process group of the ranks that torchrun has started, and destroy it at the end.

    Other launchers set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT themselves. Without these variables, or with a
    process group that is already initialised, nothing is done. See `backend_here`.

    Raises:
        LostRank: if the ranks cannot connect.
        InputError: for variables with other values than a launcher sets.
    """
    if world_size() < 2 or not dist.is_available() or dist.is_initialized():
        yield Ranks.here()
        return
    # Imported before the group exists: its functions have the current group as a default argument. A group that is
    # kept alive keeps Gloo's threads, and a thread that frees a message while Python shuts down aborts the process
    # (https://github.com/pytorch/pytorch/pull/179291).
    import torch.distributed.nn.functional  # noqa: F401

    with _in_touch():
        dist.init_process_group(backend_here(), timeout=TIMEOUT)
    try:
        yield Ranks.here()
    finally:
        dist.destroy_process_group()
