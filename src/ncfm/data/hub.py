"""Data sets on the Hugging Face hub; no code of a repository is ever run."""

from __future__ import annotations

from ncfm._checks import NcfmError
from ncfm.data.raw import IMAGE_COLUMNS, LABEL_COLUMNS, RawSplit, checked_split, find_column


def read_hub(repository: str, image_column: str | None = None, label_column: str | None = None) -> dict[str, RawSplit]:
    """All splits of ``owner/name``.

    Raises:
        NcfmError: if it cannot be had, or has no image or label column.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(repository)
    except Exception as error:  # the library raises many kinds, from many layers below it
        raise NcfmError(f"Could not load {repository!r} from the Hugging Face hub: {error}") from error
    raws = {}
    for split, table in loaded.items():
        place = f"hf:{repository}/{split}"
        image_name = find_column(table.column_names, image_column, IMAGE_COLUMNS, "image", place)
        label_name = find_column(table.column_names, label_column, LABEL_COLUMNS, "label", place)
        cells = table.cast_column(image_name, datasets.Image(decode=False))[image_name]
        names = getattr(table.features[label_name], "names", None)
        raws[str(split)] = checked_split(cells, list(table[label_name]), label_name, names and tuple(names), place)
    return raws
