"""Atomic writes of files and folders, memory-mapped arrays, and content hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import secrets
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ncfm._utils.checks import InputError, NcfmError, RunError

ROWS_AT_ONCE = 4096  # of a tensor that is processed in parts
RESIDENT_LIMIT = 2**29  # resident bytes of mapped files above which their pages are released


def write_atomically(path: Path, write: Callable[[Path], None], *, before: Path | None = None) -> None:
    """Let ``write`` fill a temporary file next to ``path``, sync it, and rename it over ``path``.

    A reader sees the old file or the new one, never a part of one, even if the process is killed.

    Args:
        path: the file.
        write: fills the temporary file.
        before: a file in the same folder, which receives the previous content of ``path``.

    Raises:
        RunError: if the disk is full or the folder cannot be written; the old file is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            if before is not None:
                _keep(path, before)
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"Could not write {path}: {error}. What was there before is unchanged; "
            "free some space, then run the command again (distill: with --resume)."
        ) from error


def temporary_name(path: Path) -> Path:
    """A new hidden name next to ``path``.

    Nothing is made here: a signal between the making of a file and the knowledge of its name would leave it behind.
    """
    return path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.tmp")


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut, where the system can sync folders."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _keep(path: Path, before: Path) -> None:
    """Replace ``before`` by the content of ``path``; at every moment at least one of them exists."""
    if not path.is_file():
        return
    link = before.with_name(f".{before.name}.tmp")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without links: for a moment only ``before`` exists
        path.replace(before)
        return
    link.replace(before)
    link.unlink(missing_ok=True)  # if both names were one file, the replacement did nothing


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` fill a temporary folder next to ``path``, and rename it to ``path``, which it replaces.

    A killed process leaves the old folder or the new one. Between the two renames it leaves both, under hidden names.

    Raises:
        RunError: if the disk is full or the folder cannot be written; the old one is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = temporary_name(path)
        new, old = work / "new", work / "old"
        try:
            new.mkdir(parents=True)
            fill(new)
            if path.is_dir():
                path.rename(old)
            try:
                new.rename(path)
            except OSError:
                if old.is_dir():
                    old.rename(path)
                raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"Could not write {path}: {error}. What was there before is unchanged; "
            "free some space or choose another place, then run the command again."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=True) + "\n")


def write_text(path: Path, text: str) -> None:
    r"""Write text as UTF-8, atomically. Bytes of file names that are not UTF-8 become ``\udce9``, as JSON has it."""

    def write(place: Path) -> None:
        place.write_text(text, encoding="utf-8", errors="backslashreplace")

    write_atomically(path, write)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        NcfmError: if it is missing (RunError if it is not JSON).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"Expected a file {path}, but there is none.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"Could not read {path} as JSON: {error}.") from error


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    before: Path | None = None,
) -> None:
    """Write named tensors as a safetensors file, as `write_atomically` does. Nothing is pickled."""
    flat = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_atomically(path, lambda p: save_file(flat, p, dict(metadata or {})), before=before)


def read_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        NcfmError: if it is missing (RunError if it is damaged).
    """
    try:
        return load_file(path, device=device)
    except FileNotFoundError as error:
        raise InputError(f"Expected a file {path}, but there is none.") from error
    except (OSError, SafetensorError) as error:
        raise RunError(f"Could not read {path}: {error}. It may be damaged or of another format.") from error


def content_hash(*parts: Tensor | bytes | str) -> str:
    """SHA-256 of tensors, bytes and strings (32 hex digits): equal content gives an equal name on every machine."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            values = part.detach()
            digest.update(f"{values.new_empty(0).cpu().numpy().dtype}{tuple(part.shape)}".encode())
            for rows in values.split(ROWS_AT_ONCE) if values.ndim else (values,):
                digest.update(np.ascontiguousarray(rows.cpu().numpy()).data)
                release_pages()
        else:
            data = part.encode(errors="surrogateescape") if isinstance(part, str) else part  # names may not be UTF-8
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
    return digest.hexdigest()[:32]


_mappings: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def map_array(path: Path) -> Tensor:
    """Map the array of a ``.npy`` file as a tensor, whose pages are read when they are used.

    A write to the tensor changes the copy in memory, not the file.

    Raises:
        RunError: if the file cannot be read as one.
    """
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise RunError(f"Could not read {path}: {error}. It may be damaged or of another format.") from error
    if array.nbytes:
        _mappings.add(array._mmap)
    return torch.from_numpy(np.asarray(array))


def release_pages(limit: int = RESIDENT_LIMIT) -> None:
    """Return the pages of mapped files to the system if more than ``limit`` bytes of files are resident.

    The system keeps them in its file cache while memory is free, so that reading them again is cheap. Call it where
    large sets are read: otherwise a process that has read all of a file counts as using all of that memory.
    """
    if _mappings and _resident_files() > limit:
        for mapping in list(_mappings):
            mapping.madvise(mmap.MADV_DONTNEED)


def _resident_files() -> int:
    """Resident bytes of file pages of this process; 0 where they are not known (on systems other than Linux)."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[2]) * mmap.PAGESIZE
    except (OSError, IndexError, ValueError):
        return 0


def cache_dir() -> Path:
    """The folder of the cache: ``NCFM_CACHE``, else ``~/.cache/ncfm``."""
    return Path(os.environ.get("NCFM_CACHE") or Path.home() / ".cache" / "ncfm")


class BackgroundTask:
    """Runs one task at a time in a separate thread, so that a loop does not wait for the disk.

    The next call raises what a task has raised.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=1)
        self._running: Future[None] | None = None

    def start(self, task: Callable[[], None]) -> None:
        """Wait for the previous task, then run this one in the background."""
        self.wait()
        self._running = self._threads.submit(task)

    def wait(self) -> None:
        """Wait for the running task."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        """Wait for the running task, and end the thread."""
        self._threads.shutdown(wait=True)
        self.wait()


@contextlib.contextmanager
def best_effort() -> Iterator[None]:
    """Ignore that a write fails which only saves time later, such as one to the cache."""
    with contextlib.suppress(NcfmError):
        yield
