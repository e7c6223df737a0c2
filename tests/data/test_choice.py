"""Which name is which split, by its words or by choice."""

from __future__ import annotations

import pytest

from ncfm._utils.checks import InputError
from ncfm.data.choice import Choice, assign_splits

NAMES = ["train-00000-of-00001.parquet", "validation.parquet", "test.parquet", "extra.parquet", "notes.parquet"]


def assigned(names=NAMES, **choice):
    found = assign_splits(names, Choice(**choice), "here")
    return {split: [n.split(".")[0] for n in group] for split, group in found.splits.items()}, found.unread


def test_without_a_choice_words_decide():
    splits, unread = assigned()
    assert splits == {"train": ["train-00000-of-00001"], "validation": ["validation"], "test": ["test"]}
    assert unread == ["extra.parquet", "notes.parquet"]


@pytest.mark.parametrize("name", ["extra", "extra.parquet", "unsupervised"])
def test_a_choice_takes_the_place_of_a_split(name):
    splits, unread = assigned(train_split=name)
    assert splits == {"train": ["extra"], "validation": ["validation"], "test": ["test"]}
    assert unread == ["train-00000-of-00001.parquet", "notes.parquet"]


@pytest.mark.parametrize("name", ["validation", "val", "dev", "Val"])
def test_one_test_split_is_read_if_it_is_chosen(name):
    splits, unread = assigned(test_split=name)
    assert splits == {"train": ["train-00000-of-00001"], "test": ["validation"]}
    assert unread == ["test.parquet", "extra.parquet", "notes.parquet"]


def test_a_name_goes_before_its_words():
    names = ["train_a", "train_b", "train"]
    assert assigned(names, train_split="train")[0] == {"train": ["train"]}
    assert assigned(names, train_split="train_b")[0] == {"train": ["train_b"]}
    assert assigned(names[:2], train_split="training")[0] == {"train": ["train_a", "train_b"]}


def test_part_of_a_name_is_no_choice():
    with pytest.raises(InputError, match="here: no split 'note' for --train-split; found "):
        assigned(train_split="note")


def test_a_split_of_one_name():
    found = assign_splits(["a_train", "b_train"], Choice(), "here")
    with pytest.raises(InputError, match=r"a_train, b_train are all of the train split; .*\(--train-split a_train\)"):
        found.single("here")
    assert assign_splits(["train", "test"], Choice(), "here").single("here") == {"train": "train", "test": "test"}
