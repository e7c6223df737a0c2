"""Charts of all classes: shares of a confusion matrix, and groups of a map."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from ncfm.report.class_charts import Cloud, confusion_chart, map_chart


def parsed(chart):
    return ET.fromstring(chart.svg)


def test_a_confusion_matrix_is_in_shares_of_its_rows():
    chart = confusion_chart("A", "B.", [[3, 1], [0, 0]], ["cat", "dog"])
    cells = [float(e.get("fill-opacity")) for e in parsed(chart).iter("rect")]
    assert cells == [0.75, 0.25, 0.0, 0.0]
    assert chart.rows == (("cat", "75.0", "25.0"), ("dog", "0.0", "0.0"))


def test_a_map_has_a_group_for_each_class():
    chart = map_chart(
        "A", "B.", [Cloud("cat", [(0, 0), (1, 1)], [(0.5, 0.5)]), Cloud("dog", [], [])], labels=("a", "b")
    )
    groups = list(parsed(chart).iter("g"))
    assert [g.get("data-class") for g in groups] == ["0", "1"]
    assert groups[0].find("path[@class='real']").get("d").count("M") == 2
    assert groups[0].find("path[@class='synthetic']").get("d").count("M") == 1
    assert chart.rows[0] == ("cat", "2", "0.5, 0.5", "1", "0.5, 0.5")
