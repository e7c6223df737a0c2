"""Tables to paste: any name is text in them."""

import re

import pytest

from ncfm._utils.checks import InputError
from ncfm.results.text_tables import LATEX, check_table, latex_table, markdown_table

HOSTILE = r"a_b & 50% $x$ #1 {y} ~z ^w \v ±1 <t> |u|"


def test_latex_keeps_every_character_as_text():
    (row,) = (line for line in latex_table("c", ["x", "y"], [[HOSTILE, "1"]]).splitlines() if "50" in line)
    cell = row.strip().removesuffix(r" & 1 \\")
    back = cell
    for character, written in sorted(LATEX.items(), key=lambda item: -len(item[1])):
        back = back.replace(written, f"\0{ord(character)};")
    assert re.sub("\0(\\d+);", lambda match: chr(int(match[1])), back) == HOSTILE
    assert not re.search(r"(?<!\\)[&%#_]", cell)


def test_markdown_keeps_its_columns():
    lines = markdown_table("c", ["x", "y"], [[HOSTILE, "1"]]).splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:]}) == 1
    assert r"\<t\> \|u\|" in lines[-1]


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match=r"Unknown form of a table 'Latex'\. Did you mean 'latex'"):
        check_table("Latex")
