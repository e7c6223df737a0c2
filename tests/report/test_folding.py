"""What of a report is open at first, and what is folded behind a line that says what it is."""

from __future__ import annotations

from ncfm._utils.files import write_json
from ncfm.report.folding import CHARTS, CLASSES, MAX_NAMES, NOTHING, TABLE_ROWS, fold
from ncfm.synthetic.folders import SCORES_FILE
from ncfm.synthetic.storage import save
from pages import page_of, score
from sets import synthetic

# --- folds ------------------------------------------------------------------------------------------------


def test_the_rest_is_counted_and_named():
    found = fold(["cat", "dog", "frog", "ship"], 2, "class", str)
    assert found == (["cat", "dog"], ["frog", "ship"], "2 more classes: frog, ship")
    assert fold(["cat", "dog"], 0, "class", str).summary == "2 classes: cat, dog"
    assert fold(["cat", "dog"], 1, "chart of classes", str.upper).summary == "1 more chart of classes: DOG"


def test_few_items_are_not_folded():
    assert fold(["cat"], 2, "class", str) == (["cat"], [], "")
    assert [bool(found) for found in (fold(["cat"], 2, "class", str), fold([], 2, "class", str), NOTHING)] == [
        True,
        False,
        False,
    ]


def test_a_line_names_as_many_as_it_has_room_for():
    names = [f"class {i}" for i in range(100)]
    line = fold(names, 4, "class", str).summary
    assert line.startswith("96 more classes: class 4, class 5, ")
    assert line.endswith(", …")
    assert len(line) <= MAX_NAMES + len("96 more classes: , …")
    long = "a" * (MAX_NAMES + 1)
    assert fold([long, "b"], 0, "class", str).summary == f"2 classes: {long}, …"


# --- a page -----------------------------------------------------------------------------------------------


def test_the_first_classes_are_open_with_their_images(run):
    seen = page_of(run)
    of_classes = [f"Synthetic image of {c}, 1 of 1" for c in range(10)]
    assert seen.alts("Synthetic image of") == of_classes[:CLASSES]
    assert seen.alts("Synthetic image of", folded=True) == of_classes[CLASSES:]
    assert "6 more classes: 4, 5, 6, 7, 8, 9" in seen.summaries
    assert len(seen.alts("First image of")) == 10  # the snapshots are open: they stand next to the animation


def test_the_first_charts_of_a_section_are_open(run):
    seen = page_of(run)
    open_, closed = seen.charts(), seen.charts(folded=True)
    assert [title for title in open_ if title.startswith(("Accuracy", "Confusion"))] == open_[:1] + open_[-2:]
    assert open_[0].startswith("Accuracy of this set")
    assert [title.partition(".")[0] for title in open_[1 : 1 + CHARTS]] == ["Training loss", "Discrepancy"]
    assert len(open_) == 3 + 2 * CHARTS
    assert len(closed) == 5
    assert "2 more charts: Amplitude and phase, Calibration" in seen.summaries
    said = "3 more charts: Excess over sampling noise, Modulus of the real data, Share of the amplitude"
    assert said in seen.summaries


def test_long_tables_are_folded_and_short_ones_open(run):
    write_json(run / SCORES_FILE, [score(0.61) | {"protocol": f"quick@epochs={i}"} for i in range(TABLE_ROWS)])
    text = "Evaluations of this set"
    assert not [line for line in page_of(run).summaries if line.startswith(text)]
    write_json(run / SCORES_FILE, [score(0.61) | {"protocol": f"quick@epochs={i}"} for i in range(TABLE_ROWS + 1)])
    seen = page_of(run)
    assert f"{text}: {TABLE_ROWS + 1} rows" in seen.summaries
    assert "Most frequent confusions: 10 rows" in seen.summaries


def test_everything_that_is_folded_is_closed_and_named(run):
    seen = page_of(run)
    details = seen.all("details")
    assert len(details) == len(seen.summaries)
    assert not [attrs for attrs in details if "open" in attrs]
    assert all(line.strip() for line in seen.summaries)
    assert "Code, device, seed, hash of the images, hash of the real data, versions" in seen.summaries
    assert "All settings; changes from the defaults are marked" in seen.summaries


def test_a_set_of_few_classes_is_open_as_a_whole(tmp_path):
    seen = page_of(save(synthetic(), tmp_path / "set"))
    assert len(seen.alts("Synthetic image of")) == 6
    assert not [line for line in seen.summaries if "more" in line]
