"""Data as people have them: a folder with every oddity, and one set of images in every form that can be read."""

from __future__ import annotations

import io
import json
import warnings

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import ExifTags, Image

import ncfm
from ncfm._utils.checks import NcfmError
from ncfm.data import images_of, load_images
from tiny import SETTINGS

DRAW = np.random.default_rng(0)


def photograph(width=20, height=16, mode="RGB"):
    """Blurred noise, as smooth as a photograph."""
    small = Image.fromarray(DRAW.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder with every oddity: classes of 12 images, of one, and of none; formats, modes and sizes mixed; damage."""
    root = tmp_path_factory.mktemp("oddities") / "Fotos für ncfm"
    for name in ("Äpfel & Birnen", "cats", "dogs", "only one", "nothing"):
        (root / name).mkdir(parents=True)
    photograph().save(root / "only one" / "single.png")
    cats, dogs, fruit = root / "cats", root / "dogs", root / "Äpfel & Birnen"
    for i in range(6):
        for folder in (cats, dogs, fruit):
            photograph(17 + i, 30 - 2 * i).save(folder / f"plain {i}.jpg", quality=90)
    photograph(mode="L").save(cats / "grey.png")
    photograph(mode="LA").save(cats / "grey with alpha.png")
    photograph(mode="RGBA").save(cats / "alpha.PNG")
    photograph(mode="P").save(cats / "palette.gif")
    photograph(mode="1").save(cats / "two levels.tif")
    photograph(mode="CMYK").save(dogs / "print.jpg")
    Image.fromarray(DRAW.integers(0, 65536, (16, 16), dtype=np.uint16)).save(dogs / "sixteen bits.png")
    photograph(300, 9).save(dogs / "a panorama.bmp")
    photograph(1, 1).save(dogs / "one pixel.ppm")
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    photograph(8, 24).save(fruit / "on its side.jpeg", exif=turned)
    photograph().save(fruit / "web.webp", lossless=True)
    (fruit / "copy.jpg").write_bytes((fruit / "plain 0.jpg").read_bytes())
    (dogs / "copy of a cat.jpg").write_bytes((cats / "plain 1.jpg").read_bytes())
    (cats / "broken.jpg").write_bytes((cats / "plain 2.jpg").read_bytes()[:200])
    (cats / "empty.png").touch()
    (cats / ".hidden.png").write_bytes(b"a copy that an editor left")
    (cats / "notes.txt").write_text("not an image")
    return root


def settings(**more):
    return SETTINGS | {"data.image_size": 16, "data.max_unreadable": 0.1} | more


def test_a_folder_with_every_oddity_is_loaded_and_described(photographs):
    images = load_images(str(photographs), image_size=16, max_unreadable=0.1)
    assert images.class_names == ("cats", "dogs", "only one", "Äpfel & Birnen")
    assert images.train.counts.tolist() == [11, 11, 1, 9]
    assert images.train.images.shape[1:] == (3, 16, 16)
    told = "\n".join(images.problems)
    assert "broken.jpg" in told
    assert "empty.png" in told
    assert "no images of class 'nothing'" in told
    assert "train: 1 file left unread: 1 .txt" in images.problems
    assert any("1 image with more than 8 bits" in problem for problem in images.problems)
    assert "train: 30 images not square, cropped to the centre (up to 97 % of the area lost" in told  # the panorama
    assert len(images.problems) == 6


def test_its_card_tells_what_is_wrong(photographs, capsys):
    from ncfm.cli.main import app

    arguments = ["data", str(photographs), "--json"]
    for key in ("data.image_size=16", "data.max_unreadable=0.1"):
        arguments += ["--set", key]
    app(arguments, standalone_mode=False)
    card = json.loads(capsys.readouterr().out)
    assert card["duplicates"] >= 1
    told = "\n".join(card["problems"])
    assert "1 duplicate image, 1 of them with another label" in told  # a cat among the dogs
    assert "also in the training split" not in told  # copies are set aside together
    assert "test: 1 class without images" in told  # the class of one image keeps it for training
    assert "were set aside" in told


def test_the_threshold_fails_the_run_and_lists_the_files(photographs):
    with pytest.raises(NcfmError, match="Could not read 2 of 34 images") as error:
        ncfm.distill(str(photographs), ipc=1, recipe="none", settings=settings(**{"data.max_unreadable": 0.0}))
    assert "broken.jpg" in str(error.value)
    assert "empty.png" in str(error.value)


def test_it_is_distilled_and_judged(photographs, tmp_path):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = ncfm.distill(str(photographs), ipc=1, recipe="none", settings=settings(), out=tmp_path / "run")
        score = ncfm.evaluate(tmp_path / "run")
    assert result.synthetic.images.shape == (4, 1, 3, 16, 16)
    assert result.synthetic.class_names[-1] == "Äpfel & Birnen"
    assert not torch.equal(result.synthetic.images, result.start.images)
    assert 0 <= score.accuracy_mean <= 1
    assert any("are repeated" in str(w.message) for w in told)  # the class of one image
    assert any("left out" in str(w.message) for w in told)


# --- one set in every form ----------------------------------------------------------------------------------

NAMES = ("cat/dog", "été", "with space")


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """The same 18 + 6 images as a folder, as parquet, as arrays, as a torch data set and through ``datasets``."""
    root = tmp_path_factory.mktemp("forms")
    splits = {}
    for split, count in (("train", 18), ("test", 6)):
        arrays = [np.asarray(photograph(13, 11)) for _ in range(count)]
        splits[split] = (arrays, [i * len(NAMES) // count for i in range(count)])
    for split, (arrays, labels) in splits.items():
        files = []
        for i, (array, label) in enumerate(zip(arrays, labels, strict=True)):
            folder = root / "folder" / split / f"{label} {NAMES[label].replace('/', '_')}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / f"{i:03}.png")
            buffer = io.BytesIO()
            Image.fromarray(array).save(buffer, "PNG")
            files.append({"bytes": buffer.getvalue(), "path": f"{i:03}.png"})
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
        table = datasets.Dataset.from_dict({"image": files, "label": labels}, features=features)
        (root / "hub").mkdir(exist_ok=True)
        (root / "parquet").mkdir(exist_ok=True)
        table.to_parquet(root / "hub" / f"{split}-00000-of-00001.parquet")
        metadata = {b"huggingface": json.dumps({"info": {"features": features.to_dict()}}).encode()}
        arrow = pa.table({"image": files, "label": labels}).replace_schema_metadata(metadata)
        pq.write_table(arrow, root / "parquet" / f"{split}.parquet", row_group_size=4)
    return root, splits


class Items(torch.utils.data.Dataset):
    """(image, label) items with Pillow images."""

    def __init__(self, arrays, labels):
        self.arrays, self.labels = arrays, labels

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, i):
        return Image.fromarray(self.arrays[i]), self.labels[i]


@pytest.mark.parametrize("size", [12, 32])
def test_the_same_images_give_the_same_tensors_in_every_form(forms, monkeypatch, size):
    root, splits = forms
    load_dataset = datasets.load_dataset
    hub = {split: str(root / "hub" / f"{split}-00000-of-00001.parquet") for split in splits}
    monkeypatch.setattr(datasets, "load_dataset", lambda name: load_dataset("parquet", data_files=hub))
    made = {
        "folder": load_images(str(root / "folder"), image_size=size),
        "parquet": load_images(str(root / "parquet"), image_size=size),
        "hub": load_images("hf:somebody/something", image_size=size),
        "arrays": images_of(splits["train"], splits["test"], class_names=NAMES, image_size=size),
        "data set": images_of(Items(*splits["train"]), Items(*splits["test"]), class_names=NAMES, image_size=size),
    }
    again = load_images("hf:somebody/something", image_size=size)  # now from the cache
    for form, images in (*made.items(), ("hub again", again)):
        for split in ("train", "test"):
            found, expected = getattr(images, split), getattr(made["folder"], split)
            assert torch.equal(found.images, expected.images), (form, split)
            assert torch.equal(found.labels, expected.labels), (form, split)
        assert images.statistics == made["folder"].statistics, form
        assert form == "folder" or images.class_names == NAMES, form


def test_names_with_slashes_spaces_and_unicode_go_through_a_run(forms, tmp_path):
    root, _ = forms
    options = {"recipe": "none", "settings": settings()}
    with pytest.warns(UserWarning, match="images not square, cropped"):
        result = ncfm.distill(str(root / "parquet"), ipc=1, out=tmp_path / "run", **options)
    assert ncfm.load(tmp_path / "run").class_names == NAMES == result.synthetic.class_names
    assert (tmp_path / "run" / "images.png").is_file()
