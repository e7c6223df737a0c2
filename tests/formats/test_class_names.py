"""Classes are matched by name; by number where there are no names, and then it is said."""

import time

import pytest
import torch

from ncfm._utils.checks import InputError
from ncfm.formats.class_names import match_labels, match_names
from ncfm.formats.names import folder_names
from sets import real_images

WORDS = ("airplane", "automobile", "bird")
TEXT_ORDER = ("0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9")  # of the folders 0 to 10


def matched(names, real_names):
    found = match_names(names, real_images(real_names), "set")
    return found.at.tolist(), found.note


def by_label(labels, real_names):
    found = match_labels(torch.tensor(labels), real_images(real_names), "set")
    return found.at[torch.tensor(labels)].tolist(), found.note


# --- names --------------------------------------------------------------------------------------------------


def test_names_in_the_same_order_need_no_note():
    assert matched(WORDS, WORDS) == ([0, 1, 2], "")
    assert matched(WORDS[1:], WORDS) == ([1, 2], "")
    assert matched(folder_names(WORDS), WORDS) == ([0, 1, 2], "")


def test_names_in_another_order_are_matched_by_name_and_it_is_said():
    note = "set: its classes are in another order than those of real; they are matched by name."
    assert matched(("bird", "airplane", "automobile"), WORDS) == ([2, 0, 1], note)
    numbers = [str(i) for i in range(11)]
    at, note = matched(TEXT_ORDER, numbers)
    assert [numbers[i] for i in at] == list(TEXT_ORDER)
    assert "matched by name" in note


def test_equal_names_are_matched_in_their_order():
    assert matched(("crane", "dog", "crane"), ("crane", "dog", "crane")) == ([0, 1, 2], "")


def test_names_for_thousands_of_classes_are_matched_in_time():
    count, began = 20_000, time.process_time()
    for names in (["crane"] * count, [f"class {i}" for i in range(count)], [str(i) for i in range(count)]):
        at, _ = matched(names, names)
        assert at == list(range(count))
    with pytest.raises(InputError, match=r"missing from real: q0, q1, q2, q3, q4 and 19,995 more\. Known: ant, bee;"):
        matched([f"q{i}" for i in range(count)], ("ant", "bee"))
    assert time.process_time() - began < 10


def test_very_long_names_are_cut_in_messages():
    with pytest.raises(InputError) as told:
        matched(["a" * 10_000], WORDS)
    assert len(str(told.value)) < 500


@pytest.mark.parametrize("form", ["{}", "{:05d}", "new{:03d}", "class_{}"])
def test_numbers_are_positions_among_words(form):
    at, note = matched([form.format(i) for i in (0, 1, 2)], WORDS)
    assert at == [0, 1, 2]
    first = form.format(0)
    assert note.startswith(f"set: the numbers of its classes are taken as positions in the order of real: {first} is ")
    assert f"{first} is airplane, {form.format(1)} is automobile" in note


def test_numbers_are_not_sorted_as_text():
    words = [f"word{chr(97 + i)}" for i in range(11)]
    at, _ = matched(TEXT_ORDER, words)
    assert at == [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]


def test_numbers_with_zeros_are_the_same_numbers():
    at, note = matched([f"{i:05d}" for i in range(11)], TEXT_ORDER)
    assert [int(TEXT_ORDER[i]) for i in at] == list(range(11))
    assert "matched with the numbers of real: 00000 is 0, 00001 is 1, 00002 is 2, ..." in note


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("airplane", "frog"),
            r"set has classes that are missing from real: frog\. Known: airplane, automobile, bird;",
        ),
        (("0", "3"), "missing from real: 3"),
        (("1", "01"), "missing from real: 1, 01"),
        (("0", "airplane"), r"missing from real: 0\."),
    ],
)
def test_other_classes_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        matched(names, WORDS)


# --- labels without names -----------------------------------------------------------------------------------


def test_labels_are_positions_among_words():
    assert by_label([2, 0], WORDS) == ([2, 0], "")
    assert by_label([2, 0], ("0", "1", "2")) == ([2, 0], "")


def test_labels_are_names_where_text_has_another_order():
    at, note = by_label([0, 1, 2, 10], TEXT_ORDER)
    assert [TEXT_ORDER[i] for i in at] == ["0", "1", "2", "10"]
    assert note == "set: labels are the names of classes, not positions: label 2 is class 2."


def test_labels_from_1_are_names_if_they_cannot_be_positions():
    at, note = by_label([1, 2, 3], ("1", "2", "3"))
    assert at == [0, 1, 2]
    assert "label 1 is the first" in note
    at, note = by_label([0, 1, 2], ("1", "2", "3"))
    assert at == [0, 1, 2]
    assert note == "set: labels are positions: label 0 is class '1'."


def test_labels_that_may_be_names_or_positions_are_refused():
    with pytest.raises(InputError, match=r"may be names or positions .* called 1, 10, 2, .*names of equal length"):
        by_label([0, 1], ("1", "10", "2"))


def test_labels_out_of_range_are_refused():
    for names in (WORDS, TEXT_ORDER):
        with pytest.raises(InputError, match=r"must lie in 0\.\."):
            by_label([0, 11], names)
