"""The sections of the report, each from what a run folder has."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ncfm._checks import NcfmError
from ncfm.config import dotted
from ncfm.data.images import to_uint8
from ncfm.evaluation.inference import compare_runs
from ncfm.report.charts import (
    MAX_CELLS,
    Bar,
    Chart,
    Cloud,
    Line,
    bar_chart,
    confusion_chart,
    line_chart,
    map_chart,
    running_mean,
    said,
)
from ncfm.report.inline import FILM_SIDE, address, moving, picture, still, strip
from ncfm.report.page import ClassRow, Fact, FilmView, PairView, Table, Tile
from ncfm.report.published import published
from ncfm.reporting.folder import RunFolder, Score, setting_text
from ncfm.reporting.real import NEAR_PIXELS, NEAR_RATIO, RealLook
from ncfm.runs import resolve_config

MAX_TILES, MAX_TILE_PIXELS = 400, 2**22  # images in the grids, and their pixels
MAX_STRIPS = 10  # classes of the film
MAX_BARS = 24  # classes with a bar of their own
MAX_PAIRS = 12

METRICS = {
    "discrepancy": ("Discrepancy", "NCFD, mean over classes"),
    "calibration": ("Calibration", "cross-entropy under a teacher, nats"),
    "gap": ("Distance of student and expert", "squared, 1 where the student began"),
    "step_size": ("Learned step size of the student", "learning rate"),
    "start": ("Where students start", "epoch of the expert"),
}
"""Of a logged metric: the chart's title, the label of its axis. Amplitude and phase share a chart."""


# --- headline -----------------------------------------------------------------------------------------------


def accuracy_fact(run: RunFolder) -> Fact | None:
    """The accuracy that stands for the run, with its interval and the conditions."""
    score = run.score
    if score is None:
        return None
    students = f"{len(score.accuracies)} students" if len(score.accuracies) != 1 else "one student, so no interval"
    paper = published(run.data, run.ipc, score.network)
    note = f"{score.network}, {_spaced(score.protocol)}, {students}, after the last epoch"
    if paper is not None:
        note += f". The paper reports {paper:.1f} % as the best of many looks at the test split"
    reach = f"95 % interval {_percent(score.low)} to {_percent(score.high)} %" if score.low is not None else ""
    return Fact(reach, f"{_percent(score.mean)} %", note)


def headline_facts(run: RunFolder) -> list[Fact]:
    """What was made, from what, and what it cost."""
    found, s = [], run.synthetic
    if run.data:
        classes = "" if s is None else f"{s.num_classes} classes, {s.images.shape[-1]} px"
        found.append(Fact("Data", run.data, classes))
    if run.ipc is not None:
        note = "" if s is None or s.decoded_ipc == s.ipc else f"{s.decoded_ipc} a class once mosaics are cut"
        found.append(Fact("Stored images per class", str(run.ipc), note))
    if s is not None:
        found.append(Fact("Chance", f"{100 / s.num_classes:.3g} %", "guessing one of the classes"))
    method = str(run.facts.get("method", run.config.objective.name if run.config else ""))
    if method:
        found.append(Fact("Method", method, _spaced(str(run.facts.get("variant", "")))))
    iterations = run.facts.get("iterations", run.metrics[-1]["iteration"] if run.metrics else None)
    if isinstance(iterations, (int, float)):
        planned = run.config.distill.iterations if run.config else None
        by_time = run.config is not None and run.config.distill.seconds is not None
        note = f"of {planned:,}" if planned and not by_time and planned != iterations else ""
        found.append(Fact("Iterations", f"{iterations:,.0f}", note))
    seconds = run.facts.get("distill_seconds", run.metrics[-1].get("seconds") if run.metrics else None)
    if isinstance(seconds, (int, float)):
        each = f"{seconds / iterations:.3g} s an iteration" if iterations else ""
        found.append(Fact("Time to distil", _duration(seconds), each))
    teachers = run.facts.get("teacher_seconds")
    if isinstance(teachers, (int, float)) and teachers > 0:
        found.append(Fact("Time to train teachers", _duration(teachers), "once; later runs find them in the cache"))
    memory = run.facts.get("distill_memory_mb")
    if isinstance(memory, (int, float)) and memory > 0:
        found.append(Fact("Memory of iterations", f"{memory:,.0f} MiB", "at most, beside data and program"))
    if s is not None and s.soft_labels is not None:
        found.append(Fact("Storage with soft labels", f"{s.storage:.3g} a class", "labels counted as images"))
    return found


def remade(run: RunFolder) -> str:
    """The command that makes the run again, from its settings; "" if they are not known."""
    if run.config is None or run.data is None or run.ipc is None:
        return ""
    own, ways = dotted(run.config), []
    for recipe in (None, "none"):
        try:
            base = dotted(resolve_config(run.data, run.ipc, recipe, None, None))
        except NcfmError:
            continue
        changed = {k: v for k, v in own.items() if v != base[k] and not k.startswith("machine.")}
        # "none" names a strategy of augmentation: a recipe's cannot be unset, only left out.
        if not any(value is None and key.endswith("augment") for key, value in changed.items()):
            ways.append((["--recipe", recipe] if recipe else [], changed))
    if not ways:
        return ""
    words, changed = min(ways, key=lambda way: len(way[1]))
    seed = changed.pop("seed", None)
    words = ["ncfm", "distill", run.data, "--ipc", str(run.ipc), *words]
    words += [] if seed is None else ["--seed", str(seed)]
    for key, value in changed.items():
        words += ["--set", f"{key}={setting_text(value)}"]
    return shlex.join(words)


# --- images -------------------------------------------------------------------------------------------------


def class_rows(run: RunFolder, real: RealLook | None) -> tuple[list[ClassRow], str]:
    """Real beside synthetic images of every class, as many as a page can hold, and a remark on what is left out."""
    s = run.synthetic
    if s is None:
        return [], ""
    stored = to_uint8(s.images)
    room = min(MAX_TILES, MAX_TILE_PIXELS // stored.shape[-1] ** 2)
    kinds = 1 if real is None else 2
    classes = min(s.num_classes, max(room // kinds, 1))
    each = min(max(room // (kinds * classes), 1), 10)
    rows = []
    for c in range(classes):
        name = s.class_names[c]
        shown = [] if real is None else list(real.samples[c, :each])
        rows.append(
            ClassRow(
                name,
                [Tile(address(picture(x)), f"Real image of {name}, {i + 1}") for i, x in enumerate(shown)],
                [
                    Tile(address(picture(x)), f"Synthetic image of {name}, {i + 1} of {s.ipc}")
                    for i, x in enumerate(stored[c, :each])
                ],
            )
        )
    notes = []
    if s.factor > 1:
        notes.append(f"A stored image is a mosaic of {s.factor} by {s.factor} training images of its class.")
    if classes < s.num_classes:
        notes.append(f"The first {classes} of {s.num_classes} classes are shown.")
    if each < s.ipc:
        notes.append(f"The first {each} of {s.ipc} stored images of a class are shown.")
    return rows, " ".join(notes)


def film_view(run: RunFolder) -> FilmView | None:
    """The film of a run, if it has at least two frames."""
    if len(run.film) < 2:
        if run.film:
            run.missing.setdefault("film", "The film has a single frame: the run was stopped at its start.")
        return None
    names = () if run.synthetic is None else run.synthetic.class_names
    shown = min(len(run.film[0].images), MAX_STRIPS)
    moments = [frame.iteration for frame in run.film]
    strips = []
    for c in range(shown):
        name = names[c] if c < len(names) else f"class {c}"
        alt = f"First image of {name} after iterations {', '.join(map(str, moments))}"
        strips.append((name, Tile(address(strip([frame.images[c, 0] for frame in run.film])), alt)))
    frames = [still(frame.images) for frame in run.film]
    alt = f"The images of the set changing from iteration {moments[0]} to {moments[-1]}"
    note = f"The first {shown} classes." if shown < len(names) else ""
    small = run.film[0].images.shape[-1] < FILM_SIDE
    return FilmView(moments, strips, moving(frames, lossless=small), address(frames[-1]), alt, note)


# --- curves -------------------------------------------------------------------------------------------------


def metric_charts(run: RunFolder) -> list[Chart]:
    """What a run logged over its iterations."""
    charts, entries = [], run.metrics
    keys = [key for key in dict.fromkeys(k for entry in entries for k in entry) if key not in ("iteration", "seconds")]
    values = {key: _column(entries, key) for key in keys}
    for key in keys:
        xs, ys = values[key]
        if key in ("amplitude", "phase") or not ys or not any(ys):
            continue
        title, label = METRICS.get(key, (key.replace("_", " ").capitalize(), key))
        charts.append(_curve(title, label, xs, ys))
    if values.get("amplitude", ([], []))[1] and values.get("phase", ([], []))[1]:
        lines = [Line(key, *values[key]) for key in ("amplitude", "phase")]
        ends = ", ".join(f"{line.name} from {said(line.ys[0])} to {said(line.ys[-1])}" for line in lines)
        chart = line_chart(
            "Amplitude and phase apart",
            f"{ends[0].upper()}{ends[1:]}.",
            lines,
            x_label="iteration",
            y_label="mean squared gap",
            zero=True,
        )
        charts.insert(1, chart)
    total = _loss(run)
    if total is not None:
        charts.insert(0, _curve("Loss that the images descend", "weighted sum", *total))
    return charts


def _loss(run: RunFolder) -> tuple[list[float], list[float]] | None:
    """The loss of the images from its logged terms, for runs that match distributions."""
    if run.config is None or run.synthetic is None or not run.metrics or "discrepancy" not in run.metrics[0]:
        return None
    matching = run.config.distill.matching_weight * run.synthetic.num_classes
    weights = {"discrepancy": matching, "calibration": run.config.distill.calibration_weight}
    xs, first = _column(run.metrics, "discrepancy")
    also, second = _column(run.metrics, "calibration")
    if xs != also:
        return None
    return xs, [weights["discrepancy"] * a + weights["calibration"] * b for a, b in zip(first, second, strict=True)]


def _curve(title: str, label: str, xs: Sequence[float], ys: Sequence[float]) -> Chart:
    """A noisy curve, with its running mean where it is long enough to have one."""
    summary = f"From {said(ys[0])} at iteration {said(xs[0])} to {said(ys[-1])} at iteration {said(xs[-1])}."
    lines = [Line("as logged", xs, ys)]
    if len(xs) >= 60:
        window = len(xs) // 12
        lines = [Line("as logged", xs, ys, faint=True), Line(f"mean of {window}", xs, running_mean(ys, window))]
    return line_chart(title, summary, lines, x_label="iteration", y_label=label)


def diagnosis_charts(run: RunFolder) -> list[Chart]:
    """Where the adversary looked: its spectrum, and what it saw there beside fixed frequencies."""
    entries = run.diagnoses
    charts = []
    spectra = []
    for kind, name in (("learned", "psi"), ("fixed", "fixed Gaussian")):
        xs, rows = _rows(entries, f"{kind}.bandwidths", 5)
        if xs:
            low, *_, high = zip(*rows, strict=True)
            spectra.append(Line(name, xs, [row[2] for row in rows], (low, high)))
    if spectra:
        lowest, highest = (side[-1] for side in spectra[0].band or ((math.nan,), (math.nan,)))
        text = f"At the end psi's frequencies lie between {said(lowest)} and {said(highest)} (5 to 95 %)."
        label = "||t|| / √d, median, 5 to 95 %"
        charts.append(line_chart("Spectrum of psi's frequencies", text, spectra, x_label="iteration", y_label=label))
    for field, title, label in (
        ("discrepancy", "NCFD that psi finds", "NCFD, mean and range over classes"),
        ("excess", "Is there anything to see?", "squared gap over sampling noise"),
        ("modulus", "Modulus of the real data there", "mean |Φ|"),
        ("amplitude_share", "Share of the amplitude", "share of the weighted gap"),
    ):
        lines = []
        for kind, name in (("learned", "psi"), ("fixed", "fixed Gaussian")):
            xs, rows = _rows(entries, f"{kind}.{field}")
            if xs:
                means = [math.fsum(row) / len(row) for row in rows]
                lines.append(Line(name, xs, means, (list(map(min, rows)), list(map(max, rows)))))
        if lines:
            text = "; ".join(
                f"{line.name} {said(line.ys[0])} at first, {said(line.ys[-1])} at the end" for line in lines
            )
            charts.append(line_chart(title, text + ".", lines, x_label="iteration", y_label=label))
    return charts


def _column(entries: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """The entries that have a finite number under a key: iterations and values."""
    pairs = [
        (float(entry["iteration"]), float(entry[key]))
        for entry in entries
        if isinstance(entry.get(key), (int, float)) and math.isfinite(entry[key])
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _rows(
    entries: Sequence[Mapping[str, Any]], key: str, length: int | None = None
) -> tuple[list[float], list[list[float]]]:
    """The entries that have a list of finite numbers under a key, of a length if it is given."""
    kept = []
    for entry in entries:
        row = entry.get(key)
        if not isinstance(row, list) or not row or length not in (None, len(row)):
            continue
        if all(isinstance(v, (int, float)) and math.isfinite(v) for v in row):
            kept.append((float(entry["iteration"]), [float(v) for v in row]))
    return [x for x, _ in kept], [row for _, row in kept]


# --- accuracy -----------------------------------------------------------------------------------------------


def scores_table(scores: Sequence[Score]) -> Table:
    """All evaluations of the set."""
    columns = ("network", "protocol", "accuracy, %", "95 % interval", "students", "calibration error", "images", "time")
    rows = [
        (
            s.network,
            _spaced(s.protocol),
            f"{_percent(s.mean)} ± {_percent(s.std)}",
            "-" if s.low is None else f"{_percent(s.low)} to {_percent(s.high)}",
            str(len(s.accuracies)) if s.accuracies else "-",
            said(s.calibration_error),
            "-" if s.num_images is None else f"{s.num_images:,}",
            "-" if math.isnan(s.seconds) else _duration(s.seconds),
        )
        for s in scores
    ]
    return Table("Evaluations of this set: mean ± deviation over students, after the last epoch", columns, rows)


def standing(run: RunFolder, others: Sequence[Score]) -> tuple[Chart | None, list[str]]:
    """The set beside others that students of the same recipe were trained on, and what may be said of differences."""
    score = run.score
    if score is None:
        return None, []
    same = [other for other in others if other.recipe == score.recipe]
    bars = [_bar("this set", score, own=True), *(_bar(other.name, other, own=False) for other in same)]
    bars.sort(key=lambda bar: -bar.value)
    chance = None if run.synthetic is None else ("chance", 100 / run.synthetic.num_classes)
    place = ", ".join(f"{bar.name} {bar.value:.1f}" for bar in bars)
    text = f"In percent: {place}" + (f", chance {chance[1]:.3g}." if chance else ".")
    told = []
    for other in same:
        a, b = score.accuracies, other.accuracies
        if len(a) == len(b) >= 2 and all(0 <= v <= 1 for v in (*a, *b)):
            found = compare_runs(a, b)
            told.append(
                f"This set less {other.name}: {100 * found.difference:+.2f} points (95 % interval "
                f"{100 * found.low:+.2f} to {100 * found.high:+.2f}, p = {found.p_value:.2g}, paired by seed)."
            )
    left = sorted({other.name for other in others} - {other.name for other in same})
    if left:
        told.append(f"Not shown, since nobody judged them by {' and '.join(score.recipe)}: {', '.join(left)}.")
    return bar_chart("Accuracy beside others", text, bars, x_label="accuracy, %", rule=chance), told


def _bar(name: str, score: Score, *, own: bool) -> Bar:
    low, high = (None if v is None else 100 * v for v in (score.low, score.high))
    return Bar(name, 100 * score.mean, low, high, own)


def class_charts(run: RunFolder) -> tuple[list[Chart], Table | None]:
    """Accuracy by class, the confusion matrix, and the commonest confusions."""
    score, s = run.score, run.synthetic
    if score is None or s is None or len(score.per_class) != s.num_classes:
        return [], None
    names = list(s.class_names)
    known = [(100 * v, names[i]) for i, v in enumerate(score.per_class) if not math.isnan(v)]
    charts = []
    if known:
        worst, best = min(known), max(known)
        text = f"From {worst[1]} with {worst[0]:.1f} % to {best[1]} with {best[0]:.1f} %."
        shown, title = known, "Accuracy by class"
        if len(known) > MAX_BARS:
            ordered = sorted(known)
            shown = [*ordered[-MAX_BARS // 2 :][::-1], *ordered[: MAX_BARS // 2][::-1]]
            title += f", the best and the worst {MAX_BARS // 2}"
        bars = [Bar(name, value) for value, name in shown]
        charts.append(bar_chart(title, text, bars, x_label="accuracy, %"))
    counts = score.confusion
    if len(counts) != s.num_classes:
        return charts, None
    wrong = sorted(
        ((counts[i][j], i, j) for i in range(len(counts)) for j in range(len(counts)) if i != j and counts[i][j] > 0),
        reverse=True,
    )[:10]
    if len(names) <= MAX_CELLS:
        text = "Shares of each true class." + (
            f" Most often confused: {names[wrong[0][1]]} taken for {names[wrong[0][2]]}." if wrong else ""
        )
        charts.append(confusion_chart("Confusion matrix", text, counts, names))
    rows = [(names[i], names[j], said(n), f"{100 * n / max(sum(counts[i]), 1):.1f}") for n, i, j in wrong]
    columns = ("true class", "taken for", "test images, all students", "% of the class")
    return charts, Table("Commonest confusions", columns, rows) if rows else None


# --- real data ----------------------------------------------------------------------------------------------


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


# --- provenance ---------------------------------------------------------------------------------------------


def provenance(run: RunFolder) -> list[Fact]:
    """What the numbers came from: code, versions, machine, seed, hashes."""
    facts = run.facts
    found = [
        Fact("Code", str(facts["code"])) if facts.get("code") else None,
        Fact("Device", str(facts["device"])) if facts.get("device") else None,
        Fact("Seed", str(run.config.seed)) if run.config is not None else None,
        Fact("Hash of the images", run.images_hash) if run.images_hash else None,
        Fact("Hash of the real data", str(facts["data_fingerprint"])) if facts.get("data_fingerprint") else None,
    ]
    versions = facts.get("versions")
    if isinstance(versions, dict):
        found.append(Fact("Versions", ", ".join(f"{name} {value}" for name, value in versions.items())))
    problems = facts.get("data_problems")
    if isinstance(problems, list) and problems:
        found.append(Fact("Found wrong with the data", "; ".join(map(str, problems))))
    return [fact for fact in found if fact is not None]


def _spaced(names: str) -> str:
    """A list without spaces with places to break a line."""
    return names.replace(",", ", ")


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
