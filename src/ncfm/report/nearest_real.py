"""The set in feature space, and copy detection by the nearest real images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncfm._utils.progress import counted
from ncfm.report.axes import Chart, as_text
from ncfm.report.charts import Line, line_chart
from ncfm.report.class_charts import Cloud, map_chart
from ncfm.report.folding import PAIRS, Fold, fold
from ncfm.report.inline import address, picture
from ncfm.report.page import PairView, Tile
from ncfm.report.real_data import NEAR_PIXELS, NEAR_RATIO, RealComparison
from ncfm.report.run_folder import RunFolder

MAX_PAIRS = 12


def feature_map(real: RealComparison) -> tuple[Chart, str]:
    """Real and synthetic images, projected onto the principal plane of the real features."""
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
        f"real ones. They explain {first + second:.0f} % of the variance: points that are close here may be far apart."
    )
    return chart, note


def distance_charts(real: RealComparison) -> Fold[Chart]:
    """Distances to the nearest real image, of synthetic and of real images; all folded, since the verdict says it."""
    charts = []
    for distances, title, label in (
        (real.pixel, "Nearest real image, by pixels", "root-mean-square difference of pixels in [0, 1]"),
        (real.feature, "Nearest real image, by features", "distance of features"),
    ):
        lines = [
            Line(name, *_quantiles(values))
            for name, values in (
                ("synthetic", distances.found.distance),
                ("real, to another real one", distances.of_real),
            )
        ]
        own, usual = distances.medians
        text = f"Median of the synthetic images {as_text(own)}, of the real ones {as_text(usual)}."
        charts.append(line_chart(title, text, lines, x_label="share of the images, %", y_label=label, zero=True))
    return fold(charts, 0, "chart of distances", lambda chart: chart.title.rpartition(", ")[2])


def verdict(run: RunFolder, real: RealComparison) -> tuple[str, bool]:
    """A sentence about near copies of real images, and whether there are any."""
    copies, total = int(real.copies.sum()), len(real.copies)
    if copies:
        text = (
            f"{copies} of {total} training images of the set are near copies of real images. "
            "Sharing the set discloses these images."
        )
    else:
        text = f"None of the {total} training images of the set is a near copy of a real image."
    if run.config is not None and run.config.distill.init in ("real", "mosaic"):
        text += " The run started from real images; synthetic images that have hardly changed still resemble them."
    return text, copies > 0


def copy_detection_note(run: RunFolder, real: RealComparison) -> str:
    """A description of the copy detection."""
    sample = f"a random sample of {real.compared:,} of the" if real.compared < real.total else "all"
    text = f"Compared with {sample} {real.total:,} real training images"
    if run.synthetic is not None and run.synthetic.factor > 1:
        text += ", shrunk and enlarged like the stored tiles" if run.synthetic.mode == "single" else ""
    text += (
        ". Near copy: the root-mean-square difference of pixels in [0, 1] is below "
        f"{NEAR_PIXELS:g}, or below {NEAR_RATIO:g} times that to the second nearest image. "
        "The absence of near copies does not prove privacy."
    )
    if not real.same_data:
        text += " The data used here are not identical to those that the set was made from."
    return text


def pair_views(real: RealComparison) -> Fold[PairView]:
    """The synthetic images that are nearest to a real one, near copies first."""
    distance, second = real.pixel.found.distance, real.pixel.found.second
    order = sorted(range(len(distance)), key=lambda i: (not bool(real.copies[i]), float(distance[i])))
    first = real.labels.bincount().cumsum(0) - real.labels.bincount()  # of each class; labels ascend
    views = []
    for i in order[:MAX_PAIRS]:
        name = f"{real.class_names[int(real.labels[i])]}, training image {i - int(first[real.labels[i]]) + 1}"
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
    return _folded(views)


def _folded(views: Sequence[PairView]) -> Fold[PairView]:
    """The nearest pairs, and a line that says how many of the others are near copies."""
    first, rest = views[:PAIRS], views[PAIRS:]
    copies = sum(view.copy for view in rest)
    summary = f"{counted(len(rest), 'more image')} next to real ones"
    return Fold(first, rest, f"{summary}, {copies} of them near copies" if copies else summary)


def _quantiles(values: Tensor, count: int = 101) -> tuple[list[float], list[float]]:
    shares = torch.linspace(0, 1, count, dtype=values.dtype)
    return (100 * shares).tolist(), torch.quantile(values, shares).tolist()


def _points(coordinates: Tensor) -> list[tuple[float, float]]:
    return [(x, y) for x, y in coordinates.tolist()]
