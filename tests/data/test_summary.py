"""The card of a data set: counts by hand, duplicates, leaks, and what the command shows."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ncfm.cli.main import main
from ncfm.data import images_of, load_images
from ncfm.data.splitting import with_test_split
from ncfm.data.summary import count_summary, describe, sample_grid

CLASSES = ("cat", "dog")


def pictures(*numbers):
    return np.stack([np.full((4, 4, 3), n, dtype=np.uint8) for n in numbers])


def test_a_clean_set_by_hand():
    card = describe(images_of((pictures(0, 51, 102, 153), [0, 0, 1, 1]), (pictures(7, 8), [0, 1]), class_names=CLASSES))
    assert (card.num_classes, card.class_names) == (2, CLASSES)
    assert (card.train_counts, card.test_counts) == ((2, 2), (1, 1))
    assert (card.image_size, card.channels) == (4, 3)
    assert card.statistics.mean == pytest.approx((0.3,) * 3)
    assert (card.duplicates, card.conflicting, card.leaked) == (0, 0, 0)
    assert card.problems == ()


def test_duplicates_conflicts_and_leaks_are_counted():
    card = describe(
        images_of((pictures(1, 1, 2, 1, 3), [0, 0, 0, 1, 1]), (pictures(3, 4, 1), [0, 1, 1]), class_names=CLASSES)
    )
    assert (card.duplicates, card.conflicting, card.leaked) == (2, 1, 2)
    assert card.problems == (
        "train: 2 duplicate images, 1 of them with another label",
        "test: 2 images also in the training split",
    )


def test_unequal_and_empty_classes_are_reported():
    labels = [0] * 20 + [1] * 2
    card = describe(images_of((pictures(*range(22)), labels), (pictures(100), [0]), class_names=CLASSES))
    assert card.problems == (
        "train: unequal classes, 2 to 20 images; fewest: dog, cat",
        "test: 1 class without images",
    )


def test_the_grid_repeats_images_of_small_classes():
    images = images_of((pictures(10, 20, 30), [0, 0, 1]), class_names=CLASSES)
    grid = sample_grid(images, per_class=3)
    assert grid.shape == (2, 3, 3, 4, 4)
    torch.testing.assert_close(grid[:, :, 0, 0, 0] * 255, torch.tensor([[10.0, 20, 10], [30, 30, 30]]))


def test_counts_in_words():
    assert count_summary((5, 5)) == "5 each"
    assert count_summary((5, 9)) == "5 to 9 each"


@pytest.fixture
def folder(tmp_path):
    """Two classes, one with brackets in its name, one broken file in a hundred."""
    draw = np.random.default_rng(0)
    for name in ("a [bold]", "b"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(60):
            pixels = draw.integers(0, 256, (4, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{i}.png")
    (tmp_path / "mine" / "b" / "broken.png").write_bytes(b"no image")
    return tmp_path / "mine"


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["ncfm", "data", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code, capsys.readouterr()


def test_the_command_shows_a_card(monkeypatch, capsys, folder, tmp_path):
    code, told = command(monkeypatch, capsys, folder, "--picture", tmp_path / "grid.png")
    assert code == 0, told.err
    images = with_test_split(load_images(str(folder), max_unreadable=0.01), 0.2)
    assert len(images.train) + len(images.test) == 120
    for words in (
        "classes",
        f"{len(images.train)} ({count_summary(tuple(images.train.counts.tolist()))})",
        f"{len(images.test)} ({count_summary(tuple(images.test.counts.tolist()))})",
        "grey",
        "4 x 4 px",
        "a [bold], b",
        "broken.png",
        "no test split",
        "2 warnings",
    ):
        assert words in told.out, words
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.width > 100


def test_the_command_prints_json(monkeypatch, capsys, folder):
    code, told = command(monkeypatch, capsys, folder, "--json")
    assert code == 0
    card = json.loads(told.out)
    assert card["class_names"] == ["a [bold]", "b"]
    assert sum(card["train_counts"]) + sum(card["test_counts"]) == 120
    assert card["channels"] == 1


def test_too_many_broken_files_fail(monkeypatch, capsys, folder):
    code, told = command(monkeypatch, capsys, folder, "--set", "data.max_unreadable=0")
    assert code == 2
    assert "broken.png" in told.err
    assert "Traceback" not in told.err


def test_an_unknown_name_has_a_neighbour(monkeypatch, capsys):
    code, told = command(monkeypatch, capsys, "imagenete")
    assert code == 2
    assert "imagenette" in told.err
