"""Data sets on the Hugging Face hub; no code of a repository is ever run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ncfm._utils.checks import InputError
from ncfm.data.assembly import Request, Wanted, assemble
from ncfm.data.cache import cached_set, source_key
from ncfm.data.image_set import ImageSet
from ncfm.data.places import Reading
from ncfm.data.raw import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    Encoded,
    LazyImages,
    RawSplit,
    checked_split,
    encoded_cell,
    find_column,
)
from ncfm.data.store import NewRows

PREFIX = "hf:"


class HubError(InputError):
    """The hub, or a repository there, cannot be reached."""


Tables = Mapping[str, Any]
"""The library's tables by split."""


def read_hub_name(request: Request) -> ImageSet | None:
    """The source for ``hf:owner/name``.

    Raises:
        HubError: if it cannot be reached.
    """
    if not request.name.startswith(PREFIX):
        return None
    return load_hub(request.name, request.name.removeprefix(PREFIX), Reading(), request.wanted)


def load_hub(name: str, repository: str, reading: Reading, wanted: Wanted) -> ImageSet:
    """The set called ``name`` from the cache if it has exactly this content, or decoded from the hub.

    Raises:
        HubError: if the repository cannot be reached.
    """
    tables = open_hub(repository)

    def decode(rows: Callable[[str], NewRows]) -> ImageSet:
        return assemble(name, reading.select(read_hub(tables, repository, *reading.columns)), wanted, rows)

    key = source_key([], "hub", repository, hub_key(tables), reading.columns, reading.part, wanted)
    return cached_set(key, name, decode)


def open_hub(repository: str) -> Tables:
    """All splits of ``owner/name``; the datasets library caches its downloads.

    Raises:
        HubError: if it cannot be reached.
    """
    import datasets

    try:
        loaded: Tables = datasets.load_dataset(repository)
    except Exception as error:  # the library raises many kinds, from many layers below it
        raise HubError(f"Could not load {repository!r} from the Hugging Face hub: {error}") from error
    return loaded


def hub_key(tables: Tables) -> str:
    """The library's fingerprints of the tables."""
    return " ".join(f"{split}={table._fingerprint}" for split, table in sorted(tables.items()))


def read_hub(
    tables: Tables, repository: str, image_column: str | None = None, label_column: str | None = None
) -> dict[str, RawSplit]:
    """The splits, with images that are read on access.

    Raises:
        NcfmError: if there is no image or label column.
    """
    raws = {}
    for split, table in tables.items():
        place = f"hf:{repository}/{split}"
        image_name = find_column(table.column_names, image_column, IMAGE_COLUMNS, "image", place)
        label_name = find_column(table.column_names, label_column, LABEL_COLUMNS, "label", place)
        raws[str(split)] = _split(table, image_name, label_name, place)
    return raws


def _split(table: Any, image_name: str, label_name: str, place: str) -> RawSplit:
    names = getattr(table.features[label_name], "names", None)
    labels = list(table[label_name])
    return checked_split(encoded_column(table, image_name, place), labels, label_name, names and tuple(names), place)


def encoded_column(table: Any, image_name: str, place: str) -> LazyImages:
    """The encoded images of a table of the datasets library, read on access."""
    import datasets

    encoded = table.cast_column(image_name, datasets.Image(decode=False)).select_columns([image_name])

    def read(start: int, stop: int) -> list[Encoded]:
        return [encoded_cell(cell, place, start + i) for i, cell in enumerate(encoded[start:stop][image_name])]

    return LazyImages(len(encoded), read)
