"""The user's own code by name: ``module:callable``.

A name is resolved only where the user gives it, on the command line, in a recipe or in a call. A name that a set or a
run folder records is never imported by itself: `only_recorded` takes its place.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ncfm._utils.checks import InputError, NcfmError, RunError

_named: dict[str, dict[str, str]] = {}  # modules of the user: names that were given, and the kind of what they name


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
        NcfmError: if there is no such module or callable, or the module cannot be imported.
    """
    path, _, attribute = name.partition(":")
    _named.setdefault(path, {})[name] = what
    module = _imported(name, what)
    found = getattr(module, attribute, None)
    if found is None:
        near = difflib.get_close_matches(attribute, [n for n in vars(module) if not n.startswith("_")], n=3, cutoff=0.5)
        hint = f" Nearest: {', '.join(near)}." if near else ""
        raise InputError(f"The module {path!r} has no {attribute!r}, which the {what} {name!r} names.{hint}")
    if not callable(found):
        raise InputError(f"The {what} {name!r} must be callable, got a {type(found).__name__}.")
    loaded: Callable[..., Any] = found
    return loaded


def _imported(name: str, what: str) -> ModuleType:
    path = name.partition(":")[0]
    try:
        with _current_folder_first():
            return importlib.import_module(path)
    except NcfmError:
        raise
    except Exception as error:  # the user's code may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name and f"{path}.".startswith(f"{error.name}."):
            raise InputError(
                f"There is no module {path!r}, neither in the current folder ({Path.cwd()}) nor installed; "
                f"the {what} make in a file mine.py there is named mine:make."
            ) from error
        raise RunError(
            f"The module of the {what} {name!r} could not be imported: {type(error).__name__}: {error}"
        ) from error


def blame(error: BaseException) -> str | None:
    """The user's own code that raised an error while it was called, with the error, in one line; else None."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        names = _named.get(frame.f_globals.get("__name__", ""))
        if names:
            what = " or ".join(f"{what} {name!r}" for name, what in names.items())
            place = f"{Path(frame.f_code.co_filename).name}, line {line}"
            return f"The {what} failed in {place}: {type(error).__name__}: {error}"
    return None


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


def named_arguments(make: Callable[..., Any]) -> frozenset[str]:
    """The arguments that a callable names, without those that ``*`` and ``**`` collect.

    >>> sorted(named_arguments(lambda scale, *, power=1, **more: scale))
    ['power', 'scale']
    """
    try:
        parameters = inspect.signature(make).parameters.values()
    except ValueError:  # built-in, without a signature
        return frozenset()
    return frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def call_with(
    make: Callable[..., Any], offered: Mapping[str, Any], options: Mapping[str, Any], *, what: str, section: str
) -> Any:
    """Call with those of the offered keyword arguments that the callable names, and with all options.

    >>> call_with(lambda scale, power=1: scale**power, {"scale": 3, "seed": 0}, {"power": 2}, what="x", section="x")
    9

    Args:
        make: a class or function.
        offered: keyword arguments by name; those that ``make`` does not name are left out.
        options: the user's own keyword arguments; ``make`` must take them all.
        what: is made, such as "The objective 'mine:make'"; for messages.
        section: of the settings that hold the options, such as "objective"; for messages.

    Raises:
        NcfmError: for an option that is offered already, one that ``make`` does not take, or a missing argument.
    """
    twice = sorted(options.keys() & offered.keys())
    if twice:
        raise InputError(f"{what}: {section}.options.{twice[0]} is given already; leave it out of the options.")
    named = named_arguments(make)
    arguments = {**{name: value for name, value in offered.items() if name in named}, **options}
    mismatch = mismatch_of(make, arguments)
    if mismatch is not None:
        raise InputError(
            f"{what} cannot be made: {mismatch}. It may name {', '.join(offered)}; anything else is a setting "
            f"{section}.options.NAME."
        ) from mismatch
    return make(**arguments)


def mismatch_of(make: Callable[..., Any], arguments: Mapping[str, Any]) -> TypeError | None:
    """Why a callable does not take these keyword arguments; None if it does, or has no signature, as built-in ones."""
    try:
        inspect.signature(make).bind(**arguments)
    except ValueError:
        return None
    except TypeError as error:
        return error
    return None


def only_recorded(setting: str, name: str) -> str:
    """What takes the place of a name that a set or run folder records and the user has not given.

    It is the option by which the user can give it, so that it names nothing: `check_given` refuses it.
    """
    return f"{setting}={name}"


def check_given(name: str, what: str) -> None:
    """Check that a name is not one that is `only_recorded`.

    Raises:
        NcfmError: with the option by which the user can give it.
    """
    setting, equals, recorded = name.partition("=")
    if equals and is_outside(recorded):
        raise InputError(
            f"The set records the {what} {recorded!r} as its {setting}. Code that a set names is imported only if you "
            f"name it yourself: --set {name}, or another {what}."
        )
