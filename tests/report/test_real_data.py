"""The set next to its real data: copy detection, nearest images, features."""

from __future__ import annotations

import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import read_json, write_json
from ncfm._utils.progress import Silent
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.data.levels import to_float
from ncfm.report import real_data as real
from ncfm.report.folding import PAIRS
from ncfm.report.nearest_real import MAX_PAIRS, feature_map, pair_views, verdict
from ncfm.synthetic.folders import CONFIG_FILE
from ncfm.synthetic.initialization import start_images
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.report import compare_with_real, write_report
from pages import Seen
from strategies import rng
from tiny import SETTINGS, few


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
    pairs = pair_views(look)
    assert len(pairs.first) == PAIRS
    assert all(view.copy for view in (*pairs.first, *pairs.rest))
    more = min(10 * factor**2, MAX_PAIRS) - PAIRS
    assert pairs.summary == f"{more} more images next to real ones, {more} of them near copies"


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
    assert pair_views(look).summary == "9 more images next to real ones"
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
