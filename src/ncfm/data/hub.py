"""Data sets on the Hugging Face hub; no code of a repository is ever run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ncfm._utils.checks import NcfmError
from ncfm.data.raw import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    Encoded,
    Lazily,
    RawSplit,
    checked_split,
    encoded_cell,
    find_column,
)


class HubError(NcfmError):
    """The hub, or a repository there, cannot be had."""


Tables = Mapping[str, Any]
"""The library's tables by split."""


def open_hub(repository: str) -> Tables:
    """All splits of ``owner/name``; the library keeps what it downloads.

    Raises:
        HubError: if it cannot be had.
    """
    import datasets

    try:
        loaded: Tables = datasets.load_dataset(repository)
    except Exception as error:  # the library raises many kinds, from many layers below it
        raise HubError(f"Could not load {repository!r} from the Hugging Face hub: {error}") from error
    return loaded


def hub_key(tables: Tables) -> str:
    """What the library calls the content of the tables."""
    return " ".join(f"{split}={table._fingerprint}" for split, table in sorted(tables.items()))


def read_hub(
    tables: Tables, repository: str, image_column: str | None = None, label_column: str | None = None
) -> dict[str, RawSplit]:
    """The splits; images are read as they are asked for.

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
    import datasets

    encoded = table.cast_column(image_name, datasets.Image(decode=False)).select_columns([image_name])

    def read(start: int, stop: int) -> list[Encoded]:
        return [encoded_cell(cell, place, start + i) for i, cell in enumerate(encoded[start:stop][image_name])]

    names = getattr(table.features[label_name], "names", None)
    labels = list(table[label_name])
    return checked_split(Lazily(len(labels), read), labels, label_name, names and tuple(names), place)
