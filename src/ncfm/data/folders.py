"""Image folders: one folder per class, below folders of the splits if these exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.data.idx import idx_files
from ncfm.data.raw import Encoded, RawSplit
from ncfm.data.split_names import left_unread, shortened, split_of
from ncfm.data.walk import files_below, files_in, folders_in, printable, remarks_on_files

SORT_THEM = "sort them into a folder per class, or list them with their labels in a file labels.csv (image,label)"
CONVERT_THEM = "convert the files to images that Pillow reads, such as PNG or JPEG"


def read_folder(root: Path, inner: str = "") -> dict[str, RawSplit]:
    """The splits of an image folder; classes are the names of the folders, in sorted order.

    Folders whose names say a split (see `split_of`) are splits if they contain the folders of the classes. Without such
    a training folder all folders are classes, also one called "train", as in CIFAR-100.

    Args:
        root: the folder.
        inner: folder in that of a class where its images are expected, as "images" in Tiny-ImageNet.

    Raises:
        NcfmError: if there are no folders, or it is not clear which are splits.
    """
    folders = folders_in(root)
    named: dict[str, list[Path]] = {}
    for folder in folders:
        split = _split_of_folder(folder)
        if split is not None:
            named.setdefault(split, []).append(folder)
    splits = {split: [folder for folder in found if folders_in(folder)] for split, found in named.items()}
    if not splits.get("train"):
        if named.get("train") and len(named) > 1 and sum(map(len, named.values())) == len(folders):
            raise InputError(
                f"{root}: expected a folder per class in {shortened([p.name for p in folders])}, found none in them."
            )
        return {"train": _checked(_read_classes(root, inner), root)}
    splits.pop("extra", None)
    unread = named.get("extra", [])
    for split, found in splits.items():
        if len(found) > 1:
            raise InputError(
                f"{root}: {shortened([p.name for p in found])} are all folders of the {split} split; keep one."
            )
    chosen = {split: found[0] for split, found in splits.items() if found}
    rest = {p: files_below(p) for p in folders if p not in chosen.values() and p not in unread}
    others = [p for p, files in rest.items() if files.images]
    if others and len(chosen) == 1:
        raise InputError(
            f"{root}: {chosen['train'].name} may be the training split, or a class like "
            f"{shortened([p.name for p in others])}; choose by --train-split {chosen['train'].name} and --test-split "
            "NAME, move the other folders away, or move all classes into a folder train."
        )
    read = {split: _read_classes(folder, inner) for split, folder in chosen.items()}
    remarks = left_unread("next to the training folder", (printable(p.name) for p in [*others, *unread]))
    remarks += remarks_on_files(root, [(p, files) for p, files in rest.items() if not files.images])
    train = _checked(read["train"], chosen["train"])
    return read | {"train": replace(train, remarks=(*train.remarks, *remarks))}


def _split_of_folder(folder: Path) -> str | None:
    try:
        return split_of(folder.name)
    except InputError:  # the name of a class, such as "test train"
        return None


def listing(root: Path) -> list[str]:
    """All folders below ``root``, including classes without images."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_dir())


def _read_classes(root: Path, inner: str) -> RawSplit:
    """The images of a folder with a folder per class.

    Raises:
        NcfmError: without folders or images.
    """
    folders = folders_in(root)
    if not folders:
        loose = files_in(root)
        if loose.images:
            found = f"found no folders, but {counted(len(loose.images), 'image')}; {SORT_THEM}"
        else:
            found = "found no folders; give the path of the folder that has them"
        raise InputError(f"{root}: expected a folder per class (or parquet files), {found}.")
    _check_no_inner_splits(root, folders)
    images: list[Encoded] = []
    labels: list[int] = []
    files = [files_below(folder) for folder in folders]
    for index, below in enumerate(files):
        images += below.images
        labels += [index] * len(below.images)
    remarks = remarks_on_files(root, zip(folders, files, strict=True), inner)
    return RawSplit(images, labels, tuple(printable(p.name) for p in folders), remarks)


def _check_no_inner_splits(root: Path, folders: Sequence[Path]) -> None:
    """Check that test images do not join the training split because their folders lie below those of the classes.

    Raises:
        NcfmError: if the folder of every class has one for training and one for testing.
    """
    inner = [{_split_of_folder(below): below.name for below in folders_in(folder)} for folder in folders]
    if all("train" in splits and ("test" in splits or "validation" in splits) for splits in inner):
        named = ", ".join(f"{printable(folders[0].name)}/{name}" for split, name in inner[0].items() if split)
        raise InputError(
            f"{root}: expected the classes below the splits, found splits below every class ({named}); exchange the "
            f"folders ({inner[0]['train']}/{printable(folders[0].name)})."
        )


def _checked(train: RawSplit, root: Path) -> RawSplit:
    """The training split, if it has images of several classes; a single class is left to `ImageSet` to refuse.

    Raises:
        NcfmError: naming the folder that is meant, if there are images or tables below, else the files that there are.
    """
    if len(set(train.labels)) > 1:
        return train
    inner = _inner(root)
    if inner != root:
        names = shortened([printable(folder.name) for folder in folders_in(inner)])
        raise InputError(f"{root}: expected a folder per class, but {names} lie in {inner}; give that path.")
    tables = [folder for folder in folders_in(root) if idx_files(folder) or any(folder.glob("*.parquet"))]
    if not train.images and tables:
        raise InputError(f"{root}: expected a folder per class, but {tables[0]} holds tables; give that path.")
    if not train.images:
        found = "; ".join(["got none", *train.remarks, SORT_THEM if files_in(root).images else CONVERT_THEM])
        raise InputError(f"Expected at least one image in the class folders of {root}, {found}.")
    return train


def _inner(root: Path) -> Path:
    """The folder below, along single folders, that has several folders with images; the root if there is none."""
    inner = root
    while len(folders := folders_in(inner)) == 1:
        inner = folders[0]
    return inner if sum(bool(files_below(folder).images) for folder in folders) > 1 else root
