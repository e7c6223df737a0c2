"""A search in pieces: the next command goes on where the last one ended, and all readers have their share."""

import pytest
from benchmarks.choices import Choices, some_array, some_items, some_labels
from benchmarks.fuzz_pieces import Counts, counts_so_far, play_pieces


def played():
    """A player of pieces, and what it was asked for."""
    asked = []

    def play(reader, inputs, number):
        asked.append((reader, inputs, number))
        return Counts(inputs, inputs - 1, 1, 0.1 * inputs, [f"{reader} {number}"])

    return asked, play


def test_a_search_goes_on_and_ends_with_its_share(tmp_path):
    asked, play = played()
    play_pieces(tmp_path, ["a", "b"], 5, 3, 0.0, play)  # no time
    assert asked == []
    total = play_pieces(tmp_path, ["a", "b"], 5, 3, 1.0, play)
    assert asked == [("a", 3, 0), ("b", 3, 0), ("a", 2, 1), ("b", 2, 1)]
    assert total["a"] == Counts(5, 3, 2, pytest.approx(0.3), ["a 0", "a 1"])
    again, play = played()
    assert play_pieces(tmp_path, ["a", "b"], 5, 3, 1.0, play) == total
    assert again == []
    play_pieces(tmp_path, ["a", "c"], 6, 3, 1.0, play)
    assert again == [("c", 3, 0), ("c", 3, 1), ("a", 1, 2)]
    assert [counts.inputs for counts in counts_so_far(tmp_path)["a"]] == [3, 2, 1]


def test_an_input_is_counted_as_it_is_told():
    counts = Counts()
    for line in ("read 0.250 ", "refused 0.500 ", "finding 0.125 ValueError: no (x.py:3) [00ff]"):
        counts.note(line)
    assert counts == Counts(3, 1, 1, 0.5, ["ValueError: no (x.py:3) [00ff]"])


def test_no_bytes_are_the_plainest_choices():
    c = Choices(b"")
    assert some_array(c).shape == (6, 8, 8, 3)
    assert some_labels(c) == [0, 1, 2, 0, 1, 2]
    assert [label for _, label in some_items(c)] == [0] * 6


def test_a_byte_changes_one_choice():
    assert some_array(Choices(bytes([2]))).shape == (6, 8, 8)
    assert float(some_array(Choices(bytes([0, 4]))).max()) == 255
