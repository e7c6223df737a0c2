"""The classes of an external set and those of the real data: matched by name, by number where there are no names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, check_labels
from ncfm.data.image_set import ImageSet
from ncfm.data.split_names import in_short, shortened
from ncfm.formats.names import folder_names

NUMBERED = re.compile(r"(?:new|class)?_?(\d+)")  # "7"; "00007" of RDED; "new007" of SRe2L
SHOWN = 5
K = TypeVar("K", str, int)


class Matched(NamedTuple):
    """The class of the real data for every class of a set."""

    at: Tensor  # (K,) int64
    note: str  # what was chosen; empty if there was no choice


def unique_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Distinct class names: the second "crane" is called "crane (2)".

    >>> unique_names(["crane", "dog", "crane"])
    ('crane', 'dog', 'crane (2)')
    """
    given, taken = set(class_names), set[str]()
    tried: dict[str, int] = {}  # numbers of a name, so that a thousand cranes take a thousand steps
    names: list[str] = []
    for name in class_names:
        own, number = name, tried.get(name, 1)
        while own in taken or (number > 1 and own in given):
            number += 1
            own = f"{name} ({number})"
        tried[name] = number
        taken.add(own)
        names.append(own)
    return tuple(names)


def match_names(class_names: Sequence[str], real: ImageSet, where: str) -> Matched:
    """Match named classes, in the order of a set's labels, with those of the real data.

    Names are compared as they are and as the names of folders in an export. Names that are all numbers ("00007",
    "new007") are matched with the numbers that the real classes are called, or else are positions in their order.

    Raises:
        InputError: for classes that the data do not have.
    """
    names = unique_names(class_names)
    for known in (unique_names(real.class_names), folder_names(real.class_names)):
        if set(names) <= set(known):
            return _match_known(names, known, real, where)
    numbers = [int(number[1]) for number in map(NUMBERED.fullmatch, names) if number is not None]
    if len(set(numbers)) < len(names):
        of_data = set(unique_names(real.class_names))
        raise _unknown([name for name in names if name not in of_data], real, where)
    return _match_numbers(numbers, names, real, where)


def match_labels(labels: Tensor, real: ImageSet, where: str) -> Matched:
    """Match labels (n,) of a file that does not name its classes with those of the real data.

    Labels are positions in the order of the real classes. If these are called by numbers, a label may be meant as such
    a name, too: names in the order of text ("0", "1", "10", "2") are not in the order of numbers.

    Raises:
        InputError: for labels out of range, or if position and name differ and neither is the only choice.
    """
    count = real.num_classes
    positions = torch.arange(count)
    called = _called(real)
    if called is None or called == list(range(count)):
        check_labels(labels, count)
        return Matched(positions, "")
    if sorted(called) == list(range(count)):
        check_labels(labels, count)
        first = next(label for label in range(count) if called[label] != label)
        note = f"{where}: labels are the names of classes, not positions: label {first} is class {first}."
        return Matched(torch.tensor(called).argsort(), note)
    if called == sorted(called) and int(labels.max()) < count:
        check_labels(labels, count)
        return Matched(positions, f"{where}: labels are positions: label 0 is class {real.class_names[0]!r}.")
    if called == sorted(called) and set(labels.tolist()) <= set(called):
        at = torch.full((called[-1] + 1,), -1)
        at[called] = positions
        return Matched(at, f"{where}: labels are the names of classes: label {called[0]} is the first.")
    raise InputError(
        f"{where}: its labels may be names or positions of the classes of {real.name}, which are called "
        f"{', '.join(real.class_names[:SHOWN])}, ...; give the folders of {real.name} names of equal length "
        "(001, 002, ...), or store class_names in the file."
    )


def _match_known(names: Sequence[str], known: Sequence[str], real: ImageSet, where: str) -> Matched:
    """Classes that all are known."""
    place = _places(known)
    at = torch.tensor([place[name] for name in names])
    moved = bool((at.diff() < 0).any())
    note = f"{where}: its classes are in another order than those of {real.name}; they are matched by name."
    return Matched(at, note if moved else "")


def _match_numbers(found: list[int], names: Sequence[str], real: ImageSet, where: str) -> Matched:
    """Classes that are called by numbers."""
    called = _called(real)
    place = _places(range(real.num_classes) if called is None else called)
    unknown = [name for name, number in zip(names, found, strict=True) if number not in place]
    if unknown:
        raise _unknown(unknown, real, where)
    at = torch.tensor([place[number] for number in found])
    how = "are taken as positions in the order of" if called is None else "are matched with the numbers of"
    pairs = [f"{name} is {real.class_names[i]}" for name, i in zip(names, at.tolist(), strict=True)]
    examples = ", ".join([*pairs[:3], *(["..."] if len(pairs) > 3 else [])])
    return Matched(at, f"{where}: the numbers of its classes {how} {real.name}: {examples}.")


def _places(known: Sequence[K]) -> dict[K, int]:
    """The position of each of these, which differ."""
    return {value: i for i, value in enumerate(known)}


def _called(real: ImageSet) -> list[int] | None:
    """The numbers that the classes are called; None unless all are, differently."""
    if not all(name.isascii() and name.isdecimal() for name in real.class_names):
        return None
    numbers = [int(name) for name in real.class_names]
    return numbers if len(set(numbers)) == len(numbers) else None


def _unknown(names: Sequence[str], real: ImageSet, where: str) -> InputError:
    more = ", ..." if real.num_classes > 2 * SHOWN else ""
    return InputError(
        f"{where} has classes that are missing from {real.name}: {shortened(names, SHOWN)}. Known: "
        f"{', '.join(map(in_short, real.class_names[: 2 * SHOWN]))}{more}; or numbers from 0 to {real.num_classes - 1}."
    )
