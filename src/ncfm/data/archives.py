"""Archives of folders: zip and tar files, unpacked once into the cache.

Only regular files below the archive's own root are written. An archive with a link, a device or a path that leads
elsewhere is refused, and so is one of more than `MOST_BYTES` or `MOST_FILES`, counted as it is unpacked. Hidden files
are left out.
"""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from ncfm._utils.checks import InputError
from ncfm._utils.files import cache_dir, write_folder
from ncfm.data.cache import source_key

SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".zip", ".tar", ".tgz", ".tbz2", ".txz")
MOST_BYTES = 2**35  # of all unpacked files: 32 GiB
MOST_FILES = 2_000_000
PIECE = 2**20  # bytes that are read at a time
HIDDEN = (".", "__MACOSX")  # how the names of parts begin that programs leave in archives


def is_archive(path: Path) -> bool:
    """Whether a path is a file with the suffix of an archive."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def without_suffix(path: Path) -> str:
    """The name of a file without its suffix, or without both of ``.tar.gz``."""
    name = path.name
    return next((name[: -len(end)] for end in SUFFIXES if name.lower().endswith(end)), path.stem)


def unpack(path: Path) -> Path:
    """The folder in the cache with the content of an archive, which is unpacked if it is not there.

    Raises:
        NcfmError: for an archive that is damaged, too large, or has links or paths that lead out of it.
        RunError: if the cache cannot be written.
    """
    folder = cache_dir() / "archives" / source_key([path], "archive")
    if not folder.is_dir():
        write_folder(folder, lambda place: _unpack(path, place))
    return folder


def _unpack(path: Path, place: Path) -> None:
    count = size = 0
    members = _zip_members(path) if path.suffix.lower() == ".zip" else _tar_members(path)
    with _reading(path):
        for name, file in members:
            parts = _parts(path, name)
            if any(part.startswith(HIDDEN) for part in parts):
                continue
            count += 1
            size += _copy(path, file, place.joinpath(*parts), MOST_BYTES - size)
            if count > MOST_FILES:
                raise InputError(f"{path} has more than {MOST_FILES:,} files; unpack it and pass the folder.")


def _parts(path: Path, name: str) -> tuple[str, ...]:
    """The parts of an entry's name.

    Raises:
        NcfmError: if it leads out of the archive.
    """
    entry = PurePosixPath(name)
    if entry.is_absolute() or ".." in entry.parts or "\0" in name or PureWindowsPath(name).drive or "\\" in name:
        raise InputError(f"{path} has an entry {name!r}, which may lead out of the archive; refused.")
    return entry.parts


def _zip_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise _link(path, info.filename)
            if not info.is_dir():
                with archive.open(info) as file:
                    yield info.filename, file


def _tar_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path) as archive:
        for info in archive:
            if info.isdir():
                continue
            file = archive.extractfile(info) if info.isreg() else None
            if file is None:
                raise _link(path, info.name)
            with file:
                yield info.name, file


def _link(path: Path, name: str) -> InputError:
    return InputError(f"{path} has an entry {name!r} that is a link or not a file; unpack it and pass the folder.")


def _copy(path: Path, source: IO[bytes], target: Path, most: int) -> int:
    """Copy a file, and return its size.

    Raises:
        NcfmError: for more bytes than ``most``.
    """
    size = 0
    with _writing():
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("wb")
    with file:
        while piece := source.read(PIECE):
            size += len(piece)
            if size > most:
                limit = f"{MOST_BYTES / 2**30:.3g} GiB"
                raise InputError(f"{path} unpacks to more than {limit}; unpack it yourself and pass the folder.")
            with _writing():
                file.write(piece)
    return size


class _DiskError(Exception):
    """An error of the cache's disk, not of the archive."""

    def __init__(self, error: OSError) -> None:
        self.error = error


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _DiskError(error) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors of the archive as one sentence; those of the disk as they are.

    Raises:
        NcfmError: for a damaged archive.
    """
    try:
        yield
    except _DiskError as error:
        raise error.error from None
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged archive may raise anything
        raise InputError(f"Could not unpack {path}: {str(error) or type(error).__name__}.") from error
