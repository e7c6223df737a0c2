"""The files below a folder: images, litter, and others, which are counted by suffix."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ncfm._utils.progress import counted
from ncfm.data.image_files import is_image_name
from ncfm.data.split_names import shortened

LITTER = frozenset(
    {
        "@eadir",  # thumbnails of Synology's file servers, and what users of them deleted
        "#recycle",
        "__macosx",  # a copy of every name in archives of macOS
        "thumbs.db",  # previews and settings of Windows
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "lost+found",  # at the root of Linux file systems
        "classes.json",  # the index of an export of ncfm
    }
)
"""Names in lower case that systems leave in folders. Like hidden names they are left out without a remark."""


@dataclass
class Files:
    """Files below a folder, without litter."""

    images: list[Path] = field(default_factory=list)  # sorted
    others: Counter[str] = field(default_factory=Counter)  # by suffix, ``.txt``
    repeated: list[Path] = field(default_factory=list)  # folders that a link makes appear again


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden, or in the list `LITTER`."""
    return name.startswith(".") or name.lower() in LITTER


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without litter; links to folders are folders."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_litter(path.name))


def files_in(folder: Path) -> Files:
    """The files directly in a folder."""
    return _scanned(folder, deep=False)


def files_below(folder: Path) -> Files:
    """The files in a folder and all folders below it; links to folders are followed, but no folder is entered twice.

    A link to a file that does not exist counts as an image if its name is that of one, so that it is reported as
    unreadable.

    Raises:
        OSError: for a folder that must not be read.
    """
    return _scanned(folder, deep=True)


def _scanned(folder: Path, *, deep: bool) -> Files:
    found = Files()
    real = folder.resolve()
    _scan(folder, found, {real, *real.parents} if deep else None)
    found.images.sort()
    return found


def _scan(folder: Path, found: Files, entered: set[Path] | None) -> None:
    """Add the files of a folder, and of those below it unless ``entered``, the folders to leave out, is None."""
    with os.scandir(folder) as entries:
        listed = sorted((entry for entry in entries if not is_litter(entry.name)), key=lambda entry: entry.name)
    for entry in listed:
        path = folder / entry.name
        is_link = entry.is_symlink()
        if entry.is_dir(follow_symlinks=False) or (is_link and path.is_dir()):
            if entered is not None:
                _enter(path, found, entered)
        elif is_image_name(entry.name) and (is_link or entry.is_file(follow_symlinks=False)):
            found.images.append(path)
        else:
            found.others[path.suffix.lower()] += 1


def _enter(folder: Path, found: Files, entered: set[Path]) -> None:
    real = folder.resolve()
    if real in entered:
        found.repeated.append(folder)
        return
    entered.add(real)
    _scan(folder, found, entered)


def by_suffix(counts: Counter[str]) -> str:
    """Numbers of files, the most frequent suffix first.

    >>> by_suffix(Counter({".txt": 1200, ".heic": 3, "": 1}))
    '1,200 .txt, 3 .heic, 1 without suffix'
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return shortened([f"{count:,} {suffix or 'without suffix'}" for suffix, count in ordered])


def printable(name: str) -> str:
    r"""A name of a file or folder as text: bytes that are not UTF-8 become ``\xe9``.

    >>> printable("caf\udce9")
    'caf\\xe9'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def remarks_on_files(root: Path, classes: Iterable[tuple[Path, Files]], inner: str = "") -> tuple[str, ...]:
    """What is left unread next to and in the folders of the classes, and what is read from folders deeper than
    ``inner`` in them."""
    loose = files_in(root)
    others, deeper, repeated = Counter(loose.others), [], list[Path]()
    for folder, files in classes:
        others += files.others
        deeper += [image for image in files.images if image.parent not in (folder, folder / inner)]
        repeated += files.repeated
    remarks = []
    if others:
        remarks.append(f"{counted(others.total(), 'file')} left unread: {by_suffix(others)}")
    if loose.images:
        remarks.append(f"{counted(len(loose.images), 'image')} left unread, in no class folder: {_names(loose.images)}")
    if deeper:
        first = printable(str(deeper[0].parent.relative_to(root)))
        remarks.append(f"{counted(len(deeper), 'image')} in folders below that of the class, such as {first}")
    if repeated:
        names = shortened([printable(str(path.relative_to(root))) for path in repeated])
        remarks.append(f"left out links to folders that are read already, or contain them: {names}")
    return tuple(remarks)


def _names(paths: Iterable[Path]) -> str:
    return shortened([printable(path.name) for path in paths])
