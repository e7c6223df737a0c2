"""Charts: well-formed, escaped, in words and numbers too, and with the values where the scales put them."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from ncfm.report.axes import HEIGHT, WIDTH
from ncfm.report.charts import MAX_POINTS, MAX_ROWS, Bar, Line, bar_chart, line_chart
from ncfm.report.class_charts import Cloud, confusion_chart, map_chart

EVIL = "<script>alert('x')</script>\" & co"


def parsed(chart):
    return ET.fromstring(chart.svg)


def line(*lines, **options):
    return line_chart("A title", "A summary.", lines, x_label="iteration", y_label="value", **options)


def test_a_curve_goes_through_its_values():
    chart = line(Line("a", [0, 5, 10], [2.0, 4.0, 3.0]))
    (path,) = [e for e in parsed(chart).iter("path") if e.get("class").startswith("line")]
    places = [tuple(map(float, pair.split())) for pair in path.get("d")[1:].split("L")]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert (y0 - y1) == pytest.approx(2 * (y2 - y1), abs=0.2)  # 2 above against 1
    assert min(x0, y1) >= 0
    assert max(x2, 0) <= WIDTH
    assert max(y0, y2) <= HEIGHT
    assert chart.columns == ("iteration", "a")
    assert chart.rows == (("0", "2"), ("5", "4"), ("10", "3"))


def test_long_curves_are_thinned_and_keep_their_ends():
    n = 5000
    chart = line(Line("a", list(range(n)), [float(i) for i in range(n)]))
    (path,) = [e for e in parsed(chart).iter("path") if e.get("class").startswith("line")]
    assert path.get("d").count("L") < MAX_POINTS
    assert len(chart.rows) <= MAX_ROWS
    assert (chart.rows[0], chart.rows[-1]) == (("0", "0"), ("4,999", "4,999"))


@pytest.mark.parametrize("ys", [[], [1.0], [math.nan, math.inf], [3.0, 3.0], [0.0, 0.0], [math.nan, 2.0, 4.0]])
def test_odd_curves_are_drawn_all_the_same(ys):
    chart = line(Line("a", list(range(len(ys))), ys))
    assert "nan" not in chart.svg.lower().replace("class", "")
    assert "inf" not in chart.svg
    assert parsed(chart).get("role") == "img"


def test_bands_and_several_lines_have_keys_that_do_not_rest_on_colour():
    chart = line(Line("a", [0, 1], [1, 2], ([0, 1], [2, 3])), Line("b", [0, 1], [2, 1]))
    assert chart.keys == (("s0 d0", "a"), ("s1 d1", "b"))
    assert len([e for e in parsed(chart).iter("path") if e.get("class").startswith("band")]) == 1


def test_bars_have_their_values_and_intervals():
    chart = bar_chart(
        "A", "B.", [Bar("x", 71.0, 65.1, 76.8), Bar("y", 50.0, own=False)], x_label="accuracy, %", rule=("chance", 10.0)
    )
    svg = parsed(chart)
    bars = list(svg.iter("rect"))
    assert [b.get("class") for b in bars] == ["bar own", "bar other"]
    assert float(bars[0].get("width")) / float(bars[1].get("width")) == pytest.approx(1.42, abs=0.01)
    assert chart.rows == (("x", "71.0", "65.1 to 76.8"), ("y", "50.0", "-"), ("chance", "10.0", "-"))
    assert {"71.0", "50.0", "chance", "x", "y"} <= {e.text for e in svg.iter("text")}
    assert bar_chart("A", "B.", [Bar("x", 7.0)], x_label="%").columns == ("name", "%")


@pytest.mark.parametrize(
    "chart",
    [
        line_chart(EVIL, EVIL, [Line(EVIL, [0, 1], [1, 2])], x_label=EVIL, y_label=EVIL),
        bar_chart(EVIL, EVIL, [Bar(EVIL, 10.0)], x_label=EVIL, rule=(EVIL, 5.0)),
        confusion_chart(EVIL, EVIL, [[1, 0], [0, 1]], [EVIL, EVIL]),
        map_chart(EVIL, EVIL, [Cloud(EVIL, [(0, 0)], [(1, 1)])], labels=(EVIL, EVIL)),
    ],
    ids=["line", "bar", "confusion", "map"],
)
def test_names_cannot_leave_their_place(chart):
    svg = parsed(chart)  # well-formed
    assert not list(svg.iter("script"))
    assert EVIL in svg.get("aria-label")
