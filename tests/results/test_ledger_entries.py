"""Entries of a ledger."""

import json

import pytest

from ncfm import InputError
from ncfm.results.ledger_entries import LedgerEntry, read_entries


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images_best.pt").touch()
    (tmp_path / "labels_best.pt").touch()
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "set.json").write_text(json.dumps({}))
    return tmp_path


def write(folder, text, name="ledger.toml"):
    (folder / name).write_text(text)
    return folder / name


def test_a_set_needs_two_lines_and_an_own_one_none(folder):
    write(folder, '["images_best.pt"]\non = "cifar10"\n')
    entries, others = read_entries(folder)
    assert entries == [LedgerEntry(folder / "images_best.pt", on="cifar10"), LedgerEntry(folder / "ours")]
    assert [entry.is_own for entry in entries] == [False, True]
    assert others == ["labels_best.pt"]


def test_entries_may_lie_elsewhere_and_name_sets_that_are_not_there(folder, tmp_path_factory):
    file = write(
        tmp_path_factory.mktemp("entries"), '["ours"]\npublished = 71.8\n["other.pt"]\non = "digits"\n', "e.toml"
    )
    entries, others = read_entries(folder, file)
    assert entries == [LedgerEntry(folder / "ours", published=71.8)]
    assert others == ["images_best.pt", "labels_best.pt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["images_best.pt"]\nnormalised = "cifar10"\n', r"Unknown key of images_best.pt 'normalised'. Did you mean"),
        ('on = "cifar10"\n', "expected a table per set"),
        ("[[", "Could not read the entries"),
    ],
)
def test_wrong_entries_are_refused(folder, text, message):
    write(folder, text)
    with pytest.raises(InputError, match=message):
        read_entries(folder)


def test_a_folder_without_known_sets_tells_how_to_add_one(tmp_path):
    (tmp_path / "images_best.pt").touch()
    with pytest.raises(InputError, match="a set needs two lines"):
        read_entries(tmp_path)
    with pytest.raises(InputError, match="but there is none"):
        read_entries(tmp_path / "missing")
