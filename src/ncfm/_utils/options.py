"""Options objects: frozen dataclasses whose fields carry their limits.

A setting is defined once, with its default, its limits and its description. The limits hold wherever the object is
made: in Python by `Options`, in a configuration by pydantic, which reads the same annotations.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, Self, Union, cast, get_args, get_origin, get_type_hints

from ncfm._utils.checks import InputError, check_known


@dataclass(frozen=True)
class Bounds:
    """Limits of a number, for ``Annotated[int, Bounds(ge=1)]``."""

    ge: float | None = None  # at least
    gt: float | None = None  # above
    le: float | None = None  # at most

    def check(self, value: Any, name: str) -> None:
        """Raise NcfmError unless ``value`` lies within the limits; NaN never does."""
        if self.ge is not None and not value >= self.ge:
            raise InputError(f"{name} must be at least {self.ge}, got {value}.")
        if self.gt is not None and not value > self.gt:
            raise InputError(f"{name} must be above {self.gt}, got {value}.")
        if self.le is not None and not value <= self.le:
            raise InputError(f"{name} must be at most {self.le}, got {value}.")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        """The same limits for pydantic, which this module does not import."""
        return handler(source) | {key: limit for key, limit in vars(self).items() if limit is not None}


Count = Annotated[int, Bounds(ge=1)]
WholeNumber = Annotated[int, Bounds(ge=0)]
Positive = Annotated[float, Bounds(gt=0)]
NonNegative = Annotated[float, Bounds(ge=0)]
Fraction = Annotated[float, Bounds(ge=0, le=1)]


@dataclass(frozen=True)
class Options:
    """Base of options objects: checks the limits and choices in the annotations of its fields.

    Raises:
        NcfmError: for the first value outside its limits, naming the field.
    """

    @classmethod
    def of(cls, section: object) -> Self:
        """These options out of an object that has them among its attributes, such as a section of a configuration."""
        return cls(**{field.name: getattr(section, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        for name, hint in _hints(cast("Any", type(self))).items():
            value = getattr(self, name)
            for limit in _limits(hint) if value is not None else ():
                if isinstance(limit, Bounds):
                    limit.check(value, name)
                else:
                    check_known(value, limit, name)


@cache
def _hints(options: type[Any]) -> dict[str, Any]:
    return get_type_hints(options, include_extras=True)


def _limits(hint: Any) -> Iterator[Bounds | tuple[str, ...]]:
    """The bounds of a number, or the values to choose from, in a type such as ``Annotated[int, ...] | None``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        yield tuple(map(str, arguments))
    elif origin is Annotated:
        yield from (extra for extra in arguments[1:] if isinstance(extra, Bounds))
    elif origin in (Union, types.UnionType):
        for part in arguments:
            yield from _limits(part)


def descriptions(cls: type) -> dict[str, str]:
    """The docstrings under the fields of a class and its bases, by field; read from their sources."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        if "__annotations__" not in vars(base) or base.__module__.startswith("pydantic."):
            continue
        try:
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except OSError:  # a package without its sources
            continue
        assert isinstance(node, ast.ClassDef)
        for field, text in itertools.pairwise(node.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                found[field.target.id] = inspect.cleandoc(ast.literal_eval(text.value))
    return found
