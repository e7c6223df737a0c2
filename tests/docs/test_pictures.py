"""The pictures of the pages: drawn in one style, readable on a telephone, from the committed rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from benchmarks.scaling import LABELS
from PIL import Image
from tools.gallery_pictures import ON_PAGES
from tools.report_pictures import PHONE, PICTURES, WIDE

import ncfm
from drawn import faults
from ncfm.results.figures import COLORS, DPI, WIDTH
from ncfm.synthetic.image_grid import image_grid
from tools import figures, row_figures

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [*sorted((DOCS / "explanation").glob("*.md")), DOCS / "how-to" / "discrepancy.md"]
FIGURES = sorted({name for page in PAGES for name in re.findall(r"\.\./images/([\w-]+\.png)", page.read_text())})


def test_every_figure_of_the_pages_has_the_width_of_the_style():
    assert len(FIGURES) == 16
    for name in FIGURES:
        with Image.open(DOCS / "images" / name) as picture:
            assert picture.width == round(WIDTH * DPI), f"{name} is not of `make figures`"
            assert picture.convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 255), name


def test_every_picture_of_the_report_is_taken_wide_and_of_a_telephone():
    page = (DOCS / "how-to" / "report.md").read_text()
    for picture in PICTURES:
        for width, scale, height, suffix in zip((WIDE, PHONE), (1, 2), picture.heights, ("", "-phone"), strict=True):
            if height:
                name = f"{picture.name}{suffix}.png"
                assert f"../images/{name}" in page
                with Image.open(DOCS / "images" / name) as taken:
                    assert taken.size == (width * scale, height * scale), f"{name}: run `make report-pictures`"


def test_mosaics_of_the_pages_are_those_of_the_gallery():
    for name in ON_PAGES:
        folder = DOCS.parent / "gallery" / name
        assert (DOCS / "images" / f"{name}.png").read_bytes() == (folder / "images.png").read_bytes()
        synthetic = ncfm.load(folder)
        with Image.open(folder / "images.png") as picture:
            assert picture.size == image_grid(synthetic.images, synthetic.class_names).size, "run `make figures`"


@pytest.fixture
def from_rows(saved_figures, tmp_path, monkeypatch):
    """The figures that are drawn from rows, by the names of their files."""
    monkeypatch.setattr("sys.argv", ["row_figures", str(tmp_path)])
    monkeypatch.setattr(row_figures, "CONTINUAL", {("digits", "10"): "continual10-digits.png"})
    row_figures.main()
    names = [*row_figures.COMPARED.values(), "continual10-digits.png", "search-cifar10.png", "scaling.png", "soak.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    return dict(zip(names, saved_figures, strict=True))


def test_figures_from_rows_are_readable_on_a_telephone(from_rows, monkeypatch):
    assert {name: found for name, figure in from_rows.items() if (found := faults(figure, monkeypatch))} == {}
    growth, soak = from_rows["scaling.png"], from_rows["soak.png"]
    assert [axis.get_xlabel() for axis in growth.axes[::2]] == list(LABELS.values())
    memory = growth.axes[1].lines[0]
    assert list(memory.get_xdata()) == [10, 30, 100, 300, 1000]
    assert growth.axes[1].get_ylim() == growth.axes[3].get_ylim()  # so that the curves compare
    assert [axis.get_title(loc="left") for axis in soak.axes][1:] == ["open files", "threads", "iteration"]
    assert list(soak.axes[2].lines[0].get_ydata()) == [3] * 120
    compared = [axis.get_yticklabels()[-1].get_text() for axis in from_rows["compare-cifar10.png"].axes[:1]]
    assert compared == ["mmd"]


def test_figures_of_formulas_are_readable_on_a_telephone(saved_figures, tmp_path, monkeypatch):
    figures.terms(tmp_path)
    (terms,) = saved_figures
    assert faults(terms, monkeypatch) == []
    shift = terms.axes[1].lines  # a shift rotates the characteristic function, and keeps its modulus
    assert [line.get_label() for line in shift] == ["amplitude term", "phase term"]
    assert max(shift[0].get_ydata()) < 0.01 < 0.4 < max(shift[1].get_ydata())
    assert [line.get_color() for line in shift] == [COLORS[2], COLORS[3]]
