"""Datasets as people have them: a row each, with the files, and what is read of them or why nothing is.

Pictures are known by their number, see `situation.Reads`.
"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from image_files import IDS, picture, png, write_image, write_train
from ncfm.config.build import build_data
from ncfm.config.layers import make_config
from ncfm.data.image_set import ImageSet
from python2_pickle import python2_pickle
from situation import Reads, Refused, check, load, pictures_of, refused


class Row(NamedTuple):
    """A situation."""

    make: Callable[[Path], Any]  # writes the files below a folder; the path of the dataset, or None: the folder
    answer: Reads | Refused
    options: dict[str, Any] = {}  # noqa: RUF012 - of `load_images`
    name: str | None = None  # of a dataset below the folder, instead of a path


PETS = {"cat": [0, 1], "dog": [2, 3]}
TESTED = {"cat": [4], "dog": [5]}
BOTH = {"cat": [0, 1, 4], "dog": [2, 3, 5]}

# --- files --------------------------------------------------------------------------------------------------


def classes(folder: Path, images: dict[str, list[int]], suffix: str = ".png") -> None:
    """A folder for each class."""
    for name, numbers in images.items():
        for number in numbers:
            write_image(folder / name / f"{number}{suffix}", number)


def folders(**splits: dict[str, list[int]]) -> Callable[[Path], None]:
    """A folder for each split; ``-`` in a name is written ``__``."""

    def make(root: Path) -> None:
        for name, images in splits.items():
            classes(root / name.replace("__", "-"), images)

    return make


def table(path: Path, numbers: list[Any], labels: list[Any], *, names: list[str] | None = None) -> Path:
    """A parquet file; with names as the hub writes them, with a ``ClassLabel``."""
    cells = [{"bytes": None if n is None else png(n), "path": None} for n in numbers]
    made = pa.table({"image": cells, "label": labels})
    if names is not None:
        from datasets import ClassLabel, Features, Image

        schema = Features({"image": Image(), "label": ClassLabel(names=names)}).arrow_schema
        made = made.replace_schema_metadata(schema.metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path)
    return path


def parquets(*names: str) -> Callable[[Path], None]:
    """The first file has the pictures of `PETS`, the second those of `TESTED`, further ones two more each."""
    content = [([0, 1, 2, 3], [0, 0, 1, 1]), ([4, 5], [0, 1]), ([6, 7], [0, 1]), ([8, 9], [0, 1])]

    def make(root: Path) -> None:
        for name, (numbers, labels) in zip(names, content, strict=False):
            table(root / f"{name}.parquet", numbers, labels)

    return make


def numbered(images: dict[str, list[int]]) -> dict[str, list[int]]:
    """The same where the files only number the classes."""
    return {str(c): numbers for c, numbers in enumerate(images.values())}


def split_tables(said: tuple[str, ...] = ()) -> Reads:
    return Reads(numbered(PETS), numbered(TESTED), said)


def unlabelled_test(root: Path) -> None:
    table(root / "train-0.parquet", [0, 1, 2, 3], [0, 0, 1, 1])
    table(root / "validation-0.parquet", [4, 5], [0, 1])
    table(root / "test-0.parquet", [6, 7], [-1, -1])


def names_that_differ(root: Path) -> None:
    table(root / "train-00000-of-00002.parquet", [0, 2], [0, 1], names=["cat", "dog"])
    table(root / "train-00001-of-00002.parquet", [1, 3], [0, 1], names=["dog", "cat"])


def null_cells(root: Path) -> Path:
    return table(root / "pets.parquet", [0, None, 2, 3], [0, 0, 1, 1])


def null_labels(root: Path) -> Path:
    return table(root / "pets.parquet", [0, 1, 2, 3], [0, 0, 1, None])


def large_labels(root: Path) -> Path:
    return table(root / "pets.parquet", [0, 1, 2, 3], [0, 0, 999999, 999999])


def every_suffix(root: Path) -> None:
    for name, numbers in PETS.items():
        for number, suffix in zip(numbers, (".jfif", ".jp2"), strict=True):
            write_image(root / name / f"{number}{suffix}", number)
    for number, suffix in enumerate((".tga", ".jpe", ".avif"), 4):  # the content decides, and it is PNG
        write_image(root / "cat" / f"{number}{suffix}", number)


def litter(root: Path) -> None:
    """What systems leave, what is not an image, and what Pillow does not read."""
    classes(root, PETS)
    write_image(root / "cat" / "@eaDir" / "0.png" / "thumbnail.png", 9)
    (root / "cat" / "Thumbs.db").touch()
    (root / "__MACOSX").mkdir()
    write_image(root / "dog" / ".2.png", 9)
    (root / "dog" / "5.heic").touch()
    (root / "notes.txt").touch()


def links(root: Path) -> None:
    """A class and a folder in a class that lie elsewhere, and a loop."""
    classes(root / "photos", {"cat": [0]})
    classes(root / "elsewhere", {"2019": [1], "dog": [2, 3]})
    (root / "photos" / "cat" / "old").symlink_to(root / "elsewhere" / "2019")
    (root / "photos" / "dog").symlink_to(root / "elsewhere" / "dog")
    (root / "photos" / "cat" / "loop").symlink_to(root / "photos")


def broken_link(root: Path) -> None:
    classes(root, PETS)
    (root / "dog" / "9.png").symlink_to("nowhere.png")


def odd_folder(root: Path) -> None:
    classes(root, {"cat": [0, 1], "dog": [2]})
    classes(root / "dog", {"odd.png": [3]})


def bytes_in_names(root: Path) -> None:
    classes(root, {"cat": [0, 1]})
    for number in (2, 3):
        write_image(Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")) / f"{number}.png", number)


def loose(root: Path) -> None:
    (root / "cat").mkdir()
    for number in range(3):
        write_image(root / f"{number}.png", number)


def telephone(root: Path) -> None:
    for name in ("cat", "dog"):
        (root / name).mkdir()
        (root / name / "IMG_0001.heic").touch()


def mistyped(root: Path) -> Path:
    classes(root / "photos", PETS)
    return root / "fotos"


def one_folder_down(root: Path) -> None:
    classes(root / "download" / "pets", PETS)
    (root / "readme.md").touch()


def too_high(root: Path) -> None:
    classes(root / "train" / "images", PETS)


def several_sizes(root: Path) -> None:
    classes(root, PETS)
    write_image(root / "dog" / "4.png", 4, 7)


def eleven_numbers(root: Path) -> None:
    classes(root, {str(c): [c] for c in range(11)})


def zipped(root: Path) -> Path:
    classes(root / "pets", PETS)
    with zipfile.ZipFile(root / "pets.zip", "w") as archive:
        for path in sorted((root / "pets").rglob("*.png")):
            archive.write(path, path.relative_to(root))
        archive.writestr("__MACOSX/pets/cat/._0.png", b"")
    return root / "pets.zip"


def tarred(root: Path) -> Path:
    folders(train=PETS, test=TESTED)(root / "pets")
    with tarfile.open(root / "pets.tar.gz", "w:gz") as archive:
        archive.add(root / "pets", "pets")
    return root / "pets.tar.gz"


def escaping_zip(root: Path) -> Path:
    with zipfile.ZipFile(root / "pets.zip", "w") as archive:
        archive.writestr("../cat/0.png", png(0))
    return root / "pets.zip"


def csv_and_images(root: Path) -> None:
    for number in range(4):
        write_image(root / "images" / f"{number}.jpg", number)
    rows = ["0.jpg,cat", "1.jpg,cat", "2.jpg,dog", "3.jpg,dog"]
    (root / "labels.csv").write_text("\n".join(["image,label", *rows]))


def table_alone(root: Path) -> None:
    csv_and_images(root)
    shutil.rmtree(root / "images")


def first_is_missing(root: Path) -> None:
    csv_and_images(root)
    (root / "images" / "0.jpg").unlink()


def csv_of_two_labels(root: Path) -> None:
    for number in range(4):
        write_image(root / f"{number}.png", number)
    rows = ["0,tabby,cat", "1,siamese,cat", "2,collie,dog", "3,pug,dog"]
    (root / "train.csv").write_text("\n".join(["id,breed,species", *rows]))


# --- published layouts --------------------------------------------------------------------------------------


def cifar_pickles(root: Path) -> Path:
    """Image n has the label n % 2."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name, numbers in (*((f"data_batch_{i + 1}", [i]) for i in range(5)), ("test_batch", [5, 6])):
        data = np.stack([picture(n, 32).transpose(2, 0, 1).reshape(-1) for n in numbers])
        (folder / name).write_bytes(python2_pickle({"labels": [n % 2 for n in numbers], "data": data}))
    (folder / "batches.meta").write_bytes(python2_pickle({"label_names": ["cat", "dog"]}))
    return folder


def idx(root: Path, name: str) -> None:
    """MNIST's files; image n has the label n % 2."""
    for stem, numbers in (("train", [0, 1, 2, 3]), ("t10k", [4, 5])):
        pixels = np.stack([picture(n, grey=True) for n in numbers])
        for kind, array in (("images", pixels), ("labels", np.array(numbers, np.uint8) % 2)):
            path = root / name.format(f"{stem}-{kind}", array.ndim)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
            path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def svhn(root: Path) -> None:
    for name, numbers, labels in (("train", [0, 1, 2], [10, 1, 10]), ("test", [3, 4], [1, 10]), ("extra", [5], [1])):
        pixels = np.stack([picture(n, 32) for n in numbers], axis=-1)
        (root / "svhn").mkdir(exist_ok=True)
        savemat(root / "svhn" / f"{name}_32x32.mat", {"X": pixels, "y": np.array(labels, np.uint8)[:, None]})


def medmnist(root: Path) -> Path:
    arrays = {}
    for name, numbers in (("train", [0, 1, 2, 3]), ("val", [6, 7]), ("test", [4, 5])):
        arrays[f"{name}_images"] = np.stack([picture(n) for n in numbers])
        arrays[f"{name}_labels"] = np.array(numbers, np.uint8)[:, None] % 2
    np.savez(root / "pathmnist.npz", **arrays)
    return root / "pathmnist.npz"


def chestmnist(root: Path) -> Path:
    images = np.stack([picture(n) for n in range(4)])
    arrays = {f"{s}_{k}": v for s in ("train", "test") for k, v in (("images", images), ("labels", np.eye(4, 14)))}
    np.savez(root / "chestmnist.npz", **arrays)
    return root / "chestmnist.npz"


def tiny_imagenet(root: Path) -> Path:
    write_train(root / "train", below="images")
    rows = []
    for number, label in ((100, 2), (101, 0), (102, 1)):
        write_image(root / "val" / "images" / f"val_{number}.JPEG", number)
        rows.append(f"val_{number}.JPEG\t{IDS[label]}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    write_image(root / "test" / "images" / "test_0.JPEG", 200)
    return root


def ilsvrc(root: Path) -> Path:
    images = root / "ILSVRC" / "Data" / "CLS-LOC"
    write_train(images / "train")
    rows = ["ImageId,PredictionString\n"]
    for number, label in ((100, 2), (101, 0), (102, 1)):
        write_image(images / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", number)
        rows.append(f"ILSVRC2012_val_{number:08d},{IDS[label]} 1 2 3 4\n")
    (root / "LOC_val_solution.csv").write_text("".join(rows))
    return root


def imagenette(root: Path) -> Path:
    folder = root / "imagenette2-160"
    write_train(folder / "train")
    for number, label in ((100, 2), (101, 0), (102, 1)):
        write_image(folder / "val" / IDS[label] / f"{number}.JPEG", number)
    (folder / "noisy_imagenette.csv").write_text("path,noisy_labels_0\n")
    return folder


def snapshot(root: Path) -> Path:
    parquets("train-00000-of-00001", "test-00000-of-00001")(root / "plain_text")
    (root / "README.md").write_text("A card.")
    return root


def two_configurations(root: Path) -> None:
    for name in ("en", "fr"):
        parquets("train", "test")(root / name)


IMAGENET = {IDS[0]: [0, 1], IDS[1]: [2, 3], IDS[2]: [4, 5]}
IMAGENET_VAL = {IDS[0]: [101], IDS[1]: [102], IDS[2]: [100]}
PARITY, PARITY_TEST = {"0": [0, 2], "1": [1, 3]}, {"0": [4], "1": [5]}

# --- the table ----------------------------------------------------------------------------------------------

TABLE = {
    # splits
    "parquet: mydata_train, mydata_test": Row(parquets("mydata_train", "mydata_test"), split_tables()),
    "parquet: data, data-test": Row(parquets("data", "data-test"), split_tables()),
    **{
        f"parquet: train, {name}": Row(parquets("train", name), split_tables())
        for name in ("eval", "dev", "testing", "testset")
    },
    **{
        f"parquet: train, test, {name}": Row(
            parquets("train", "test", name),
            split_tables((f"train: left unread next to the training files: {name}.parquet",)),
        )
        for name in ("extra", "unsupervised")
    },
    "parquet: a test split without labels": Row(
        unlabelled_test, split_tables(("test: left unread, since its images have no labels",))
    ),
    "parquet: shards with other ClassLabel names": Row(
        names_that_differ, refused("got cat, dog in", "and dog, cat in", "write the files again")
    ),
    "folders: training_set, test_set": Row(folders(training_set=PETS, test_set=TESTED), Reads(PETS, TESTED)),
    "folders: train_images, test_images": Row(folders(train_images=PETS, test_images=TESTED), Reads(PETS, TESTED)),
    "folders: train, dev": Row(folders(train=PETS, dev=TESTED), Reads(PETS, TESTED)),
    "folders: train, eval": Row(folders(train=PETS, eval=TESTED), Reads(PETS, TESTED)),
    "folders: train, and another by its name, chosen": Row(
        folders(train=PETS, holdout=TESTED), Reads(PETS, TESTED), {"train_split": "train", "test_split": "holdout"}
    ),
    "folders: train, and another by its name": Row(
        folders(train=PETS, holdout=TESTED),
        refused("train may be", "choose by --train-split train and --test-split NAME"),
    ),
    "folders: classes bus, car, train": Row(
        lambda root: classes(root, {"bus": [0], "car": [1], "train": [2]}),
        Reads({"bus": [0], "car": [1], "train": [2]}),
    ),
    "folders: bus, car, train with days below": Row(
        folders(bus={"monday": [0]}, car={"monday": [1]}, train={"monday": [2], "tuesday": [3]}),
        refused("train may be the training split, or a class like bus, car", "move the other folders away"),
    ),
    "folders: splits below the classes": Row(
        folders(cat={"train": [0], "test": [1]}, dog={"train": [2], "test": [3]}),
        refused("found splits below every class (cat/test, cat/train)", "exchange the folders (train/cat)"),
    ),
    # files
    "every suffix that Pillow reads": Row(every_suffix, Reads({"cat": [0, 1, 4, 5, 6], "dog": [2, 3]})),
    "litter and other files": Row(litter, Reads(PETS, None, ("train: 2 files left unread: 1 .heic, 1 .txt",))),
    "links to folders": Row(
        lambda root: (links(root), root / "photos")[1],
        Reads(
            PETS,
            None,
            (
                "train: 1 image in folders below that of the class, such as cat/old",
                "train: left out links to folders that are read already, or contain them: cat/loop",
            ),
        ),
    ),
    "a broken link": Row(
        broken_link, refused("9.png", "a link to nowhere.png, which does not exist", "Remove or repair it")
    ),
    "a folder called odd.png": Row(
        odd_folder, Reads(PETS, None, ("train: 1 image in folders below that of the class, such as dog/odd.png",))
    ),
    "a name that is not UTF-8": Row(bytes_in_names, Reads({"caf\\xe9": [2, 3], "cat": [0, 1]})),
    "numeric class names": Row(eleven_numbers, Reads({str(c): [c] for c in range(11)})),
    "images of several sizes": Row(several_sizes, refused("2 different sizes", "--set data.image_size=")),
    "one folder down": Row(one_folder_down, Reads(PETS)),
    "one folder too high": Row(too_high, refused("{}/train/images; give that path")),
    "loose images next to empty folders": Row(loose, refused("3 images left unread, in no class folder", "labels.csv")),
    "photos of a telephone": Row(telephone, refused("got none; 2 files left unread: 2 .heic; convert the files")),
    "no such path": Row(mistyped, refused("neither a known name nor an existing folder", "Did you mean '{}/photos'?")),
    "null cells": Row(null_cells, refused("null or empty", "Remove or repair it")),
    "null labels": Row(null_labels, refused("label", "null")),
    "labels 0 and 999999": Row(
        large_labels,
        Reads(
            {"0": [0, 1], "999999": [2, 3]},
            None,
            ("train: no images of 999,998 of 1,000,000 classes, left out: '1', '2', '3', '4', '5' and 999,993 more",),
        ),
    ),
    # archives and tables
    "a zip file": Row(zipped, Reads(PETS)),
    "a tar file with splits": Row(tarred, Reads(PETS, TESTED)),
    "a zip file that writes elsewhere": Row(escaping_zip, refused("may lead out of the archive; refused")),
    "a table and images": Row(csv_and_images, Reads(PETS)),
    "a table of two labels": Row(csv_of_two_labels, refused("--label-column")),
    "a table of two labels, chosen": Row(csv_of_two_labels, Reads(PETS), {"label_column": "species"}),
    "a table without its images": Row(
        table_alone, refused("expected the images of column image", "the folder that holds the table and its images")
    ),
    "a table whose first image is missing": Row(
        first_is_missing, refused("names 1 of 4 images that do not exist, such as '0.jpg'", "remove their rows")
    ),
    # published layouts
    "CIFAR's pickles": Row(cifar_pickles, Reads({"cat": [0, 2, 4], "dog": [1, 3]}, {"cat": [6], "dog": [5]})),
    "MNIST of torchvision": Row(partial(idx, name="MNIST/raw/{}-idx{}-ubyte"), Reads(PARITY, PARITY_TEST)),
    "MNIST, packed": Row(partial(idx, name="{}-idx{}-ubyte.gz"), Reads(PARITY, PARITY_TEST)),
    "MNIST of Kaggle": Row(partial(idx, name="{}.idx{}-ubyte"), Reads(PARITY, PARITY_TEST)),
    "SVHN": Row(
        svhn,
        Reads(
            {"0": [0, 2], "1": [1]},
            {"0": [4], "1": [3]},
            (
                "train: left unread next to the training file: extra_32x32.mat",
                "train: no images of 8 of 10 classes, left out: '2', '3', '4', '5', '6' and 3 more",
            ),
        ),
        {},
        "svhn",
    ),
    "MedMNIST": Row(
        medmnist,
        Reads(PARITY, PARITY_TEST, ("validation: left unread, since there is another split to test on",)),
    ),
    "MedMNIST with several labels": Row(chestmnist, refused("chestmnist has 14 labels for each image", "only one")),
    "Tiny-ImageNet": Row(
        tiny_imagenet, Reads(IMAGENET, IMAGENET_VAL, ("train: left unread: 1 image without labels in test",))
    ),
    "ILSVRC": Row(ilsvrc, Reads(IMAGENET, IMAGENET_VAL)),
    "Imagenette of fast.ai": Row(imagenette, Reads(IMAGENET, IMAGENET_VAL, ("train: 1 file left unread: 1 .csv",))),
    "a snapshot of the hub": Row(snapshot, split_tables()),
    "two configurations": Row(two_configurations, refused("en, fr", "path of one")),
    "CIFAR10 instead of cifar10": Row(lambda root: None, refused("Did you mean 'cifar10'?"), {}, "CIFAR10"),
}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_situation(row, tmp_path):
    root = tmp_path / "place"
    root.mkdir()
    place = row.make(root) or root
    where = {"data_dir": root} if row.name else {}
    check(row.answer, lambda: load(row.name or place, **where, **row.options), root)


def test_a_moved_file_is_seen(tmp_path):
    """The cache of decoded images knows in which class a file lies."""
    classes(tmp_path, PETS)
    check(Reads(PETS), lambda: load(tmp_path))
    shutil.move(tmp_path / "cat" / "1.png", tmp_path / "dog" / "1.png")
    check(Reads({"cat": [0], "dog": [1, 2, 3]}), lambda: load(tmp_path))


@pytest.mark.filterwarnings("default:.*no test split")
def test_an_added_image_moves_no_other_into_the_test_split(tmp_path):
    def tested(images: ImageSet) -> set[int]:
        return {number for numbers in pictures_of(images.test, images.class_names).values() for number in numbers}

    classes(tmp_path, {"cat": list(range(20)), "dog": list(range(20, 40))})
    before = tested(build_data(str(tmp_path), make_config()))
    write_image(tmp_path / "cat" / "new.png", 40)
    assert tested(build_data(str(tmp_path), make_config())) - {40} == before
    assert 2 <= len(before) <= 14
