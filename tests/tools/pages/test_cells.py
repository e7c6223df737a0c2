"""Words of the tables: rows of earlier versions in the terms of today."""

from __future__ import annotations

from tools.pages.cells import label


def test_words_of_earlier_rows_are_shown_in_todays_terms():
    shown = [label(words) for words in ("foreign npz, guided", "film", "dsdm (a memory), bfloat16", "kill -9")]
    assert shown == ["external npz, guided", "snapshots", "dsdm (stateful), bfloat16", "kill -9"]
