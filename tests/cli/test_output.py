"""What the commands print: tables in terminals of any width, and lines that can be copied."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ncfm.cli import _output
from ncfm.cli._comparison import HEADINGS
from ncfm.cli._output import NAMES, parts, say, show, table


def comparison():
    made = table("method", *HEADINGS, title="digits, 1 image per class", caption="Same recipe for all.", fold=True)
    for name in ("ncfm (gaussian)", "random"):
        made.add_row(name, "75.0 ± 2.0", "56.8 to 93.2", "1", "3", "0.127", "30")
    return made


def printed(monkeypatch, width, print_it):
    screen = io.StringIO()
    monkeypatch.setattr(_output, "console", Console(file=screen, width=width, force_terminal=False))
    print_it()
    return [line.rstrip() for line in screen.getvalue().splitlines()]


@pytest.mark.parametrize("width", [30, 40, 60, 72, 80, 100])
def test_a_table_shows_every_name_and_every_cell_at_any_width(monkeypatch, width):
    lines = printed(monkeypatch, width, lambda: show(comparison()))
    text = " ".join(" ".join(lines).split())
    assert all(len(line) <= width for line in lines)
    assert text.count("75.0 ± 2.0") == text.count("56.8 to 93.2") == text.count("0.127") == 2
    assert text.count("random") == text.count("method") == len(parts(comparison(), width))
    assert text.count("digits, 1 image per class") == text.count("Same recipe for all.") == 1
    assert "…" not in text


def test_a_wide_table_is_not_split():
    made = comparison()
    assert parts(made, 80) == [made]
    assert [[column.header for column in part.columns] for part in parts(made, 60)] == [
        ["method", *HEADINGS[:4]],
        ["method", *HEADINGS[4:]],
    ]


def test_columns_under_one_heading_stay_together():
    made = table("class", "NCFD\npsi", "\nfixed", "amp. %\npsi", "\nfixed", "last")
    made.add_row("dog", *["0.1234567"] * 5)
    for width in range(20, 70):
        found = parts(made, width)
        assert not any(str(part.columns[1].header).startswith("\n") for part in found)
        assert sum(len(part.columns) - 1 for part in found) == 5


def test_a_long_name_gives_way_before_a_column_does():
    made = table("name", "value", fold=True)
    made.add_row("a name of very many characters, more than a terminal has " * 3, "1.0")
    assert parts(made, NAMES + 12) == [made]


def test_parts_keep_the_style_of_rows_and_names_with_markup():
    made = table("stage", "one\nof two lines", "two", "three")
    made.add_row("total\\[x]", "1" * 20, "2" * 20, "3" * 20, style="bold", end_section=True)
    found = parts(made, 50)
    assert [len(part.columns) for part in found] == [2, 2, 2]
    assert [(row.style, row.end_section) for part in found for row in part.rows] == [("bold", True)] * 3
    assert [list(part.columns[0].cells) for part in found] == [["total\\[x]"]] * 3


def test_a_path_stays_on_its_line(monkeypatch):
    path = "runs/a-name-that-is-longer-than-the-terminal/images.png"
    assert printed(monkeypatch, 30, lambda: say(f"Images: {path}", wrap=False)) == [f"Images: {path}"]
