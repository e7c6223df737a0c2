"""Exports: the program that a form is for reads the same pixels and labels in the same order, and nothing else is
touched."""

from __future__ import annotations

import dataclasses
import io
import json
import shlex
from pathlib import Path

import datasets
import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.testing import assert_close

import ncfm
from ncfm._utils import files as _files
from ncfm._utils.checks import NcfmError, RunError
from ncfm._utils.types import Statistics
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.levels import to_float, to_uint8
from ncfm.formats import FORMATS, export, hub
from ncfm.formats import writing as formats
from ncfm.formats.card import dataset_card, escape
from ncfm.formats.class_names import unique_names
from ncfm.formats.content import Content
from ncfm.formats.names import NAME_BYTES, SPLITS, folder_names
from ncfm.formats.reading import read_external
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet
from strategies import rng

NAMES = ("zebra", "ant", "maßstab")  # not in sorted order
HOSTILE = (
    "../x",
    "a/b",
    "",
    "con",
    "Käfer 🐞",
    "crane",
    "crane",
    "x" * 500,
    "test",
    "drop-Train_2",
    "..",
    "a\x00b\n|`<b>",
    "-",
)


def made(channels=1, factor=1, soft=False, names=NAMES, **options):
    images = torch.rand(len(names), 2, channels, 8, 8, generator=rng(channels))
    statistics = Statistics((0.4,) * channels, (0.3,) * channels)
    said = None
    if soft:
        logits = torch.randn(len(names) * 2 * factor**2, len(names), generator=rng(7))
        said = SoftLabels.of(torch.log_softmax(logits, 1))
    return SyntheticSet(images, names, statistics, factor=factor, soft_labels=said, **options)


SETS = {
    "grey": made(),
    "RGB mosaics with soft labels": made(3, factor=2, soft=True),
    "grey mosaics of hostile names": made(factor=2, soft=True, names=HOSTILE),
}


@pytest.fixture(params=SETS.values(), ids=SETS.keys())
def chosen(request):
    return request.param


@pytest.fixture(autouse=True)
def no_bars():
    datasets.disable_progress_bars()


def real_of(chosen):
    """Real data of the same shape and classes."""
    count, (channels, size) = chosen.num_classes, chosen.images.shape[2:4]
    pixels = torch.randint(0, 256, (2 * count, channels, size, size), dtype=torch.uint8, generator=rng(5))
    split = ImageSplit.of(pixels, torch.arange(count).repeat_interleave(2), count)
    return ImageSet("real", split, None, chosen.class_names)


def array_of(pictures):
    """Pillow images as (n, c, h, w) uint8."""
    arrays = [np.asarray(picture) for picture in pictures]
    assert all(array.dtype == np.uint8 for array in arrays)
    stacked = torch.from_numpy(np.stack(arrays))
    return stacked[:, None] if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2)


def expected(chosen):
    """Pixels, labels and probabilities to be found again."""
    images, labels = chosen.decoded()
    soft = chosen.soft_labels
    return to_uint8(images), labels.tolist(), None if soft is None else soft.log_probabilities().exp()


def assert_found(chosen, pixels, labels, probabilities=None):
    wanted, in_order, soft = expected(chosen)
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, wanted)
    assert [int(label) for label in labels] == in_order
    if probabilities is not None:
        assert torch.equal(torch.as_tensor(np.stack(probabilities)), soft)


def opened(cells):
    return [Image.open(io.BytesIO(cell["bytes"])) for cell in cells]


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- read back ----------------------------------------------------------------------------------------------


def test_the_hub_s_library_reads_the_hf_folder(chosen, tmp_path):
    export(chosen, tmp_path / "hf", to="hf")
    found = datasets.load_dataset(str(tmp_path / "hf"), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["train"]
    found = found["train"]
    soft = found.with_format("numpy")["probabilities"][:] if chosen.soft_labels else None
    assert_found(chosen, array_of(found["image"]), found["label"], soft)
    assert found.features["label"].names == list(unique_names(chosen.class_names))
    assert isinstance(found.features["image"], datasets.Image)


def test_one_parquet_file_is_read_by_three_programs(chosen, tmp_path):
    place = export(chosen, tmp_path / "set.parquet", to="parquet").path
    table = pq.read_table(place)
    soft = chosen.soft_labels is not None
    assert table.column_names == ["image", "label", *(["probabilities"] if soft else [])]
    said = table["probabilities"].to_pylist() if soft else None
    assert_found(chosen, array_of(opened(table["image"].to_pylist())), table["label"].to_pylist(), None)
    assert said is None or np.array_equal(np.array(said, np.float32), expected(chosen)[2].numpy())
    frame = pandas.read_parquet(place)
    assert_found(chosen, array_of(opened(frame["image"])), frame["label"], frame["probabilities"] if soft else None)
    found = datasets.load_dataset("parquet", data_files=str(place), split="train", cache_dir=str(tmp_path / "cache"))
    assert_found(chosen, array_of(found["image"]), found["label"])
    assert found.features["label"].names == list(unique_names(chosen.class_names))


def test_folders_of_png_are_read_by_pillow_and_as_an_image_folder(chosen, tmp_path):
    export(chosen, tmp_path / "png", to="png")
    folders = sorted(p for p in (tmp_path / "png").iterdir() if p.is_dir())
    files = [(i, p) for i, folder in enumerate(folders) for p in sorted(folder.iterdir())]
    pictures = [Image.open(p) for _, p in files]
    assert {picture.mode for picture in pictures} == {"L" if chosen.images.shape[2] == 1 else "RGB"}
    assert_found(chosen, array_of(pictures), [i for i, _ in files])
    index = json.loads((tmp_path / "png" / "classes.json").read_text(encoding="utf-8"))
    assert index["class_names"] == list(chosen.class_names)
    assert index["folders"] == [p.name for p in folders]
    found = datasets.load_dataset(str(tmp_path / "png"), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["train"]  # no class is taken for a split
    assert_found(chosen, array_of(found["train"]["image"]), found["train"]["label"])
    assert found["train"].features["label"].names == index["folders"]


def test_numpy_reads_npz_without_objects(chosen, tmp_path):
    with np.load(export(chosen, tmp_path / "set.npz", to="npz").path, allow_pickle=False) as file:
        found = dict(file)
    assert_found(chosen, array_of(found["images"]), found["labels"], found.get("probabilities"))
    assert ("probabilities" in found) == (chosen.soft_labels is not None)
    # NumPy's strings end at a zero byte only if it is the last: none of ours is.
    assert found["class_names"].tolist() == list(chosen.class_names)
    assert_close(torch.from_numpy(found["mean"]), torch.tensor(chosen.statistics.mean))
    assert_close(torch.from_numpy(found["std"]), torch.tensor(chosen.statistics.std))


def test_torch_reads_pt_as_plain_tensors_to_the_bit(chosen, tmp_path):
    found = torch.load(export(chosen, tmp_path / "set.pt", to="pt").path, weights_only=True)
    assert torch.equal(found["images"], chosen.decoded().images)
    assert_found(chosen, to_uint8(found["images"]), found["labels"], found.get("probabilities"))
    assert found["class_names"] == list(chosen.class_names)


@pytest.mark.parametrize(
    ("data", "mean", "std"), [("cifar10", 0.4914, 0.2023), ("imagenette", 0.485, 0.229), ("mine", 0.4, 0.3)]
)
def test_ddranking_has_images_normalised_as_its_own_and_logits(data, mean, std, tmp_path):
    # Its documentation: images (N x IPC, C, H, W), labels whose first dimension is the same; test images of CIFAR-10
    # less (0.4914, ...) over (0.2023, ...). Labels go through a softmax there.
    chosen = made(3, factor=2, soft=True, facts={"data": data})
    folder = export(chosen, tmp_path / "dd", to="ddranking").path
    images, labels = (torch.load(folder / name, weights_only=True) for name in ("images.pt", "labels.pt"))
    assert images.shape == (24, 3, 8, 8)
    assert_close(images[:, 0] * std + mean, chosen.decoded().images[:, 0])
    assert labels.shape == (24, 3)
    assert_close(labels.softmax(1), chosen.soft_labels.log_probabilities().exp())
    told = (folder / "README.md").read_text()
    assert "LabelRobustScoreSoft" in told
    assert 'ipc=8, im_size=(8, 8), soft_label_mode="S"' in told


def test_ddranking_without_soft_labels_has_class_indices(tmp_path):
    folder = export(made(3), tmp_path / "dd", to="ddranking").path
    assert torch.load(folder / "labels.pt", weights_only=True).tolist() == [0, 0, 1, 1, 2, 2]
    assert "hard_labels=labels" in (folder / "README.md").read_text()


@pytest.mark.parametrize("to", ["png", "parquet", "hf", "npz", "pt"])
def test_our_own_evaluation_reads_every_format(chosen, to, tmp_path):
    place = export(chosen, tmp_path / f"set{FORMATS[to].suffix}", to=to).path
    found = read_external(place, real_of(chosen)).images
    assert_found(chosen, to_uint8(found.images), found.labels)


@pytest.mark.parametrize("bits", FORMATS["ncfm"].bits)
def test_the_package_s_own_form_comes_back_whole(chosen, bits, tmp_path):
    exported = export(chosen, tmp_path / "set", to="ncfm", bits=bits)
    found = ncfm.load(exported.path)
    assert (exported.num_images, exported.stored, exported.bits) == (chosen.num_classes * 2, True, bits)
    assert exported.soft_labels == (chosen.soft_labels is not None)
    wanted = chosen.images if bits == 32 else to_uint8(chosen.images).float() / 255
    assert torch.equal(found.images, wanted)
    for name in ("class_names", "statistics", "factor", "mode", "facts"):
        assert getattr(found, name) == getattr(chosen, name)


@pytest.mark.parametrize(("to", "bits", "dtype"), [("npz", 32, np.float32), ("npz", 8, np.uint8)])
def test_npz_has_as_many_bits_as_asked_for(to, bits, dtype, tmp_path):
    chosen = SETS["grey"]
    with np.load(export(chosen, tmp_path / "set.npz", to=to, bits=bits).path) as file:
        images = file["images"]
    assert images.dtype == dtype
    assert images.shape == (6, 8, 8)
    if bits == 32:
        assert torch.equal(torch.from_numpy(images), chosen.decoded().images[:, 0])


def test_pt_with_8_bits(tmp_path):
    found = torch.load(export(SETS["grey"], tmp_path / "set.pt", to="pt", bits=8).path, weights_only=True)
    assert_found(SETS["grey"], found["images"], found["labels"])


@pytest.mark.parametrize("to", ["png", "parquet", "npz", "pt", "hf"])
def test_stored_mosaics_without_the_labels_of_their_tiles(to, tmp_path):
    chosen = SETS["RGB mosaics with soft labels"]
    done = export(chosen, tmp_path / f"set{FORMATS[to].suffix}", to=to, stored=True)
    assert (done.num_images, done.stored, done.soft_labels) == (6, True, False)
    found = read_external(done.path, real_of(chosen)).images
    assert torch.equal(to_uint8(found.images), to_uint8(chosen.images.flatten(0, 1)))
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_stored_images_that_are_no_mosaics_keep_their_soft_labels(tmp_path):
    chosen = made(soft=True)
    one, other = (export(chosen, tmp_path / f"{s}.npz", to="npz", stored=s) for s in (False, True))
    assert one.soft_labels
    assert other.soft_labels
    assert one.path.read_bytes() == other.path.read_bytes()


@pytest.mark.parametrize("to", FORMATS)
def test_the_same_export_twice_is_the_same_bytes(to, tmp_path):
    names = [tmp_path / f"{i}{FORMATS[to].suffix}" for i in range(2)]
    first, second = (export(SETS["RGB mosaics with soft labels"], name, to=to).path for name in names)
    assert (contents(first) or first.read_bytes()) == (contents(second) or second.read_bytes())


# --- names --------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(st.text(max_size=30) | st.sampled_from([*HOSTILE, *SPLITS]), min_size=1, max_size=12))
def test_folders_of_any_class_names_are_plain_sorted_and_apart(names):
    folders = folder_names(names)
    assert list(folders) == sorted(folders)
    assert len({folder.casefold() for folder in folders}) == len(names)
    for i, folder in enumerate(folders):
        assert folder[: len(str(i))].isdigit()
        assert not set(folder) & set('/\\:*?"<>|.\0\n\r\t ')
        assert len(folder.encode()) <= NAME_BYTES + 3
        assert not folder.endswith(("-", "_"))


def test_folders_of_hostile_class_names_by_hand():
    named = dict(zip(HOSTILE, folder_names(HOSTILE), strict=True))
    assert named["../x"] == "00_x"
    assert named["a/b"] == "01_a-b"
    assert named[""] == "02"
    assert named["con"] == "03_con"
    assert named["Käfer 🐞"] == "04_Käfer"
    assert named["x" * 500] == "07_" + "x" * 60
    assert named["test"] == "08"
    assert named["drop-Train_2"] == "09"  # as a path, a split of the datasets library
    assert named[".."] == "10"
    assert named["a\x00b\n|`<b>"] == "11_a-b-b"
    assert folder_names(["a", "b"]) == ("0_a", "1_b")
    assert [folder_names([name])[0] for name in SPLITS] == ["0"] * len(SPLITS)


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["a", "b", "a (2)", "a (3)", ""]), max_size=8))
def test_names_are_unique_names_and_the_first_of_each_stays(names):
    apart = unique_names(names)
    assert len(set(apart)) == len(names)
    for i, (name, own) in enumerate(zip(names, apart, strict=True)):
        assert own == name if name not in names[:i] else own.startswith(f"{name} (")


@pytest.mark.parametrize("to", FORMATS)
def test_nothing_is_written_outside(to, tmp_path):
    place = tmp_path / "in" / f"set{FORMATS[to].suffix}"
    export(SETS["grey mosaics of hostile names"], place, to=to)
    top = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert all(p == "in" or p.startswith(f"in/{place.name}") for p in top)
    assert [p.name for p in (tmp_path / "in").iterdir()] == [place.name]  # nothing temporary is left


def test_half_a_surrogate_in_a_class_name(tmp_path):
    # JSON can bring one in; UTF-8 has no bytes for it.
    chosen = made(names=("a\ud800", "b", "c"))
    for to in ("hf", "png", "npz", "parquet"):
        export(chosen, tmp_path / f"{to}{FORMATS[to].suffix}", to=to)
    assert json.loads((tmp_path / "png" / "classes.json").read_text())["class_names"] == ["a?", "b", "c"]


# --- places -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_there_is_replaced_by_force_alone(to, tmp_path):
    place = tmp_path / f"set{FORMATS[to].suffix}"
    export(SETS["grey"], place, to=to)
    before = contents(place) or place.read_bytes()
    with pytest.raises(NcfmError, match=r"exists already; .* replace it with --force"):
        export(made(3), place, to=to)
    assert (contents(place) or place.read_bytes()) == before
    export(made(3), place, to=to, force=True)
    export(made(3), tmp_path / f"fresh{FORMATS[to].suffix}", to=to)
    fresh = tmp_path / f"fresh{FORMATS[to].suffix}"
    assert (contents(place) or place.read_bytes()) == (contents(fresh) or fresh.read_bytes()) != before
    assert sorted(tmp_path.iterdir()) == sorted([place, fresh])


@pytest.mark.parametrize("index", [None, '{"format": "another"}', "[1]"])
def test_a_folder_of_somebody_else_is_never_replaced(index, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"a")
    if index is not None:
        (tmp_path / "photos" / "classes.json").write_text(index)
    before = contents(tmp_path)
    with pytest.raises(NcfmError, match="not an ncfm export"):
        export(SETS["grey"], tmp_path / "photos", to="png", force=True)
    assert contents(tmp_path) == before


def test_an_empty_folder_will_do(tmp_path):
    (tmp_path / "png").mkdir()
    assert export(SETS["grey"], tmp_path / "png", to="png").num_images == 6
    assert len(list((tmp_path / "png").glob("*/*.png"))) == 6


@pytest.mark.parametrize("force", [False, True])
def test_a_file_in_place_of_a_folder_and_the_other_way_round(force, tmp_path):
    (tmp_path / "file").write_text("a")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "folder.npz" / "b").write_text("b")
    with pytest.raises(NcfmError, match="is a file; choose another"):
        export(SETS["grey"], tmp_path / "file", to="png", force=force)
    with pytest.raises(NcfmError, match="is a folder; choose another"):
        export(SETS["grey"], tmp_path / "folder.npz", to="npz", force=force)
    assert (tmp_path / "file").read_text() == "a"


@pytest.mark.parametrize("to", ["png", "npz"])
def test_an_export_that_fails_leaves_what_was_there(to, tmp_path, monkeypatch):
    place = tmp_path / f"set{FORMATS[to].suffix}"
    export(SETS["grey"], place, to=to)
    before = contents(tmp_path)

    def fails(content, path):
        (path / "half" if path.is_dir() else path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setitem(formats.FORMATS, to, FORMATS[to]._replace(write=fails))
    with pytest.raises(RunError, match=r"no space left.*What was there before is unchanged"):
        export(made(3), place, to=to, force=True)
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == [place.name]


def test_a_folder_that_cannot_be_renamed_comes_back(tmp_path):
    _files.write_folder(tmp_path / "a", lambda p: (p / "old").write_text("old") and None)

    def fill(folder):
        folder.rmdir()  # so that there is nothing to rename

    with pytest.raises(RunError, match="Could not write"):
        _files.write_folder(tmp_path / "a", fill)
    assert contents(tmp_path) == {"a/old": b"old"}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "pngs"}, r"Unknown format 'pngs'\. Did you mean 'png'\?"),
        ({"to": "npz"}, r"a file ending in \.npz for npz, got .*set"),
        ({"to": "png", "bits": 32}, "bits of a pixel must be 8, got 32"),
        ({"to": "ncfm", "bits": 16}, "must be 32 or 8, got 16"),
        ({"to": "ddranking", "stored": True}, "supports decoded images only; leave out stored"),
    ],
)
def test_what_a_format_does_not_have_is_reported(options, message, tmp_path):
    with pytest.raises(NcfmError, match=message):
        export(SETS["grey"], tmp_path / "set", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["png", "parquet", "hf"])
def test_png_has_one_channel_or_three(to, tmp_path):
    with pytest.raises(NcfmError, match="the set has 2 channels; choose ncfm, npz or pt"):
        export(made(2), tmp_path / f"set{FORMATS[to].suffix}", to=to)
    assert list(tmp_path.iterdir()) == []
    assert export(made(2), tmp_path / "set.npz", to="npz").num_images == 6


# --- the card -----------------------------------------------------------------------------------------------


def card_of(chosen, **options):
    text = dataset_card(Content.of(chosen, stored=False, bits=8, **options))
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


SCORE = {"accuracy_mean": 0.663, "accuracy_std": 0.002, "accuracy_low": 0.658, "accuracy_high": 0.668}
SCORE |= {"accuracies": [0.661, 0.663, 0.665], "network": "convnet", "protocol": "quick@epochs=300"}


def test_a_card_has_provenance_and_evaluations():
    facts = {
        "data": "cifar10",
        "method": "ncfm",
        "variant": "gaussian",
        "config": {"seed": 3, "distill": {"iterations": 7}},
        "command": shlex.join(["ncfm", "distill", "cifar10", "--ipc", "2"]),
        "code": "0123456789ab",
        "data_fingerprint": "f00",
    }
    other = SCORE | {"data": "/home/me/letters", "accuracy_low": None, "accuracy_high": None, "accuracies": [0.663]}
    front, body = card_of(made(3, factor=2, soft=True, facts=facts, scores=(SCORE, other)))
    assert front == {
        "pretty_name": "cifar10, distilled",
        "license": "unknown",
        "task_categories": ["image-classification"],
        "tags": ["dataset-distillation", "synthetic", "ncfm"],
        "size_categories": ["n<1K"],
        "source_datasets": ["uoft-cs/cifar10"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
    }
    for line in (
        "24 synthetic training images of 3 classes",
        "| classes | zebra, ant, maßstab |",
        "| method | ncfm gaussian |",
        "| images | 2 stored per class, 8 px, RGB |",
        "| decoding | single, factor 2: 8 per class for training |",
        "| seed | 3 |",
        "| command | ncfm distill cifar10 --ipc 2 |",
        "| commit of ncfm | 0123456789ab |",
        "| fingerprint of the training split | f00 |",
        "| cifar10 | convnet | quick\\@epochs=300 | 66.3 ± 0.2 | 65.8 to 66.8 | 3 |",
        "| letters | convnet | quick\\@epochs=300 | 66.3 | - | 1 |",
        '"iterations": 7',
        "Its authors name no licence",
        "`probabilities` are the soft labels",
        'load_dataset(".", split="train")',
        "Wang et al.",
    ):
        assert line in body
    assert "/home/me" not in body


def test_a_card_without_facts_names_what_is_not_known():
    front, body = card_of(made(), repository="me/set")
    assert front["license"] == "unknown"
    assert "source_datasets" not in front
    assert "Not evaluated yet" in body
    assert "the terms of the source data apply" in body
    assert 'load_dataset("me/set", split="train")' in body
    assert "Wang et al." not in body  # the method is not recorded


def test_known_licences():
    assert card_of(made(facts={"data": "fashion-mnist"}))[0]["license"] == "mit"
    assert card_of(made(facts={"data": "digits"}))[0]["license"] == "cc-by-4.0"
    front, body = card_of(made(facts={"data": "imagewoof"}))
    assert front["source_datasets"] == ["ILSVRC/imagenet-1k"]
    assert "non-commercial research" in body


def test_nothing_of_the_user_s_is_read_as_markdown_html_or_yaml():
    evil = 'x": !!python:object\n---\n# Title <script>alert(1)<\\script> | `a` [b](http:c) \x07\x85'
    facts = {"data": evil, "variant": evil, "command": evil, "config": {"a": "```\n# b\n````"}}
    front, body = card_of(made(names=(evil, "<img src=x>", "a|b"), facts=facts))
    assert front["pretty_name"].startswith('x": !!python:object\n---\n# Title <script>')
    assert front["pretty_name"].endswith("\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}, distilled")
    assert "<script>" not in body.replace("\\<", "").replace("\\>", "")
    assert "<img" not in body.replace("\\<", "")
    table = [line for line in body.splitlines() if line.startswith("| ") and "---" not in line[:6]]
    assert all(line.replace("\\|", "").count("|") == 3 for line in table)
    assert [line for line in body.splitlines() if line.startswith("# ")] == [f"# {escape(evil)}, distilled"]
    assert "`````json" in body  # longer than the fence within


@settings(max_examples=50)
@given(st.text(max_size=50))
def test_escaped_text_stays_on_one_line_of_printable_characters(text):
    found = escape(text)
    assert found.isprintable()
    assert (
        found.replace("\\", "").split()
        == "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
        .replace("\\", "")
        .split()
    )


def test_the_hub_s_library_takes_the_card(tmp_path):
    from huggingface_hub import DatasetCard

    export(made(3, facts={"data": "cifar10"}), tmp_path / "hf", to="hf")
    data = DatasetCard.load(tmp_path / "hf" / "README.md").data
    assert data.task_categories == ["image-classification"]
    assert data.license == "unknown"


# --- the hub ------------------------------------------------------------------------------------------------


class FakeHub:
    """Notes what it is asked for."""

    def __init__(self, error=None):
        self.asked, self.error = [], error

    def create_repo(self, repo_id, **options):
        if self.error is not None:
            raise self.error
        self.asked.append(("create", repo_id, options))

    def upload_folder(self, **options):
        self.asked.append(("upload", options.pop("repo_id"), options))


def test_a_folder_is_sent_to_a_private_repository(tmp_path):
    fake = FakeHub()
    assert hub.push(tmp_path, "me/set", fake) == "https://huggingface.co/datasets/me/set"
    create, upload = fake.asked
    assert create == ("create", "me/set", {"repo_type": "dataset", "private": True, "exist_ok": True})
    assert upload[:2] == ("upload", "me/set")
    assert upload[2]["folder_path"] == str(tmp_path)
    assert upload[2]["repo_type"] == "dataset"


def test_what_the_hub_refuses_is_reported(tmp_path):
    with pytest.raises(RunError, match=r"rejected me/set: no right to write\. The export itself is in"):
        hub.push(tmp_path, "me/set", FakeHub(RuntimeError("no right to write")))


@pytest.mark.parametrize("name", ["set", "me/", "/set", "me/set/x", "me/../set", "me/s t", "../set"])
def test_names_that_the_hub_does_not_have(name, tmp_path):
    fake = FakeHub()
    with pytest.raises(NcfmError, match="Expected owner/name"):
        hub.push(tmp_path, name, fake)
    assert fake.asked == []


def test_no_token_is_reported(monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(NcfmError, match="token with write access: set HF_TOKEN"):
        hub.hub_api()


def test_the_packages_own_folder_has_a_card_and_a_picture(tmp_path):
    entry = {"accuracy_mean": 0.5, "accuracy_std": 0.01, "network": "convnet", "protocol": "quick"}
    chosen = made(scores=(entry | {"accuracies": [0.5]},))
    place = export(chosen, tmp_path / "own", to="ncfm", bits=8).path
    card = (place / "README.md").read_text()
    assert 'ncfm.load(".")' in card
    assert "8 bits per value" in card
    assert "| quick | 50.0 | - | 1 |" in card  # of one student
    with Image.open(place / "images.png") as picture:
        assert picture.size[0] >= chosen.ipc * chosen.images.shape[-1]


def test_a_set_is_uploaded_with_what_loads_it(monkeypatch):
    # The upload of `push_to_hub`, kept: what `ncfm.load("hf:...")` and `load_dataset` read, and a card that says so.
    kept = {}

    class Hub(FakeHub):
        def upload_folder(self, *, folder_path, **options):
            super().upload_folder(**options)
            kept.update({str(p.relative_to(folder_path)): p.read_bytes() for p in Path(folder_path).rglob("*.*")})

    api = Hub()
    monkeypatch.setattr(hub, "hub_api", lambda: api)
    assert ncfm.push_to_hub(made(), "me/set", private=False) == "https://huggingface.co/datasets/me/set"
    assert api.asked[0] == ("create", "me/set", {"repo_type": "dataset", "private": False, "exist_ok": True})
    assert {"README.md", "data/train-00000-of-00001.parquet", "synthetic/set.json"} <= set(kept)
    assert b'`ncfm.load("hf:me/set")`' in kept["README.md"]
    assert b'load_dataset("me/set", split="train")' in kept["README.md"]


def test_an_8_bit_set_is_uploaded_with_8_bits(tmp_path):
    exact = made()
    rounded = dataclasses.replace(exact, images=to_float(to_uint8(exact.images)))
    for name, chosen, bits in (("exact", exact, 32), ("rounded", rounded, 8)):
        place = export(chosen, tmp_path / name, to="hf").path
        assert json.loads((place / "synthetic" / "set.json").read_text())["bits"] == bits
        assert torch.equal(ncfm.load(place).images, chosen.images)
