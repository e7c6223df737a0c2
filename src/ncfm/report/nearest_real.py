"""The set in the space of features, and the nearest real images: is anything a copy?"""

from __future__ import annotations

import torch
from torch import Tensor

from ncfm.report.charts import (
    Chart,
    Cloud,
    Line,
    line_chart,
    map_chart,
    said,
)
from ncfm.report.inline import address, picture
from ncfm.report.page import PairView, Tile
from ncfm.report.real_data import NEAR_PIXELS, NEAR_RATIO, RealLook
from ncfm.report.run_folder import RunFolder

MAX_PAIRS = 12


def feature_map(real: RealLook) -> tuple[Chart, str]:
    """Real and synthetic images in the plane in which the real ones' features spread most."""
    clouds = [
        Cloud(name, _points(real.real_points[real.real_labels == c]), _points(real.points[real.labels == c]))
        for c, name in enumerate(real.class_names)
    ]
    first, second = (100 * share for share in real.shares)
    text = f"{len(real.real_points):,} real and {len(real.points):,} synthetic images in two dimensions."
    chart = map_chart(
        "Features of real and synthetic images",
        text,
        clouds,
        labels=(f"first component ({first:.0f} % of the variance)", f"second ({second:.0f} %)"),
    )
    note = (
        f"Features of a trained teacher ({real.teacher}), projected onto the first two principal components of the "
        f"real ones. They hold {first + second:.0f} % of the variance: what lies together here may be apart."
    )
    return chart, note


def likeness_charts(real: RealLook) -> list[Chart]:
    """How far the nearest real image is, for synthetic images and for real ones."""
    charts = []
    for likeness, title, label in (
        (real.pixel, "Nearest real image, by pixels", "root-mean-square difference of pixels in [0, 1]"),
        (real.feature, "Nearest real image, by features", "distance of features"),
    ):
        lines = [
            Line(name, *_quantiles(values))
            for name, values in (
                ("synthetic", likeness.found.distance),
                ("real, to another real one", likeness.of_real),
            )
        ]
        own, usual = likeness.medians
        text = f"Half of the synthetic images have a real one within {said(own)}; half of the real ones within "
        text += f"{said(usual)}."
        charts.append(line_chart(title, text, lines, x_label="share of the images, %", y_label=label, zero=True))
    return charts


def verdict(run: RunFolder, real: RealLook) -> tuple[str, bool]:
    """Whether synthetic images are nearly copies of real ones, said plainly."""
    copies, total = int(real.copies.sum()), len(real.copies)
    if copies:
        text = (
            f"{copies} of {total} training images of the set are nearly copies of a real one: it can be told which. "
            "Who gets this set gets to know those images."
        )
    else:
        text = f"None of the {total} training images of the set is nearly a copy of a real one."
    if run.config is not None and run.config.distill.init in ("real", "mosaic"):
        text += " The run began from real images; what has hardly moved still shows where it came from."
    return text, copies > 0


def likeness_note(run: RunFolder, real: RealLook) -> str:
    """How it was looked."""
    sample = f"a random sample of {real.compared:,} of the" if real.compared < real.total else "all"
    text = f"Compared with {sample} {real.total:,} real training images"
    if run.synthetic is not None and run.synthetic.factor > 1:
        text += ", shrunk and enlarged as the set stores its own" if run.synthetic.mode == "single" else ""
    text += (
        ". Nearly a copy: the pixels differ by less than "
        f"{NEAR_PIXELS:g} of their range (root mean square), or by less than {NEAR_RATIO:g} of what they differ from "
        "the second nearest. This is a look at nearest images, and no proof of privacy."
    )
    if not real.same_data:
        text += " The data opened here are not, to the byte, those that the set was made from."
    return text


def pair_views(real: RealLook) -> list[PairView]:
    """The images that are nearest to a real one, first those that are nearly copies."""
    distance, second = real.pixel.found.distance, real.pixel.found.second
    order = sorted(range(len(distance)), key=lambda i: (not bool(real.copies[i]), float(distance[i])))
    per_class = max(int((real.labels == 0).sum()), 1)
    views = []
    for i in order[:MAX_PAIRS]:
        name = f"{real.class_names[int(real.labels[i])]}, training image {i % per_class + 1}"
        by_pixel, by_feature = (real.class_names[int(labels[i])] for labels in real.nearest_labels)
        views.append(
            PairView(
                name,
                bool(real.copies[i]),
                Tile(address(picture(real.synthetic[i])), f"Synthetic image, {name}"),
                Tile(address(picture(real.nearest_pixel[i])), f"Nearest real image by pixels, {by_pixel}"),
                f"{by_pixel}, differs by {float(distance[i]):.3f}; second nearest {float(second[i]):.3f}",
                Tile(address(picture(real.nearest_feature[i])), f"Nearest real image by features, {by_feature}"),
                f"{by_feature}, at {float(real.feature.found.distance[i]):.3f}",
            )
        )
    return views


def _quantiles(values: Tensor, count: int = 101) -> tuple[list[float], list[float]]:
    shares = torch.linspace(0, 1, count, dtype=values.dtype)
    return (100 * shares).tolist(), torch.quantile(values, shares).tolist()


def _points(coordinates: Tensor) -> list[tuple[float, float]]:
    return [(x, y) for x, y in coordinates.tolist()]
