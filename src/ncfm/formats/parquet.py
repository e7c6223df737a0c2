"""Parquet: images as PNG, labels as class indices, soft labels as probabilities; names and types in the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ncfm._utils.files import write_text
from ncfm.formats.card import dataset_card
from ncfm.formats.class_names import unique_names
from ncfm.formats.content import Content
from ncfm.formats.export_facts import export_facts
from ncfm.formats.png import png_bytes, write_index
from ncfm.synthetic.folders import SET_FOLDER
from ncfm.synthetic.storage import exact_bits, save

FACTS_KEY = b"ncfm"  # in the metadata of the schema: the values of `export_facts`
DATA_FILE = "data/train-00000-of-00001.parquet"  # the hub's own layout


def write_parquet(content: Content, path: Path) -> None:
    """One table with the columns image, label and, with soft labels, probabilities.

    The schema has the types in the form of the ``datasets`` library: Image, ClassLabel with its names, and a sequence
    of C floats. The library requires distinct names, see `unique_names`. The entry ``ncfm`` has the values of
    `export_facts`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = unique_names(content.class_names)
    images = [{"bytes": data, "path": None} for data in png_bytes(content.pixels)]
    columns: dict[str, Any] = {
        "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "label": pa.array(content.labels.tolist(), pa.int64()),
    }
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": list(names), "_type": "ClassLabel"},
    }
    if content.log_probabilities is not None:
        flat = pa.array(content.log_probabilities.exp().flatten().numpy())
        columns["probabilities"] = pa.FixedSizeListArray.from_arrays(flat, len(names))
        kind = {"dtype": "float32", "_type": "Value"}
        features["probabilities"] = {"feature": kind, "length": len(names), "_type": "Sequence"}
    metadata = {
        b"huggingface": json.dumps({"info": {"features": features}}),
        FACTS_KEY: json.dumps(export_facts(content)),
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def write_hf(content: Content, folder: Path) -> None:
    """A dataset in the layout of the hub: the table below ``data/``, a card, and the set itself for `ncfm.load`."""
    (folder / DATA_FILE).parent.mkdir()
    write_parquet(content, folder / DATA_FILE)
    save(content.synthetic, folder / SET_FOLDER, bits=exact_bits(content.synthetic.images))
    write_text(folder / "README.md", dataset_card(content))
    write_index(content, folder)
