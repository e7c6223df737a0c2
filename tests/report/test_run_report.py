"""The report: whole, self-contained, escaped, with copy detection, and a sentence for what a run folder lacks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
import shutil
from html.parser import HTMLParser

import pytest
import torch
from typer.testing import CliRunner

import ncfm
from ncfm._utils.checks import NcfmError
from ncfm._utils.files import read_json, write_json, write_text
from ncfm._utils.progress import Silent
from ncfm.cli.main import app
from ncfm.config.keys import nest, parse_setting
from ncfm.config.layers import make_config
from ncfm.config.resolve import resolve_config
from ncfm.data.levels import to_float
from ncfm.distillation.checkpoint import CHECKPOINT_FILE
from ncfm.distillation.history import DIAGNOSIS_FILE, METRICS_FILE
from ncfm.distillation.snapshots import SNAPSHOTS_FOLDER
from ncfm.report import real_data as real
from ncfm.report.nearest_real import feature_map, pair_views, verdict
from ncfm.report.page import TEMPLATES, with_code
from ncfm.report.run_folder import open_run
from ncfm.report.summary import reproduce_command, variant_note
from ncfm.synthetic.folders import CONFIG_FILE, SCORES_FILE, SET_FOLDER
from ncfm.synthetic.formation import as_stored, cut, stitch
from ncfm.synthetic.initialization import start_images
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.report import REPORT_FILE, compare_with_real, write_report
from strategies import rng
from tiny import SETTINGS, few

EVIL = "<script>alert(1)</script>\"'&"


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.headings, self.texts, self.inside = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not self.inside or self.inside[-1] not in ("script", "style"):
            self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def score(mean, name="ncfm", **more):
    confusion = (torch.eye(10, dtype=torch.int64) * 7 + torch.ones(10, 10, dtype=torch.int64)).tolist()
    return {
        "accuracy_mean": mean,
        "accuracy_std": 0.01,
        "accuracy_low": mean - 0.02,
        "accuracy_high": mean + 0.02,
        "accuracies": [mean - 0.01, mean + 0.01],
        "network": SETTINGS["evaluate.network"],
        "protocol": "quick@epochs=2",
        "per_class": [0.5 + c / 20 for c in range(10)],
        "confusion": confusion,
        "calibration_error": 0.1,
        "num_images": 40,
        "seconds": 1.5,
        "name": name,
    } | more


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    ncfm.distill(digits, ipc=1, recipe="none", settings=SETTINGS | {"machine.diagnose_every": 1}, out=folder, seed=3)
    write_json(folder / SCORES_FILE, [score(0.61)])
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "mine")


def page_of(run, **options):
    return Seen(write_report(run, **{"with_data": False} | options).path.read_text(encoding="utf-8"))


# --- the page -----------------------------------------------------------------------------------------------


def test_a_report_shows_all_that_there_is(run):
    seen = page_of(run)
    assert "<h3>Command</h3>" in (run / REPORT_FILE).read_text(encoding="utf-8")
    for said in (
        "61.0 %",
        "95 % interval 59.0 to 63.0 %",
        "2 networks",
        "Chance 10 %",
        "Amplitude and phase",
        "Spectrum of the learned frequencies",
        "Accuracy by class",
        "From 0 with 50.0 % to 9 with 95.0 %.",
        "From iteration 0 to 2, 3 snapshots.",
        "convnet1w8",
        "frequencies.number",
        "Hash of the images",
        'ncfm.load("mine").decoded()',
        "The real data were not loaded",
    ):
        assert said in seen.text, said
    assert len([i for i in seen.all("img") if i["alt"].startswith("Synthetic image of")]) == 10
    assert len([i for i in seen.all("img") if i["alt"].startswith("First image of")]) == 10
    assert len(seen.all("details")) >= len([s for s in seen.all("svg") if s.get("role") == "img"])


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


# --- what is missing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "said", "section"),
    [
        (SCORES_FILE, "has not been evaluated yet", "accuracy"),
        (METRICS_FILE, "no metrics.jsonl", "curves"),
        (DIAGNOSIS_FILE, "diagnosis was off", "frequencies"),
        (SNAPSHOTS_FOLDER, "has no film/", "snapshots"),
    ],
)
def test_what_is_missing_is_reported(run, gone, said, section):
    shutil.rmtree(run / gone) if (run / gone).is_dir() else (run / gone).unlink()
    written = write_report(run, with_data=False)
    assert written.missing.keys() == {section, "data"}
    seen = Seen(written.path.read_text(encoding="utf-8"))
    assert said in written.missing[section]
    assert written.missing[section].replace("`", "").replace(" ", "") in seen.text.replace(" ", "")


@pytest.mark.parametrize(
    ("gone", "anchor"),
    [
        (SCORES_FILE, "accuracy"),
        (METRICS_FILE, "curves"),
        (DIAGNOSIS_FILE, "frequencies"),
        (SNAPSHOTS_FOLDER, "evolution"),
    ],
)
def test_empty_sections_are_left_out(run, gone, anchor):
    def sections(seen):
        linked = {a["href"][1:] for a in seen.all("a")} - {"main", "animation"}
        assert linked == {s["id"] for s in seen.all("section") if s.get("id")} - {"summary", "left-out"}
        return linked

    before = sections(page_of(run))
    assert {"features", "copies"}.isdisjoint(before)  # without the data
    shutil.rmtree(run / gone) if (run / gone).is_dir() else (run / gone).unlink()
    assert sections(page_of(run)) == before - {anchor}


def test_the_accuracy_of_the_teachers_is_a_fact(run):
    facts = read_json(run / SET_FOLDER / "set.json")
    (value,) = facts["facts"]["teacher_accuracies"]
    assert f"Accuracy of teachers {100 * value:.1f} % 1 teacher" in page_of(run).text
    del facts["facts"]["teacher_accuracies"]  # as in earlier versions
    write_json(run / SET_FOLDER / "set.json", facts)
    assert "Accuracy of teachers" not in page_of(run).text


@pytest.mark.parametrize("name", [SCORES_FILE, METRICS_FILE, DIAGNOSIS_FILE, CONFIG_FILE])
@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"a": 1}', "[]", "null", '[{"accuracy_mean": "x"}]\n'])
def test_what_is_damaged_is_left_out(run, name, content):
    write_text(run / name, content)
    written = write_report(run, with_data=False)
    assert "Synthetic images" in Seen(written.path.read_text(encoding="utf-8")).text
    assert str(run.parent) not in written.path.read_text(encoding="utf-8")


def test_an_old_run_has_a_report(run):
    # Without snapshots, parts of the discrepancy, a command and versions.
    shutil.rmtree(run / SNAPSHOTS_FOLDER)
    entries = [json.loads(line) for line in (run / METRICS_FILE).read_text().splitlines()]
    old = [{k: v for k, v in e.items() if k not in ("amplitude", "phase")} for e in entries]
    write_text(run / METRICS_FILE, "".join(json.dumps(e) + "\n" for e in old))
    facts = read_json(run / SET_FOLDER / "set.json")
    del facts["facts"]["command"], facts["facts"]["versions"]
    write_json(run / SET_FOLDER / "set.json", facts)
    seen = page_of(run)
    assert "Training loss" in seen.text
    assert "Amplitude and phase" not in seen.text
    assert "<h3>Command</h3>" not in (run / REPORT_FILE).read_text(encoding="utf-8")
    assert "Command to reproduce" in seen.text


def test_a_set_alone_has_a_report(run, tmp_path):
    seen = page_of(run / SET_FOLDER, out=tmp_path / "set.html")
    assert "Time to distil" in seen.text
    assert not (run / SET_FOLDER / REPORT_FILE).exists()


def test_a_set_of_the_gallery_has_a_report_with_its_own_scores(tmp_path):
    path = write_report("gallery:digits-ipc1", out=tmp_path / "report.html", with_data=False).path
    text = " ".join(Seen(path.read_text(encoding="utf-8")).texts)
    assert "92.8" in text
    assert 'ncfm.load("gallery:digits-ipc1")' in text
    assert "ncfm evaluate gallery:digits-ipc1" in text


def test_a_killed_run_has_a_report_of_how_far_it_is(run):
    shutil.rmtree(run / SET_FOLDER)
    (run / SCORES_FILE).unlink()
    opened = open_run(run)
    assert not opened.finished
    assert opened.synthetic.images.shape == (10, 1, 1, 8, 8)
    assert opened.synthetic.factor == 2
    seen = page_of(run)
    assert "This run is not finished" in seen.text
    assert "Synthetic image of class 3" in [i["alt"][:26] for i in seen.all("img")]
    (run / CHECKPOINT_FILE).unlink()
    assert "stopped before it saved anything" in page_of(run).text


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NcfmError, match="holds none"):
        write_report(tmp_path / "empty")
    with pytest.raises(NcfmError, match="does not exist"):
        write_report(tmp_path / "none")


# --- comparison ------------------------------------------------------------------------------------------


def test_others_are_compared_under_the_same_protocol_only(run, finished, tmp_path):
    other = shutil.copytree(finished, tmp_path / "other")
    write_json(other / SCORES_FILE, [score(0.55), score(0.9, network="mlp")])
    write_json(
        run.parent / "comparison.json",
        [
            score(0.61, "mine"),
            score(0.3, "random"),
            score(0.2, "herding"),
            score(0.3, "herding"),
            score(0.99, "full", protocol="another"),
        ],
    )
    seen = page_of(run, against=[other])
    assert "In percent: this set 61.0, other 55.0, random 30.0, herding 25.0, chance 10." in seen.text
    assert "Accuracy of this set and others" in seen.text
    assert "This set minus other: +6.00 points" in seen.text
    assert "Not shown, since not evaluated with convnet1w8 and quick@epochs=2: full" in seen.text
    (other / SCORES_FILE).unlink()
    with pytest.raises(NcfmError, match="has no evaluation to compare with"):
        write_report(run, against=[other], with_data=False)


def test_a_set_without_others_is_not_called_compared(run):
    write_json(run / SCORES_FILE, [score(0.61)])
    text = page_of(run).text
    assert "Accuracy of this set" in text
    assert "Accuracy of this set and others" not in text


def test_many_settings_are_counted_in_the_card_of_the_method():
    assert variant_note("") == ""
    assert variant_note("gaussian") == "gaussian"
    three = ",".join(f"distill.setting{i}=1" for i in range(3))
    assert variant_note(f"gaussian,{three}") == "gaussian, 3 other settings, see Provenance"
    assert variant_note(three) == "3 other settings, see Provenance"
    assert variant_note("distill.factor=1").replace("\u200b", "") == "distill.factor=1"


def test_the_accuracy_is_that_of_the_recipes_students(run):
    write_json(run / SCORES_FILE, [score(0.4), score(0.7), score(0.9, network="mlp")])
    assert "70.0 %" in page_of(run).text.split("Data")[0]
    write_json(run / SCORES_FILE, [score(0.9, network="mlp", accuracy_low=None, accuracies=[0.9])])
    assert "one network, so no interval" in page_of(run).text


def test_the_command_makes_the_same_settings(run):
    words = shlex.split(reproduce_command(open_run(run)))
    assert words[:9] == ["ncfm", "distill", "digits", "--ipc", "1", "--recipe", "none", "--seed", "3"]
    assert set(words[9::2]) == {"--set"}
    again = resolve_config("digits", 1, "none", dict(map(parse_setting, words[10::2])), 3)
    stored = make_config(read_json(run / CONFIG_FILE)["config"])
    assert again == stored.model_copy(update={"machine": again.machine})


# --- real data ----------------------------------------------------------------------------------------------


def compare(synthetic, images, **settings):
    config = make_config(nest(SETTINGS | settings))
    return compare_with_real(
        synthetic,
        {},
        images,
        config,
        class_names=None,
        device="cpu",
        data_dir=None,
        reporter=Silent(),
    )


@pytest.fixture(scope="module")
def tens(digits):
    return few(digits, 12)


@pytest.mark.parametrize("factor", [1, 2])
def test_a_set_of_real_images_is_all_copies(tens, factor):
    init = "mosaic" if factor > 1 else "real"
    start = start_images(tens, ipc=1, factor=factor, init=init, generator=rng(1))
    look = compare(SyntheticSet(start, tens.class_names, tens.statistics, factor), tens)
    assert float(look.pixel.found.distance.max()) < 1e-6
    assert bool(look.copies.all())
    assert torch.equal(look.nearest_labels[0], look.labels)
    text, has_copies = verdict(open_run_of(init), look)
    assert has_copies
    assert text.startswith(f"{10 * factor**2} of {10 * factor**2} training images of the set are near copies")
    assert "started from real images" in text
    assert all(view.copy for view in pair_views(look))


def open_run_of(init):
    class Stub:
        config = make_config(nest({"distill.init": init}))

    return Stub()


def test_noise_is_no_copy_and_its_neighbours_are_the_nearest(tens):
    noise = torch.rand(10, 2, 1, 8, 8, generator=rng(2))
    look = compare(SyntheticSet(noise, tens.class_names, tens.statistics), tens)
    assert not bool(look.copies.any())
    assert verdict(open_run_of("noise"), look) == (
        "None of the 20 training images of the set is a near copy of a real image.",
        False,
    )
    gaps = (noise.flatten(0, 1).flatten(1)[:, None] - to_float(tens.train.images).flatten(1)).norm(dim=-1) / 8
    assert torch.allclose(look.pixel.found.distance, gaps.min(1).values, atol=1e-5)
    assert torch.equal(look.nearest_pixel, tens.train.images[gaps.argmin(1)])
    assert torch.equal(look.nearest_labels[0], tens.train.labels[gaps.argmin(1)])
    real_gaps = torch.cdist(*[to_float(tens.train.images).flatten(1)] * 2) / 8
    real_gaps.fill_diagonal_(torch.inf)
    assert torch.allclose(look.pixel.of_real.sort().values, real_gaps.min(1).values.sort().values, atol=1e-3)
    assert (look.compared, look.total) == (120, 120)
    chart, _ = feature_map(look)
    assert chart.rows[0][1::2] == ("12", "2")


def test_few_pixels_may_be_compared(tens, monkeypatch):
    monkeypatch.setattr(real, "MAX_PIXELS", 64 * 50)
    monkeypatch.setattr(real, "AT_ONCE", 7)
    noise = torch.rand(10, 1, 1, 8, 8, generator=rng(2))
    look = compare(SyntheticSet(noise, tens.class_names, tens.statistics), tens)
    assert (look.compared, look.total) == (50, 120)
    positions = look.pixel.found.at
    assert torch.equal(look.nearest_pixel, tens.train.images[positions])
    gaps = (noise[:, 0].flatten(1) - to_float(look.nearest_pixel).flatten(1)).norm(dim=-1) / 8
    assert torch.allclose(look.pixel.found.distance, gaps, atol=1e-6)


def test_other_data_are_refused_in_a_sentence(run, tens, digits):
    with pytest.raises(NcfmError, match="other data"):
        compare(SyntheticSet(torch.rand(9, 1, 1, 8, 8), tuple("abcdefghi"), tens.statistics), tens)
    written = write_report(run, data_dir=run)
    assert "data" not in written.missing
    config = read_json(run / CONFIG_FILE)
    config["data"] = "no-such-data-at-all"
    write_json(run / CONFIG_FILE, config)
    assert "could not be used" in write_report(run).missing["data"]


def test_a_whole_report_has_the_real_data(run):
    seen = Seen(write_report(run).path.read_text(encoding="utf-8"))
    for said in ("Real and synthetic images", "Features of real and synthetic images", "Nearest real image, by pixels"):
        assert said in seen.text
    assert "Compared with all 1,343 real training images" in seen.text
    assert len([i for i in seen.all("img") if i["alt"].startswith("Real image of")]) == 100
    assert len(seen.all("option")) == 11
    assert (
        len([p for p in seen.all("path") if p.get("class") in {f"synthetic s{i}" for i in range(10)}]) >= 10
    )  # legend


def test_stored_and_cut_out_again():
    x = torch.rand(3, 2, 12, 18, generator=rng(5))
    for factor in (1, 2, 3):
        alone = torch.stack([cut(stitch(image.expand(factor**2, -1, -1, -1), factor), factor)[0] for image in x])
        assert torch.allclose(as_stored(x, factor), alone, atol=1e-6)


# --- the command --------------------------------------------------------------------------------------------


def test_the_command_writes_the_report(run):
    done = CliRunner().invoke(app, ["report", str(run), "--no-data"])
    assert done.exit_code == 0, done.output
    assert (run / REPORT_FILE).is_file()
    assert "Left out: The real data were not loaded" in " ".join(done.output.split())
    told = CliRunner().invoke(app, ["report", str(run), "--no-data", "--json", "--out", str(run / "other.html")])
    said = json.loads(told.output)
    assert said["bytes"] == (run / "other.html").stat().st_size
    assert said["missing"].keys() == {"data"}


def test_to_distil_writes_a_first_report(tmp_path):
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    command = ["distill", "digits", "--ipc", "1", "--recipe", "none", "--out", str(tmp_path / "run"), "-q", *settings]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    seen = Seen((tmp_path / "run" / REPORT_FILE).read_text(encoding="utf-8"))
    assert "The set has not been evaluated yet: run" in seen.text
    assert "Accuracy on the real test split" not in seen.text  # no empty card
