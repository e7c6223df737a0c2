"""Data sets on the Hugging Face hub; no code of a repository is ever run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ncfm._utils.checks import InputError
from ncfm.data.assembly import Request, Wanted, assemble
from ncfm.data.cache import cached_set, source_key
from ncfm.data.choice import assign_splits
from ncfm.data.image_set import ImageSet
from ncfm.data.layout import Reading, with_remarks
from ncfm.data.raw import Encoded, LazyImages, RawSplit, checked_split, encoded_cell, find_columns
from ncfm.data.split_names import left_unread
from ncfm.data.store import NewRows

PREFIX = "hf:"


class HubError(InputError):
    """The hub, or a repository there, cannot be reached."""


Tables = Mapping[str, Any]
"""The library's tables by split."""


def read_hub_name(request: Request) -> ImageSet | None:
    """The source for ``hf:owner/name`` and ``hf:owner/name:configuration``.

    Raises:
        HubError: if it cannot be reached, or has several configurations and none is named.
    """
    if not request.name.startswith(PREFIX):
        return None
    repository, _, configuration = request.name.removeprefix(PREFIX).partition(":")
    reading = Reading().with_choice(request.choice)
    return load_hub(request.name, (repository, configuration or None), reading, request.wanted)


def load_hub(name: str, place: tuple[str, str | None], reading: Reading, wanted: Wanted) -> ImageSet:
    """The set called ``name`` from the cache if it has exactly this content, or decoded from the hub.

    Args:
        name: of the set.
        place: repository and configuration; None: the only one.
        reading: columns, splits and classes.
        wanted: size and channels.

    Raises:
        HubError: if the repository cannot be reached.
    """
    repository, configuration = place
    tables = open_hub(repository, configuration)
    where = repository if configuration is None else f"{repository}:{configuration}"

    def decode(rows: Callable[[str], NewRows]) -> ImageSet:
        return assemble(name, reading.select(read_hub(tables, where, reading)), wanted, rows)

    key = source_key([], "hub", where, hub_key(tables), reading.columns, reading.choice, reading.part, wanted)
    return cached_set(key, name, decode).read_as(f"{PREFIX}{where}")


def open_hub(repository: str, configuration: str | None = None) -> Tables:
    """All splits of ``owner/name``; the datasets library caches its downloads.

    Raises:
        HubError: if it cannot be reached, or has several configurations and none is named.
    """
    import datasets

    try:
        loaded: Tables = datasets.load_dataset(repository, *([] if configuration is None else [configuration]))
    except Exception as error:  # the library raises many kinds, from many layers below it
        remedy = "; name one as hf:owner/name:configuration" if "onfig name is missing" in str(error) else ""
        raise HubError(f"Could not load {repository!r} from the Hugging Face hub: {error}{remedy}") from error
    return loaded


def hub_key(tables: Tables) -> str:
    """The library's fingerprints of the tables."""
    return " ".join(f"{split}={table._fingerprint}" for split, table in sorted(tables.items()))


def read_hub(tables: Tables, repository: str, reading: Reading) -> dict[str, RawSplit]:
    """The splits, with images that are read on access.

    Raises:
        NcfmError: if there is no image or label column, or no split of a chosen name.
    """
    place = f"{PREFIX}{repository}"
    names = {str(split): str(split) for split in tables}
    unread: tuple[str, ...] = ()
    if reading.choice.splits:
        assigned = assign_splits(list(names), reading.choice, place)
        names, unread = assigned.single(place), left_unread("next to the training split", assigned.unread)
    read = {split: _split(tables[name], reading.columns, f"{place}/{name}") for split, name in names.items()}
    return with_remarks(read, unread)


def _split(table: Any, wanted: tuple[str | None, str | None], place: str) -> RawSplit:
    columns = find_columns(table.column_names, wanted, place)
    names = getattr(table.features[columns.label], "names", None)
    labels, cells = list(table[columns.label]), encoded_column(table, columns.image, place)
    split = checked_split(cells, labels, columns.label, names and tuple(names), place)
    return replace(split, remarks=columns.remarks)


def encoded_column(table: Any, image_name: str, place: str) -> LazyImages:
    """The encoded images of a table of the datasets library, read on access."""
    import datasets

    encoded = table.cast_column(image_name, datasets.Image(decode=False)).select_columns([image_name])

    def read(start: int, stop: int) -> list[Encoded]:
        return [encoded_cell(cell, place, start + i) for i, cell in enumerate(encoded[start:stop][image_name])]

    return LazyImages(len(encoded), read)
