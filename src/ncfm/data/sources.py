"""Where images come from: a name, a parquet file or folder, an image folder, or the Hugging Face hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ncfm._checks import NcfmError, nearest
from ncfm.data.cache import cached_set, source_key
from ncfm.data.decoding import decode_all
from ncfm.data.images import ImageSet, ImageSplit, drop_empty_classes

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "validation", "valid", "val")
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "coarse_label")


@dataclass(frozen=True)
class NamedSet:
    """A data set with a name of its own: where the hub keeps it and which columns to read."""

    hub: str  # owner/name on the Hugging Face hub
    image_column: str
    label_column: str
    folder: str  # below the data folder


NAMED_SETS = {
    "cifar10": NamedSet("uoft-cs/cifar10", "img", "label", "cifar10"),
    "cifar100": NamedSet("uoft-cs/cifar100", "img", "fine_label", "cifar100"),
    "cifar100-coarse": NamedSet("uoft-cs/cifar100", "img", "coarse_label", "cifar100"),
}


@dataclass(frozen=True)
class _Raw:
    """Encoded images of one split as a source yields them."""

    images: Sequence[bytes | Path]
    labels: Sequence[int]
    class_names: tuple[str, ...] | None  # None if the source only numbers its classes


def load_images(
    name: str,
    *,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    channels: int | None = None,
) -> ImageSet:
    """Load a data set by name or path.

    Args:
        name: ``digits``, ``cifar10``, ``cifar100``, ``cifar100-coarse``, ``hf:owner/name``, or the path of a
            parquet file, a folder of parquet files, or an image folder with a folder per class (below
            ``train`` and ``test`` if there are such).
        data_dir: folder looked at before the network: ``<data_dir>/cifar10/*.parquet``. Default:
            ``NCFM_DATA``.
        image_size: side in pixels; larger or smaller images are resized (short side, then centre crop).
            Needed only if the images differ in size or are not square.
        channels: 1 (grey) or 3 (RGB); default: 1 if every image is grey, else 3.

    Raises:
        NcfmError: for an unknown name (with the nearest known one), a missing file, an image that cannot be
            read, or fewer than two classes.
    """
    if name == "digits":
        if image_size not in (None, 8) or channels not in (None, 1):
            raise NcfmError(f"digits are grey images of 8 px; got image_size {image_size}, channels {channels}.")
        return load_digits_set()
    if name in NAMED_SETS:
        return _load_named(name, data_dir, image_size, channels)
    if name.startswith("hf:"):
        return _assemble(name, _read_hub(name[3:], None, None), image_size, channels)
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".parquet":
        return _load_parquets(name, [path], None, None, image_size, channels)
    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
        if files:
            return _load_parquets(name, files, None, None, image_size, channels)
        splits = _read_folder(path)
        sources = [image for raw in splits.values() for image in raw.images if isinstance(image, Path)]
        return cached_set(
            source_key(sources, "folder", image_size, channels, _listing(path)),
            name,
            lambda: _assemble(name, splits, image_size, channels),
        )
    known = ["digits", *NAMED_SETS]
    raise NcfmError(
        f"Unknown data set {name!r}: neither a known name nor an existing folder or .parquet file."
        f"{nearest(name, known)} Known: {', '.join(known)}, hf:owner/name, or a path."
    )


def load_digits_set(test_fraction: float = 0.25) -> ImageSet:
    """The handwritten digits of scikit-learn: 1,797 grey images of 8 x 8 pixels with 17 levels, 10 classes.

    They come without a split; every fourth image of a class (from its first on) is a test image, so that the
    split is stratified and the same everywhere.

    Reference:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
        1998.
    """
    from sklearn.datasets import load_digits  # slow to import, and only digits need it

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).long()
    period = round(1 / test_fraction)
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for c in range(10):
        is_test[(labels == c).nonzero().flatten()[::period]] = True
    train, test = (ImageSplit.of(images[m], labels[m], 10) for m in (~is_test, is_test))
    return ImageSet("digits", train, test, tuple(str(c) for c in range(10)))


def _load_named(name: str, data_dir: str | Path | None, image_size: int | None, channels: int | None) -> ImageSet:
    """A named set from ``<data_dir>/<folder>/*.parquet`` if there, else from the hub."""
    spec = NAMED_SETS[name]
    root = data_dir or os.environ.get("NCFM_DATA")
    if root:
        files = sorted((Path(root).expanduser() / spec.folder).glob("*.parquet"))
        if files:
            return _load_parquets(name, files, spec.image_column, spec.label_column, image_size, channels)
    try:
        splits = _read_hub(spec.hub, spec.image_column, spec.label_column)
    except NcfmError as error:
        tried = f"no parquet files in {root}/{spec.folder}" if root else "no --data-dir and no NCFM_DATA"
        raise NcfmError(
            f"{name}: {tried}, and the hub did not answer ({error}). "
            f"Put its parquet files into <data-dir>/{spec.folder}/ and pass --data-dir."
        ) from error
    return _assemble(name, splits, image_size, channels)


def _load_parquets(
    name: str,
    files: Sequence[Path],
    image_column: str | None,
    label_column: str | None,
    image_size: int | None,
    channels: int | None,
) -> ImageSet:
    """A set from parquet files, or from what the cache has of exactly these."""
    return cached_set(
        source_key(files, "parquet", image_column, label_column, image_size, channels),
        name,
        lambda: _assemble(name, _read_parquets(files, image_column, label_column), image_size, channels),
    )


def _listing(root: Path) -> list[str]:
    """The folders of an image folder: classes without images count too."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_dir())


def _assemble(name: str, splits: dict[str, _Raw], image_size: int | None, channels: int | None) -> ImageSet:
    """Decode the splits of a source and sort them by class."""
    train, test = _first(splits, TRAIN_NAMES), _first(splits, TEST_NAMES)
    if train is None:
        raise NcfmError(
            f"{name}: expected a train split, found {', '.join(sorted(splits)) or 'nothing'}; "
            "name the folder or the parquet files train."
        )
    if test is not None and not test.images:
        test = None
    class_names = _common_names(name, train, test)

    def decode(raw: _Raw, split: str, channels: int | None) -> ImageSplit:
        images = decode_all(raw.images, image_size=image_size, channels=channels, place=f"{name} ({split})")
        return ImageSplit.of(images, torch.tensor(list(raw.labels), dtype=torch.int64), len(class_names))

    train_split = decode(train, "train", channels)
    depth, size = train_split.images.shape[1:3]
    test_split = None if test is None else decode(test, "test", depth)
    # Resized silently, the test images would be others than the ones the user means to be judged on.
    if test_split is not None and test_split.images.shape[-1] != size:
        raise NcfmError(
            f"{name}: train images have {size} px and test images {test_split.images.shape[-1]} px; "
            f"choose one size with image_size (--set data.image_size={size})."
        )
    train_split, test_split, kept = drop_empty_classes(train_split, test_split, class_names)
    return ImageSet(name, train_split, test_split, kept)


def _common_names(name: str, train: _Raw, test: _Raw | None) -> tuple[str, ...]:
    """The class names, which both splits must share; without names, numbers up to the largest label."""
    if test is not None and test.class_names != train.class_names:
        lone = sorted(set(train.class_names or ()) ^ set(test.class_names or ()))
        found = f"only one of them has {', '.join(lone[:10])}" if lone else "in another order"
        raise NcfmError(f"{name}: train and test must name the same classes, but {found}.")
    if train.class_names is not None:
        return train.class_names
    labels = [*train.labels, *(test.labels if test is not None else ())]
    return tuple(str(c) for c in range(max(labels, default=-1) + 1))


def _first(splits: dict[str, _Raw], names: Iterable[str]) -> _Raw | None:
    return next((splits[n] for n in names if n in splits), None)


# --- parquet ------------------------------------------------------------------------------------------------


def _split_of(path: Path) -> str:
    """The split that a file's name begins with: ``test-00000-of-00001.parquet`` -> ``test``; else train."""
    word = re.match("[a-z]*", path.stem.lower())  # the whole word: values.parquet is no val split
    return word[0] if word and word[0] in TEST_NAMES else "train"


def _read_parquets(files: Sequence[Path], image_column: str | None, label_column: str | None) -> dict[str, _Raw]:
    """Read Hugging-Face-style parquet files, grouped by the split their names begin with."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    splits: dict[str, list[Path]] = {}
    for path in files:
        splits.setdefault(_split_of(path), []).append(path)
    raws = {}
    for split, paths in splits.items():
        try:
            table = pa.concat_tables([pq.read_table(p) for p in paths])
        except (pa.ArrowInvalid, OSError) as error:
            raise NcfmError(f"Could not read {', '.join(map(str, paths))} as parquet: {error}.") from error
        image_name = _column(table.column_names, image_column, IMAGE_COLUMNS, "image", paths[0])
        label_name = _column(table.column_names, label_column, LABEL_COLUMNS, "label", paths[0])
        names = _names_in_schema(table.schema.metadata, label_name)
        cells, labels = (table.column(c).to_pylist() for c in (image_name, label_name))
        raws[split] = _checked(cells, labels, label_name, names, paths[0])
    return raws


def _checked(
    cells: Iterable[object],
    labels: Sequence[int],
    label_name: str,
    class_names: tuple[str, ...] | None,
    place: Path,
) -> _Raw:
    if any(not isinstance(v, int) for v in labels):
        raise NcfmError(f"{place}: column {label_name!r} must hold integer class indices without gaps.")
    return _Raw([_encoded(v, place, i) for i, v in enumerate(cells)], labels, class_names)


def _column(present: Sequence[str], wanted: str | None, guesses: Sequence[str], what: str, path: Path) -> str:
    for name in [wanted] if wanted else guesses:
        if name in present:
            return name
    raise NcfmError(
        f"{path}: expected a column of {what}s named {wanted or ' or '.join(guesses)}, found {', '.join(present)}."
    )


def _encoded(value: object, place: Path, row: int) -> bytes | Path:
    """The encoded image in a cell: raw bytes, or Hugging Face's struct of bytes and path of a file."""
    data, file = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if isinstance(data, bytes):
        return data
    if data is None and file and Path(file).is_file():
        return Path(file)
    raise NcfmError(f"{place}: row {row} holds no encoded image (expected bytes, got {type(data).__name__}).")


def _names_in_schema(metadata: dict[bytes, bytes] | None, label_name: str) -> tuple[str, ...] | None:
    """Class names from the ``huggingface`` entry of a parquet schema, if it has them."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(n) for n in features[label_name]["names"])
    except (KeyError, ValueError, TypeError):
        return None


# --- folders ------------------------------------------------------------------------------------------------


def _read_folder(root: Path) -> dict[str, _Raw]:
    """An image folder with a folder per class, below ``train`` and ``test`` (``val``) if there are such."""
    below = {p.name.lower(): p for p in _folders(root)}
    train = next((below[n] for n in TRAIN_NAMES if n in below), None)
    others = below.keys() - {*TRAIN_NAMES, *TEST_NAMES}
    if train is None or (others and not _folders(train)):  # the second: trains are a class, as in CIFAR-100
        return {"train": _read_classes(root)}
    splits = {"train": _read_classes(train)}
    test = next((below[n] for n in TEST_NAMES if n in below), None)
    if test is not None:
        splits["test"] = _read_classes(test)
    return splits


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read_classes(root: Path) -> _Raw:
    folders = _folders(root)
    if not folders:
        raise NcfmError(f"{root}: expected a folder per class (or parquet files), found no folders.")
    images: list[bytes | Path] = []
    labels: list[int] = []
    for index, folder in enumerate(folders):
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and _visible(p, folder))
        images += found
        labels += [index] * len(found)
    return _Raw(images, labels, tuple(p.name for p in folders))


def _visible(path: Path, root: Path) -> bool:
    """Whether no part below ``root`` is hidden: editors and archives leave hidden copies of images."""
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


# --- the hub ------------------------------------------------------------------------------------------------


def _read_hub(repository: str, image_column: str | None, label_column: str | None) -> dict[str, _Raw]:
    """All splits of a set on the Hugging Face hub; no code of the repository is run."""
    import datasets

    try:
        loaded = datasets.load_dataset(repository)
    except Exception as error:  # the library raises many kinds, from many layers below it
        raise NcfmError(f"Could not load {repository!r} from the Hugging Face hub: {error}") from error
    raws = {}
    for split, table in loaded.items():
        place = Path(f"hf:{repository}/{split}")
        image_name = _column(table.column_names, image_column, IMAGE_COLUMNS, "image", place)
        label_name = _column(table.column_names, label_column, LABEL_COLUMNS, "label", place)
        cells = table.cast_column(image_name, datasets.Image(decode=False))[image_name]
        names = getattr(table.features[label_name], "names", None)
        raws[str(split)] = _checked(cells, list(table[label_name]), label_name, names and tuple(names), place)
    return raws
