"""Where images come from: a name, parquet files, IDX files, an image folder, the Hugging Face hub, or arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ncfm._utils.checks import NcfmError, describe, nearest
from ncfm.data.cache import cached_set, source_key
from ncfm.data.decoding import decode_all
from ncfm.data.folders import TRAIN_NAMES, listing, read_folder
from ncfm.data.hub import HubError, hub_key, open_hub, read_hub
from ncfm.data.idx import has_idx, idx_files, read_idx_folder
from ncfm.data.image_set import ImageSet, ImageSplit, drop_empty_classes, to_uint8
from ncfm.data.named import NAMED_SETS, SUBSETS, NamedSet, Subset
from ncfm.data.parquet import TEST_NAMES, read_parquets
from ncfm.data.raw import Lazily, RawSplit, picked
from ncfm.data.store import NewRows, beyond_memory

Splits = dict[str, RawSplit]


class Wanted(NamedTuple):
    """How the images are to come out."""

    image_size: int | None
    channels: int | None
    max_unreadable: float


MOST_CLASSES = 2**20  # without names there are as many as the largest label says


def load_images(
    name: str,
    *,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    max_unreadable: float = 0.0,
) -> ImageSet:
    """Load a data set by name or path. Decoded images are cached; the second time is read from there.

    Args:
        name: one of `known_names`, ``hf:owner/name``, or the path of a parquet file, a folder of parquet or IDX files,
            or an image folder with a folder per class (below ``train`` and ``test`` if there are such).
        data_dir: folder looked at before the network: ``<data_dir>/cifar10/``. Default: ``NCFM_DATA``.
        image_size: side in pixels; larger or smaller images are resized (short side, bicubic, then centre crop).
            Needed only if the images differ in size or are not square; ImageNet and its subsets have one of their own.
        channels: 1 (grey) or 3 (RGB); default: 1 if every image is grey, else 3.
        max_unreadable: share of the images of a split that may be unreadable; they are left out, and listed in the
            set's ``problems``.

    Raises:
        NcfmError: for an unknown name (with the nearest known one), a missing file, images that cannot be read, or
            fewer than two classes.
    """
    wanted = Wanted(image_size, channels, max_unreadable)
    if name == "digits":
        if image_size not in (None, 8) or channels not in (None, 1):
            raise NcfmError(f"digits are grey images of 8 px; got image_size {image_size}, channels {channels}.")
        return load_digits_set()
    root = data_dir or os.environ.get("NCFM_DATA")
    data_root = Path(root).expanduser() if root else None
    if name in SUBSETS:
        return _load_subset(name, SUBSETS[name], data_root, wanted)
    if name in NAMED_SETS:
        return _load_named(name, NAMED_SETS[name], data_root, wanted)
    if name.startswith("hf:"):
        return _load_hub(name, name[3:], (None, None), wanted)
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".parquet":
        return _load_files(name, [path], ("parquet",), lambda: read_parquets([path]), wanted)
    if path.is_dir():
        return _load_place(name, path, None, wanted)
    raise NcfmError(
        f"Unknown data set {name!r}: neither a known name nor an existing folder or .parquet file."
        f"{nearest(name, known_names())} Known: {', '.join(known_names())}, hf:owner/name, or a path."
    )


def known_names() -> list[str]:
    """All data sets that have a name."""
    return ["digits", *NAMED_SETS, *SUBSETS]


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


def images_of(
    train: Any,
    test: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    name: str = "arrays",
    image_size: int | None = None,
    channels: int | None = None,
) -> ImageSet:
    """An `ImageSet` from what is in memory.

    Args:
        train: a pair of uint8 images, (n, h, w), (n, h, w, 3) or (n, c, h, w), with n labels (arrays or tensors); or a
            map-style ``torch.utils.data.Dataset`` whose items are (image, label) with a Pillow image, a uint8 array or
            tensor, or a float tensor (c, h, w) in [0, 1].
        test: the same, or None.
        class_names: default: the data set's ``classes``, else the numbers.
        name: for messages and results.
        image_size, channels: as in `load_images`.

    Raises:
        NcfmError: for shapes and types that are none of these.
    """
    names = class_names if class_names is not None else getattr(train, "classes", None)
    splits = {"train": _in_memory(train, names, "train")}
    if test is not None:
        splits["test"] = _in_memory(test, names, "test")
    return _assemble(name, splits, Wanted(image_size, channels, 0.0))


def _in_memory(source: Any, class_names: Sequence[str] | None, split: str) -> RawSplit:
    if isinstance(source, tuple) and len(source) == 2:
        images, labels = source
        if len(images) != len(labels):
            raise NcfmError(f"{split}: expected as many labels as images, got {len(labels)} and {len(images)}.")
    else:
        # Items are made twice, once for the label and once for the image: kept, they might be more than memory holds.
        images, labels = _ItemImages(source, split), [_item(source, i, split)[1] for i in range(len(source))]
    lazily = Lazily(len(images), lambda start, stop: [_pixels(images[i], split) for i in range(start, stop)])
    whole = [_whole(label, split) for label in labels]
    return RawSplit(lazily, whole, tuple(map(str, class_names)) if class_names else None)


def _item(source: Any, index: int, split: str) -> tuple[Any, Any]:
    """An item of a data set, which is an image and a label."""
    item = source[index]
    try:
        image, label = item[0], item[1]
    except (TypeError, IndexError, KeyError) as error:
        raise NcfmError(f"{split}: expected items (image, label), but item {index} is {describe(item)}.") from error
    return image, label


def _whole(label: Any, split: str) -> int:
    """A label as a number."""
    try:
        number = int(label)
        if number == label:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise NcfmError(f"{split}: expected labels that are whole numbers, got {label!r}.")


class _ItemImages:
    """The images of a data set of (image, label) items."""

    def __init__(self, source: Any, split: str) -> None:
        self._source, self._split = source, split

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Any:
        return _item(self._source, index, self._split)[0]


def _pixels(image: Any, split: str) -> np.ndarray:
    """One image as uint8, (h, w) or (h, w, 3)."""
    if isinstance(image, torch.Tensor) and image.is_floating_point():
        image = to_uint8(image)
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise NcfmError(
            f"{split}: expected uint8 images, grey or RGB, or float tensors in [0, 1]; got {array.dtype} {array.shape}."
        )
    return array


def _or_its_own(wanted: Wanted, spec: NamedSet | Subset) -> Wanted:
    """What is asked for, else what the set is known for: then no image is looked at before it is decoded."""
    return wanted._replace(image_size=wanted.image_size or spec.image_size, channels=wanted.channels or spec.channels)


def _load_named(name: str, spec: NamedSet, root: Path | None, wanted: Wanted) -> ImageSet:
    """A named set from ``<root>/<folder>`` or where a distribution puts it, else from the hub."""
    wanted = _or_its_own(wanted, spec)
    places = ([root / spec.folder] if root else []) + [Path(folder) for folder in spec.other_folders]
    for place in places:
        if place.is_dir() and any(place.iterdir()):
            return _load_place(name, place, spec, wanted)
    try:
        return _load_hub(name, spec.hub, (spec.image_column, spec.label_column), wanted)
    except HubError as error:
        raise NcfmError(_not_found(name, spec.folder, root, error)) from error


def _load_subset(name: str, subset: Subset, root: Path | None, wanted: Wanted) -> ImageSet:
    """A subset of ImageNet from a folder of its own, from ImageNet's, or from the hub."""
    wanted = _or_its_own(wanted, subset)
    if root and (root / name).is_dir() and any((root / name).iterdir()):
        return _load_place(name, root / name, None, wanted)
    whole = NAMED_SETS["imagenet-1k"]
    if root and (root / whole.folder).is_dir():
        return _load_place(name, root / whole.folder, whole, wanted, subset)
    try:
        return _load_hub(name, whole.hub, (whole.image_column, whole.label_column), wanted, subset)
    except HubError as error:
        raise NcfmError(_not_found(name, name, root, error)) from error


def _load_hub(
    name: str, repository: str, columns: tuple[str | None, str | None], wanted: Wanted, subset: Subset | None = None
) -> ImageSet:
    """A set of the hub, or what the cache has of exactly this content."""
    tables = open_hub(repository)

    def decode(rows: Callable[[str], NewRows]) -> ImageSet:
        splits = read_hub(tables, repository, *columns)
        return _assemble(name, splits if subset is None else _select(splits, subset, name), wanted, rows)

    key = source_key([], "hub", repository, hub_key(tables), columns, subset and name, wanted)
    return cached_set(key, name, decode)


def _not_found(name: str, folder: str, root: Path | None, error: NcfmError) -> str:
    tried = f"nothing in {root / folder}" if root else "no --data-dir and no NCFM_DATA"
    return (
        f"{name}: {tried}, and the hub did not answer ({error}). "
        f"Put its files into <data-dir>/{folder}/ and pass --data-dir."
    )


def _load_place(
    name: str, place: Path, spec: NamedSet | None, wanted: Wanted, subset: Subset | None = None
) -> ImageSet:
    """A folder of parquet files, of IDX files, or of images."""
    columns = (spec.image_column, spec.label_column) if spec else (None, None)
    names = spec.class_names if spec else None
    files = sorted(place.glob("*.parquet"))
    if not files:
        files = sorted((place / "data").glob("*.parquet"))  # as the hub lays repositories out
    options: tuple[Any, ...]
    read: Callable[[], Splits]
    chosen: Sequence[Path] = files
    if files:
        options, read = ("parquet", *columns), partial(read_parquets, files, *columns)
    elif has_idx(place):
        chosen = idx_files(place)
        options, read = ("idx", names), partial(read_idx_folder, place, names)
    else:
        splits = read_folder(place)
        if subset is not None:
            splits = _select(splits, subset, name)
        chosen = [image for raw in splits.values() for image in raw.images if isinstance(image, Path)]
        return _load_files(name, chosen, ("folder", *listing(place)), lambda: splits, wanted)
    if subset is None:
        return _load_files(name, chosen, options, read, wanted)
    return _load_files(name, chosen, (*options, name), lambda: _select(read(), subset, name), wanted)


def _load_files(
    name: str, files: Sequence[Path], options: tuple[Any, ...], read: Callable[[], Splits], wanted: Wanted
) -> ImageSet:
    """A set from files, or from what the cache has of exactly these."""
    key = source_key(files, options, wanted)
    return cached_set(key, name, lambda rows: _assemble(name, read(), wanted, rows))


def _select(splits: Splits, subset: Subset, name: str) -> Splits:
    """The subset's classes: by WordNet id if the classes are named so, by ImageNet's index otherwise."""
    ids = [wordnet_id for _, wordnet_id in subset.classes]
    selected = {}
    for split, raw in splits.items():
        present = raw.class_names or ()
        named = set(ids) <= set(present)
        if not named and present and len(present) != 1000:
            missing = ", ".join(sorted(set(ids) - set(present))[:3])
            raise NcfmError(f"{name}: {split} has {len(present)} classes, but not {missing}, ...; is it ImageNet-1K?")
        places = [present.index(i) for i in ids] if named else [index for index, _ in subset.classes]
        number = {place: i for i, place in enumerate(places)}
        rows = [i for i, label in enumerate(raw.labels) if label in number]
        selected[split] = RawSplit(picked(raw.images, rows), [number[raw.labels[i]] for i in rows], tuple(ids))
    return selected


def _assemble(name: str, splits: Splits, wanted: Wanted, rows: Callable[[str], NewRows] = beyond_memory) -> ImageSet:
    """Decode the splits of a source, each image to its place in the order of classes; ``rows`` says where they go."""
    train, test = _first(splits, TRAIN_NAMES), _first(splits, TEST_NAMES)
    if train is None:
        raise NcfmError(
            f"{name}: expected a train split, found {', '.join(sorted(splits)) or 'nothing'}; "
            "name the folder or the parquet files train."
        )
    if test is not None and not test.images:
        test = None
    class_names = _common_names(name, train, test)
    problems: list[str] = []

    def decode(raw: RawSplit, split: str, channels: int | None) -> ImageSplit:
        labels = torch.tensor(list(raw.labels), dtype=torch.int64)
        decoded = decode_all(
            raw.images,
            image_size=wanted.image_size,
            channels=channels,
            place=f"{name} ({split})",
            max_unreadable=wanted.max_unreadable,
            order=labels.argsort(stable=True),
            rows=rows(split),
        )
        problems.extend(f"{split}: left out {line}" for line in decoded.unreadable)
        return ImageSplit.of(decoded.images, labels[decoded.kept], len(class_names))

    train_split = decode(train, "train", wanted.channels)
    depth, size = train_split.images.shape[1:3]
    test_split = None if test is None else decode(test, "test", depth)
    # Resized silently, the test images would be others than the ones the user means to be judged on.
    if test_split is not None and test_split.images.shape[-1] != size:
        raise NcfmError(
            f"{name}: train images have {size} px and test images {test_split.images.shape[-1]} px; "
            f"choose one size with image_size (--set data.image_size={size})."
        )
    train_split, test_split, kept = drop_empty_classes(train_split, test_split, class_names)
    problems += [f"train: no images of class {lone!r}, left out" for lone in class_names if lone not in kept]
    return ImageSet(name, train_split, test_split, kept, tuple(problems))


def _common_names(name: str, train: RawSplit, test: RawSplit | None) -> tuple[str, ...]:
    """The class names, which both splits must share; without names, numbers up to the largest label."""
    if test is not None and test.class_names != train.class_names:
        lone = sorted(set(train.class_names or ()) ^ set(test.class_names or ()))
        found = f"only one of them has {', '.join(lone[:10])}" if lone else "in another order"
        raise NcfmError(f"{name}: train and test must name the same classes, but {found}.")
    if train.class_names is not None:
        return train.class_names
    largest = max([*train.labels, *(test.labels if test is not None else ())], default=-1)
    if largest >= MOST_CLASSES:
        raise NcfmError(f"{name}: expected labels below {MOST_CLASSES:,}, found {largest}; number the classes from 0.")
    return tuple(str(c) for c in range(largest + 1))


def _first(splits: Splits, names: Iterable[str]) -> RawSplit | None:
    return next((splits[n] for n in names if n in splits), None)
