"""The user's own code by name: ``module:callable``.

A name is imported only where the user gives it: on the command line, in a recipe or in a call. A name that is read from
a set or a run folder is never imported.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ncfm._utils.checks import NcfmError


def is_outside(name: str) -> bool:
    """Whether a name is of the form ``module:callable``, such as ``my_networks:make``.

    >>> is_outside("my_networks:make"), is_outside("convnet"), is_outside("hf:owner/name"), is_outside(r"C:\\photos")
    (True, False, False, False)
    """
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load_callable(name: str, what: str) -> Callable[..., Any]:
    """Import the callable that ``module:callable`` names.

    During the import the current folder is first on Python's path.

    Args:
        name: such as ``my_networks:make`` for ``def make`` in ``my_networks.py``.
        what: the kind of the callable for messages, such as "network".

    Raises:
        NcfmError: if there is no such module or callable.
    """
    path, _, attribute = name.partition(":")
    module = _imported(path, what)
    found = getattr(module, attribute, None)
    if found is None:
        near = difflib.get_close_matches(attribute, [n for n in vars(module) if not n.startswith("_")], n=3, cutoff=0.5)
        hint = f" Nearest: {', '.join(near)}." if near else ""
        raise NcfmError(f"The module {path!r} has no {attribute!r}, which the {what} {name!r} names.{hint}")
    if not callable(found):
        raise NcfmError(f"The {what} {name!r} must be callable, got a {type(found).__name__}.")
    loaded: Callable[..., Any] = found
    return loaded


def _imported(path: str, what: str) -> ModuleType:
    try:
        with _current_folder_first():
            return importlib.import_module(path)
    except ModuleNotFoundError as error:
        # A module that the user's module fails to import is an error of that module: it needs its traceback.
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise
        raise NcfmError(
            f"There is no module {path!r}, neither in the current folder ({Path.cwd()}) nor installed; "
            f"the {what} make in a file mine.py there is named mine:make."
        ) from error


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Put the current folder first on Python's path, as ``python -m`` does and an installed command does not."""
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    importlib.invalidate_caches()  # the file may be newer than Python's listing of the folder
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
