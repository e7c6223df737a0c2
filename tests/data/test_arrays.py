"""Image sets from what is in memory: every form gives the same pixels, labels and names, or one sentence."""

from __future__ import annotations

import io
import re
import time
import tracemalloc
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, SubsetRandomSampler, TensorDataset

from ncfm._utils.checks import InputError
from ncfm.data import images_of, load_images

NAMES, NUMBERS = ("cat", "dog", "emu"), ("0", "1", "2")
LABELS = [2, 0, 1, 1, 0, 2]
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 3), dtype=np.uint8)
ORDER = [1, 4, 2, 3, 0, 5]  # by class, in the order of the source within a class
EXPECTED = torch.from_numpy(PIXELS[ORDER]).permute(0, 3, 1, 2)
WORDS = [NAMES[label] for label in LABELS]
ONE_HOT = np.eye(3)[LABELS]
FLOATS = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255
PILLOW = [Image.fromarray(image) for image in PIXELS]


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


FILES = [png(image) for image in PIXELS]


class Items(torch.utils.data.Dataset):
    """A map-style dataset."""

    def __init__(self, items, **attributes):
        self.items = list(items)
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Stream(torch.utils.data.IterableDataset):
    """An iterable dataset."""

    classes = NAMES

    def __iter__(self):
        return iter(zip(PILLOW, LABELS, strict=True))


def pairs(images=PILLOW, labels=LABELS):
    return list(zip(images, labels, strict=True))


def rows(**others):
    return [{"img": image, "fine_label": label, **others} for image, label in zip(PILLOW, LABELS, strict=True)]


def table(**columns):
    """A dataset of Hugging Face with encoded images and named classes."""
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))}
    features |= {name: datasets.Value("int64") for name in columns}
    return datasets.Dataset.from_dict({"image": PILLOW, "label": LABELS, **columns}, datasets.Features(features))


def array_table():
    features = {"image": datasets.Array3D((5, 5, 3), "uint8"), "label": datasets.ClassLabel(names=list(NAMES))}
    return datasets.Dataset.from_dict({"image": PIXELS, "label": LABELS}, datasets.Features(features))


def with_transform():
    """The transform of a dataset is what its items are: here images are turned upside down twice."""

    def twice(batch):
        return {"image": [image.rotate(180) for image in batch["image"]], "label": batch["label"]}

    return table().map(lambda row: {"image": row["image"].rotate(180)}).with_transform(twice)


INT64 = "int64 pixels are taken as levels from 0 to 255"
HOT = "one-hot labels of 3 classes are numbered"
OWN_ORDER = "the dataset of the loader is read in its own order, without batches"
ONCE = "the loader is read once, in its order"

FORMS = {
    # pairs: pixels
    "uint8, channels last": (lambda: (PIXELS, LABELS), NUMBERS, ()),
    "uint8, channels first": (lambda: (PIXELS.transpose(0, 3, 1, 2), LABELS), NUMBERS, ()),
    "uint8 tensors": (lambda: (torch.from_numpy(PIXELS), torch.tensor(LABELS)), NUMBERS, ()),
    "lists of arrays": (lambda: (list(PIXELS), LABELS), NUMBERS, ()),
    "a list of two": (lambda: [PIXELS, LABELS], NUMBERS, ()),
    "tuples": (lambda: (tuple(PIXELS), tuple(LABELS)), NUMBERS, ()),
    "float32": (lambda: (FLOATS, LABELS), NUMBERS, ()),
    "float64": (lambda: (PIXELS / 255, LABELS), NUMBERS, ()),
    "float16": (lambda: (FLOATS.half().numpy(), LABELS), NUMBERS, ()),
    "float32 with a gradient": (lambda: (FLOATS.clone().requires_grad_(), LABELS), NUMBERS, ()),
    "float32 with rounding errors": (lambda: (FLOATS * (1 + 5e-7) - 1e-7, LABELS), NUMBERS, ()),
    "int64": (lambda: (PIXELS.astype(np.int64), LABELS), NUMBERS, (INT64,)),
    "int64 tensors": (lambda: (torch.from_numpy(PIXELS).long(), LABELS), NUMBERS, (INT64,)),
    "uint16": (lambda: (PIXELS.astype(np.uint16), LABELS), NUMBERS, (INT64.replace("int64", "uint16"),)),
    "nested lists": (lambda: (PIXELS.tolist(), LABELS), NUMBERS, (INT64,)),
    "Pillow images": (lambda: (PILLOW, LABELS), NUMBERS, ()),
    "file contents": (lambda: (FILES, LABELS), NUMBERS, ()),
    "a column of a data frame": (
        lambda: (pd.Series(FILES, index=range(10, 16)), pd.Series(WORDS, dtype="category")),
        NAMES,
        (),
    ),
    "a mapping of columns": (lambda: {"images": PIXELS, "labels": LABELS}, NUMBERS, ()),
    "a mapping of columns and more": (
        lambda: {"image": PIXELS, "id": range(6), "label": LABELS},
        NUMBERS,
        ("left unread next to the columns image and label: id",),
    ),
    # pairs: labels
    "labels (n, 1)": (lambda: (PIXELS, np.array(LABELS)[:, None]), NUMBERS, ()),
    "labels of one number each": (lambda: (PIXELS, [[label] for label in LABELS]), NUMBERS, ()),
    "numpy scalars": (lambda: (PIXELS, [np.int32(label) for label in LABELS]), NUMBERS, ()),
    "0-d tensors": (lambda: (PIXELS, [torch.tensor(label) for label in LABELS]), NUMBERS, ()),
    "whole floats": (lambda: (PIXELS, torch.tensor(LABELS).double()), NUMBERS, ()),
    "names": (lambda: (PIXELS, WORDS), NAMES, ()),
    "names in an array": (lambda: (PIXELS, np.array(WORDS)), NAMES, ()),
    "names in bytes": (lambda: (PIXELS, np.array(WORDS, dtype="S")), NAMES, ()),
    "one-hot": (lambda: (PIXELS, ONE_HOT), NUMBERS, (HOT,)),
    "one-hot integers": (lambda: (PIXELS, ONE_HOT.astype(int).tolist()), NUMBERS, (HOT,)),
    "one-hot bools": (lambda: (PIXELS, torch.from_numpy(ONE_HOT).bool()), NUMBERS, (HOT,)),
    # datasets of torch
    "a list of items": (lambda: pairs(), NUMBERS, ()),
    "map-style": (lambda: Items(pairs()), NUMBERS, ()),
    "map-style, tensors": (lambda: Items(pairs(FLOATS, torch.tensor(LABELS))), NUMBERS, ()),
    "map-style, names": (lambda: Items(pairs(PIXELS, WORDS)), NAMES, ()),
    "map-style, one-hot": (lambda: Items(pairs(PIXELS, ONE_HOT)), NUMBERS, (HOT,)),
    "as of torchvision": (lambda: Items(pairs(), classes=list(NAMES), targets=LABELS), NAMES, ()),
    "as of torchvision, names": (lambda: Items(pairs(labels=WORDS), classes=list(NAMES)), NAMES, ()),
    "a subset": (
        lambda: torch.utils.data.Subset(Items(pairs()[::-1], classes=NAMES), range(5, -1, -1)),
        NAMES,
        (),
    ),
    "concatenated": (
        lambda: ConcatDataset([Items(pairs()[:2], classes=NAMES), Items(pairs()[2:], classes=NAMES)]),
        NAMES,
        (),
    ),
    "tensors of torch": (lambda: TensorDataset(FLOATS, torch.tensor(LABELS)), NUMBERS, ()),
    "items with more": (
        lambda: [(image, label, "more") for image, label in pairs()],
        NUMBERS,
        ("items have 3 entries: left unread after image and label",),
    ),
    "items with columns": (lambda: Items(rows()), NUMBERS, ()),
    "items with more columns": (
        lambda: Items(rows(coarse_label=0, id=1)),
        NUMBERS,
        ("left unread next to the columns img and fine_label: coarse_label, id",),
    ),
    "iterable": (Stream, NAMES, ()),
    "an iterator": (lambda: zip(PIXELS, WORDS, strict=True), NAMES, ()),
    "an iterator of columns": (lambda: iter(rows()), NUMBERS, ()),
    # loaders
    "a loader": (lambda: DataLoader(Items(pairs(FLOATS), classes=NAMES), 4, shuffle=True), NAMES, (OWN_ORDER,)),
    "a loader without the last batch": (lambda: DataLoader(Items(pairs()), 4, drop_last=True), NUMBERS, (OWN_ORDER,)),
    "a loader that collates": (
        lambda: DataLoader(Items(pairs(), classes=NAMES), 4, collate_fn=lambda items: list(zip(*items, strict=True))),
        NAMES,
        (ONCE,),
    ),
    "a loader of columns": (
        lambda: DataLoader(
            rows(),
            4,
            collate_fn=lambda rows: {"img": [r["img"] for r in rows], "label": [r["fine_label"] for r in rows]},
        ),
        NUMBERS,
        (ONCE,),
    ),
    "a loader of single items": (lambda: DataLoader(Items(pairs(PIXELS)), batch_size=None), NUMBERS, (ONCE,)),
    "a loader with batches of its own": (
        lambda: DataLoader(Items(pairs(PIXELS)), batch_sampler=[[0, 1, 2], [3], [4, 5]]),
        NUMBERS,
        (ONCE,),
    ),
    # datasets of Hugging Face
    "a table": (table, NAMES, ()),
    "a table with more columns": (
        lambda: table(id=LABELS),
        NAMES,
        ("left unread next to the columns image and label: id",),
    ),
    "a table as tensors": (lambda: table().with_format("torch"), NAMES, ()),
    "a table of arrays": (array_table, NAMES, (INT64,)),
    "a table with a transform": (with_transform, NAMES, ()),
    "items of a table": (lambda: torch.utils.data.Subset(table(), range(6)), NAMES, ()),
    "a stream of a table": (lambda: table().to_iterable_dataset(), NAMES, ()),
    "a loader of a table": (lambda: DataLoader(table(), 2), NAMES, (OWN_ORDER,)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_set(form):
    build, names, notes = FORMS[form]
    images = images_of(build())
    assert torch.equal(images.train.images, EXPECTED)
    assert images.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert images.class_names == names
    assert images.problems == tuple(f"train: {note}" for note in notes)
    assert images.test is None


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_of_images(tmp_path, kind):
    for i, content in enumerate(FILES):
        (tmp_path / f"{i}.png").write_bytes(content)
    images = images_of(([kind(tmp_path / f"{i}.png") for i in range(6)], LABELS))
    assert torch.equal(images.train.images, EXPECTED)


def test_a_sampler_chooses_the_images_of_a_loader():
    images = images_of(DataLoader(Items(pairs(PIXELS)), 2, sampler=SubsetRandomSampler([2, 4, 5])))
    assert images.problems == ("train: the loader is read once, in its order",)
    assert torch.equal(images.train.images, torch.from_numpy(PIXELS[[4, 2, 5]]).permute(0, 3, 1, 2))


def test_a_table_without_names_and_labels_that_are_names():
    of_numbers = datasets.Dataset.from_dict({"image": FILES, "label": LABELS})
    of_names = datasets.Dataset.from_dict({"image": FILES, "label": WORDS})
    assert images_of(of_numbers).class_names == NUMBERS
    assert images_of(of_names).class_names == NAMES
    assert torch.equal(images_of(of_names).train.images, EXPECTED)


# --- Pillow images are decoded like files -------------------------------------------------------------------


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    return {"exif": exif.tobytes()}


GREY16 = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
COLOUR = Image.fromarray(np.random.default_rng(1).integers(0, 256, (8, 8, 4), dtype=np.uint8), "RGBA")
MODES = {
    "palette": (COLOUR.convert("RGB").quantize(7), "PNG", {}),
    "palette with transparency": (COLOUR.convert("RGB").quantize(7), "PNG", {"transparency": 2}),
    "grey with alpha": (COLOUR.convert("LA"), "PNG", {}),
    "alpha": (COLOUR, "PNG", {}),
    "1 bit": (COLOUR.convert("1"), "PNG", {}),
    "CMYK": (COLOUR.convert("RGB").convert("CMYK"), "TIFF", {}),
    "16 bits": (GREY16, "PNG", {}),
    "turned JPEG": (COLOUR.convert("RGB"), "JPEG", turned()),
    "turned PNG": (COLOUR.convert("RGB"), "PNG", turned()),
    "turned TIFF": (COLOUR.convert("RGB"), "TIFF", turned()),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("once", [False, True], ids=["by number", "read once"])
def test_pillow_images_are_decoded_as_their_files_are(mode, once):
    image, file_format, options = MODES[mode]
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    opened = [Image.open(io.BytesIO(buffer.getvalue())) for _ in range(2)]
    expected = images_of(([buffer.getvalue()] * 2, [0, 1]))
    items = list(zip(opened, [0, 1], strict=True))
    images = images_of(iter(items) if once else items)
    assert torch.equal(images.train.images, expected.train.images)
    assert int(images.train.images.max()) > 1
    again = images_of(items)  # they are as they were
    assert torch.equal(again.train.images, expected.train.images)


def test_colours_of_another_space_are_converted():
    rgb = COLOUR.convert("RGB")
    images = images_of([(rgb.convert("HSV"), 0), (rgb.convert("HSV"), 1)])
    assert torch.equal(
        images.train.images[0], torch.from_numpy(np.array(rgb.convert("HSV").convert("RGB"))).permute(2, 0, 1)
    )


def test_pillow_images_without_a_range_are_refused():
    with pytest.raises(InputError, match="its pixels are floats from 0 to 7, of which black and white are not known"):
        images_of([(Image.fromarray(np.array([[0, 7]] * 2, np.float32)), label) for label in (0, 1)])


# --- splits -------------------------------------------------------------------------------------------------

PAIR = (PIXELS, LABELS)
TWO = (PIXELS[:2], [2, 0])


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("training", "testing"), ("Train", "val"), ("my_train", "dev"), ("TRAIN", "eval")],
)
def test_splits_by_their_names(train, test):
    images = images_of({test: TWO, train: PAIR})
    assert (len(images.train), len(images.test)) == (6, 2)
    assert torch.equal(images.test.images, torch.from_numpy(PIXELS[[1, 0]]).permute(0, 3, 1, 2))
    assert images.problems == ()


def test_a_dataset_dict():
    splits = datasets.DatasetDict({"train": table(), "validation": table().select([0, 1]), "unsupervised": table()})
    images = images_of(splits)
    assert torch.equal(images.train.images, EXPECTED)
    assert torch.equal(images.test.images, torch.from_numpy(PIXELS[[1, 0]]).permute(0, 3, 1, 2))
    assert images.class_names == NAMES
    assert images.problems == ("unsupervised: left unread",)


def test_splits_that_are_not_read_are_named():
    images = images_of({"train": PAIR, "test": TWO, "val": TWO, "holdout": TWO, "extra": TWO, "later": None})
    assert images.problems == (
        "validation: left unread, since there is another split to test on",
        "holdout: left unread, since its name says no split (train, test, validation)",
        "extra: left unread",
    )


def test_a_split_that_is_not_used_is_not_read():
    def fail():
        raise AssertionError("read")
        yield

    images = images_of({"validation": fail(), "train": PAIR, "test": TWO})
    assert images.problems == ("validation: left unread, since there is another split to test on",)
    assert images.test.labels.tolist() == [0, 2]


def test_many_splits_and_columns_are_named_in_one_line():
    images = images_of({"train": PAIR, **{f"part{i:03}": TWO for i in range(300)}})
    assert images.problems == (
        "part000, part001, part002, part003, part004 and 295 more: left unread, since their names say no split (train, "
        "test, validation)",
    )
    items = [{"image": image, "label": 0 if i else 1, f"c{i}": 0} for i, image in enumerate(PIXELS)]
    (problem,) = images_of(items).problems
    assert problem == "train: left unread next to the columns image and label: c0, c1, c2, c3, c4 and 1 more"
    longer = [(image, i % 2, *range(i + 1)) for i, image in enumerate(PIXELS)]
    assert images_of(longer).problems == ("train: items have 3 to 8 entries: left unread after image and label",)


@pytest.mark.parametrize("labels", [np.arange(6) * 100_000, [f"class {i}" for i in range(6)]])
def test_a_hundred_thousand_classes_without_images_are_counted_in_time(labels):
    names = None if isinstance(labels, np.ndarray) else [f"class {i}" for i in range(500_001)]
    began = time.process_time()
    (problem,) = images_of((PIXELS, labels), class_names=names).problems
    assert time.process_time() - began < 5
    assert problem.startswith("train: no images of 499,995 of 500,001 classes, left out: ")
    assert len(problem) < 200


@pytest.mark.parametrize("unlabelled", [[-1, -1], [None, None], torch.tensor([-1, -1])])
def test_a_test_split_without_labels_gives_way_to_validation(unlabelled):
    images = images_of({"train": PAIR, "test": (PIXELS[4:], unlabelled), "validation": TWO})
    assert torch.equal(images.test.images, torch.from_numpy(PIXELS[[1, 0]]).permute(0, 3, 1, 2))
    assert images.problems == ("test: left unread, since its images have no labels",)
    alone = images_of(PAIR, (PIXELS[4:], unlabelled))
    assert alone.test is None
    assert alone.problems == images.problems


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"x_train": PIXELS, "y_train": LABELS}, "x_train and y_train are both named train"),
        ({"train": PAIR, "val": TWO, "dev": TWO}, "val and dev are both named validation; keep one"),
        ({"train_test": PAIR}, "'train_test' may be train or test"),
        ({"data": PAIR}, "expected a train split, found data"),
        ({0: PIXELS, 1: PIXELS}, "expected a train split, found 0, 1"),
        ({}, "expected a train split, found nothing"),
    ],
)
def test_mappings_that_are_not_clear_are_refused(splits, message):
    with pytest.raises(InputError, match=re.escape(message)):
        images_of(splits)


# --- classes ------------------------------------------------------------------------------------------------


def test_names_of_the_training_split_number_the_test_split():
    images = images_of((PIXELS, WORDS), (PIXELS[[0, 2]], ["emu", "dog"]))
    assert images.test.labels.tolist() == [1, 2]
    assert torch.equal(images.test.images, torch.from_numpy(PIXELS[[2, 0]]).permute(0, 3, 1, 2))


def test_given_names():
    assert images_of(PAIR, class_names=np.array(NAMES)).class_names == NAMES
    assert images_of((PIXELS, WORDS), class_names=["emu", "dog", "cat"]).train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    first = images_of((PIXELS, WORDS), class_names=["emu", "dog", "cat"]).train.images[0]
    assert torch.equal(first, torch.from_numpy(PIXELS[0]).permute(2, 0, 1))
    more = images_of(PAIR, class_names=[*NAMES, "fox"])
    assert more.class_names == NAMES
    assert more.problems == ("train: no images of class 'fox', left out",)


def test_test_images_of_classes_without_training_images_are_counted():
    images = images_of((PIXELS[:5], [0, 0, 1, 1, 2]), (PIXELS, [0, 1, 2, 3, 3, 1]))
    assert len(images.test) == 4
    assert images.problems == (
        "test: left out 2 images of classes without training images",
        "train: no images of class '3', left out",
    )


@pytest.mark.parametrize(
    ("train", "test", "names", "message"),
    [
        (PAIR, None, ["cat", "dog"], "train: expected labels below 2, for the classes cat, dog; got 2 of image 0"),
        (PAIR, (PIXELS, [3] * 6), NAMES, "test: expected labels below 3, for the classes cat, dog, emu; got 3"),
        (PAIR, None, "cat", "class_names: expected a sequence of names, got str"),
        (PAIR, None, {"cat": 0}, "class_names: expected a sequence of names, got dict"),
        (Items(pairs(), classes=NAMES), None, NAMES[:2], "class_names: expected 3 names, as there are classes, got 2"),
        ((PIXELS, ONE_HOT), None, NAMES[:2], "class_names: expected 3 names, as there are classes, got 2"),
        ((PIXELS, ONE_HOT), (PIXELS[:2], np.eye(4)[:2]), None, "test: expected one-hot labels of 3 classes, got 4"),
        ((PIXELS, WORDS), (PIXELS[:1], ["fox"]), None, "test: no class is named fox; the classes are cat, dog, emu"),
        ((PIXELS, WORDS), None, ["Cat", "dog", "emu"], "train: no class is named cat; the classes are Cat, dog, emu"),
        (PAIR, (PIXELS, WORDS), None, "test: the labels are names, those of the training split are numbers"),
        (
            Items(pairs(), classes=NAMES),
            Items(pairs(), classes=NAMES[::-1]),
            NAMES,
            "test: expected the classes of the training split in their order (cat, dog, emu), got emu, dog, cat",
        ),
        (PAIR, Items(pairs(), classes=NAMES), None, "in their order (without names), got cat, dog, emu; number both"),
        (PAIR, Items(pairs(), classes=NAMES), NAMES[::-1], "in their order (emu, dog, cat), got cat, dog, emu"),
        (
            ConcatDataset([Items(pairs(), classes=NAMES), Items(pairs(), classes=NAMES[::-1])]),
            None,
            None,
            "Expected the same classes in all parts of a dataset",
        ),
        ((PIXELS[:4], [0, 0, 1, 1]), (PIXELS[4:], [2, 3]), None, "same classes, but they have none in common"),
        ((PIXELS, [0] * 6), None, None, "at least 2 classes, got 1"),
        ((PIXELS, [-1, 0, 1, 1, 0, 1]), None, None, "train: expected labels from 0, got -1 of image 0"),
        ((PIXELS, [-1] * 6), None, None, "train: expected a label of every image, got none or -1"),
        (PAIR, (PIXELS[:2], [-1, 0]), None, "test: expected labels from 0, got -1 of image 0"),
    ],
)
def test_classes_that_do_not_fit_are_refused(train, test, names, message):
    with pytest.raises(InputError, match=re.escape(message)):
        images_of(train, test, class_names=names)


# --- what is not a split ---------------------------------------------------------------------------------------


class Endless(torch.utils.data.Dataset):
    def __getitem__(self, index):
        return PIXELS[0], 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PIXELS, "train: expected a pair, images_of((images, labels)), got ndarray of shape (6, 5, 5, 3) alone"),
        (torch.from_numpy(PIXELS), "got Tensor of shape (6, 5, 5, 3) alone"),
        ("cifar10", "got str"),
        (None, "got NoneType"),
        (load_images("digits"), "got ImageSet"),
        (Endless(), "with a length, got Endless"),
        (Items(PIXELS), "expected items (image, label), but item 0 is ndarray of shape (5, 5, 3)"),
        (TensorDataset(FLOATS), "expected items (image, label), but item 0 is tuple"),
        (pd.DataFrame({"image": FILES, "label": LABELS}), "DataFrame of shape (6, 2) has no item 0: KeyError: 0"),
        (Items([{"image": PIXELS[0]}]), "train: no label column named label or labels"),
        (table().remove_columns("label"), "train: no label column named label or labels"),
        ((iter(PIXELS), LABELS), "expected images and labels that have a length"),
        ((PIXELS, LABELS[:5]), "expected as many labels as images, got 5 and 6"),
        ([], "at least one image"),
        (iter([]), "at least one image"),
        ((PIXELS[:0], []), "at least one image"),
        (
            DataLoader(Items(pairs(2 * FLOATS)), 2, collate_fn=lambda items: (items, [0])),
            "as many labels as images in a batch, got 1 and 2",
        ),
        (DataLoader(Items(pairs((FLOATS - 0.5) / 0.2)), 2), "undo their normalisation (x * std + mean)"),
    ],
)
def test_what_is_no_split_is_refused(source, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        images_of(source)
    assert "\n" not in str(caught.value)


def test_errors_of_a_dataset_itself_are_not_hidden():
    class Broken(Items):
        def __getitem__(self, index):
            return {}["missing"] if index == 3 else self.items[index]

    with pytest.raises(KeyError, match="missing"):
        images_of(Broken(pairs()))


def test_float_images_are_not_held_twice():
    floats = np.random.default_rng(0).random((1000, 32, 32, 3), dtype=np.float32)
    tracemalloc.start()
    images = images_of((floats, np.arange(1000) % 2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert images.train.images.numel() == floats.nbytes // 4
    assert peak < floats.nbytes // 2  # the pixels in 8 bits, once, and some chunks
