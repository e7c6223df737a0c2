"""Parquet files as Hugging Face writes them: a column of encoded images, a column of labels, names in the schema."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ncfm._checks import NcfmError
from ncfm.data.raw import IMAGE_COLUMNS, LABEL_COLUMNS, RawSplit, checked_split, find_column

TEST_NAMES = ("test", "validation", "valid", "val")


def read_parquets(
    files: Sequence[Path], image_column: str | None = None, label_column: str | None = None
) -> dict[str, RawSplit]:
    """Read files, grouped by the split that their names begin with.

    Raises:
        NcfmError: for files that are not parquet, or have no image or label column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    splits: dict[str, list[Path]] = {}
    for path in files:
        splits.setdefault(split_of(path), []).append(path)
    raws = {}
    for split, paths in splits.items():
        try:
            table = pa.concat_tables([pq.read_table(p) for p in paths])
        except (pa.ArrowInvalid, OSError) as error:
            raise NcfmError(f"Could not read {', '.join(map(str, paths))} as parquet: {error}.") from error
        place = str(paths[0])
        image_name = find_column(table.column_names, image_column, IMAGE_COLUMNS, "image", place)
        label_name = find_column(table.column_names, label_column, LABEL_COLUMNS, "label", place)
        names = _names_in_schema(table.schema.metadata, label_name)
        cells, labels = (table.column(c).to_pylist() for c in (image_name, label_name))
        raws[split] = checked_split(cells, labels, label_name, names, place)
    return raws


def split_of(path: Path) -> str:
    """The split that a file's name begins with: ``test-00000-of-00001.parquet`` -> ``test``; else train."""
    word = re.match("[a-z]*", path.stem.lower())  # the whole word: values.parquet is no val split
    return word[0] if word and word[0] in TEST_NAMES else "train"


def _names_in_schema(metadata: dict[bytes, bytes] | None, label_name: str) -> tuple[str, ...] | None:
    """Class names from the ``huggingface`` entry of a parquet schema, if it has them."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(n) for n in features[label_name]["names"])
    except (KeyError, ValueError, TypeError):
        return None
