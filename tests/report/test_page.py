"""The page: self-contained, escaped, readable without eyes and in both colour schemes."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from ncfm._utils.files import read_json, write_json, write_text
from ncfm.distillation.history import METRICS_FILE
from ncfm.report.page import TEMPLATES, with_code
from ncfm.synthetic.folders import CONFIG_FILE, SCORES_FILE, SET_FOLDER
from ncfm.workflows.report import write_report
from pages import Seen, page_of, score

EVIL = "<script>alert(1)</script>\"'&"


def test_a_report_needs_nothing_else_and_lets_nothing_else_run(run):
    text = write_report(run, with_data=False).path.read_text(encoding="utf-8")
    seen = Seen(text)
    places = [v for _, attrs in seen.tags for k, v in attrs.items() if k in ("src", "href", "srcset", "action", "data")]
    assert len(places) > 20
    assert all(place.startswith(("data:", "#")) for place in places)
    assert "url(" not in text
    assert "@import" not in text
    assert not [k for _, attrs in seen.tags for k in attrs if k == "style" or k.startswith("on")]
    (policy,) = [m["content"] for m in seen.all("meta") if m.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        named = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{named}'" in policy


def test_a_report_can_be_read_without_eyes(run):
    seen = page_of(run)
    assert seen.headings[0] == 1
    assert seen.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(seen.headings, seen.headings[1:], strict=False))
    assert all(img.get("alt") is not None for img in seen.all("img"))
    assert all(img["alt"] for img in seen.all("img") if img.get("id") != "zoom-image")
    assert all(s.get("aria-label") for s in seen.all("svg") if s.get("role") == "img")
    assert all(s.get("aria-hidden") == "true" for s in seen.all("svg") if s.get("role") != "img")
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in seen.tags}
    assert seen.all("html")[0]["lang"] == "en"
    ids = [attrs["id"] for _, attrs in seen.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    named = [attrs["aria-labelledby"] for _, attrs in seen.tags if "aria-labelledby" in attrs]
    assert set(named) <= set(ids)
    assert {a["href"] for a in seen.all("a")} <= {f"#{i}" for i in ids}


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_contrast_is_enough_in_both_schemes(dark):
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    light, night = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in style.split("@media", 1))
    night = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", style.split("@media")[1]))
    c = night if dark else light
    assert night.keys() == light.keys()
    for ink, paper in [
        *((ink, paper) for ink in ("ink", "muted", "accent") for paper in ("paper", "card")),
        ("ink", "heat"),
        ("warn", "warn-paper"),
        ("warn", "card"),
        ("calm", "calm-paper"),
        *((f"s{i}", "card") for i in range(10)),
    ]:
        assert contrast(c[ink], c[paper]) >= 4.5, (ink, paper)
    assert contrast(c["own"], c["card"]) >= 3
    assert contrast(c["other"], c["card"]) >= 3


def test_names_and_settings_are_text(run):
    facts = run / SET_FOLDER / "set.json"
    said = read_json(facts)
    said["class_names"] = [f"{EVIL}{i}" for i in range(10)]
    said["facts"] |= {
        "method": EVIL,
        "variant": EVIL,
        "command": EVIL,
        "versions": {EVIL: EVIL},
        "data_problems": [EVIL],
    }
    write_json(facts, said)
    config = read_json(run / CONFIG_FILE)
    config["data"] = EVIL
    config["config"]["teachers"]["network"] = EVIL
    write_json(run / CONFIG_FILE, config)
    write_json(run / SCORES_FILE, [score(0.5, network=EVIL, protocol=EVIL)])
    write_text(run / METRICS_FILE, json.dumps({"iteration": 1, EVIL: 2.0, "seconds": 1.0}) + "\n")
    evil = run.with_name("<b>mine")
    run.rename(evil)
    seen = page_of(evil)
    assert len(seen.all("script")) == 1
    assert not seen.all("b")
    assert seen.text.count("<script>alert(1)</script>") > 10
    assert "<b>mine" in seen.text


def test_code_in_sentences_is_escaped():
    assert with_code("run `a <b>` & `rest") == "run <code>a &lt;b&gt;</code> &amp; rest"
