"""Whether a file can be written, asked before the work whose result it receives."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ncfm._utils.checks import InputError


def check_writable(path: Path, what: str) -> None:
    """Check that `ncfm._utils.files.write_atomically` could write a file now. Nothing is left behind.

    Args:
        path: the file; it and its folders need not exist.
        what: what it is, for the message, such as "a results file".

    Raises:
        InputError: if it is a folder, or a temporary file cannot be made next to it.
    """
    problem = _problem(path)
    if problem:
        raise InputError(f"Expected {what} that can be written, got {path}: {problem}. Name another file.")


def _problem(path: Path) -> str:
    try:
        if path.is_dir():
            return "it is a folder"
        existing = next(folder for folder in path.parents if folder.exists())
        if not existing.is_dir():
            return f"{existing} is not a folder"
        with tempfile.NamedTemporaryFile(dir=existing, prefix=f".{path.name}.", suffix=".tmp"):
            return ""
    except OSError as error:
        return (error.strerror or str(error)).lower()
