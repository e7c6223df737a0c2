"""Curves of the logged metrics, and diagnosis of the learned frequencies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ncfm.report.axes import Chart, as_text
from ncfm.report.charts import Line, line_chart, running_mean
from ncfm.report.run_folder import RunFolder

METRICS = {
    "discrepancy": ("Discrepancy", "NCFD, mean over classes"),
    "calibration": ("Calibration", "cross-entropy under a teacher, nats"),
    "gap": ("Distance of student and expert", "squared, 1 at the start of the student"),
    "step_size": ("Learned step size of the student", "learning rate"),
    "start": ("Start of students", "epoch of the expert"),
}
"""Title and axis label by logged metric. Amplitude and phase share a chart."""


def metric_charts(run: RunFolder) -> list[Chart]:
    """Charts of the metrics that a run logged over its iterations."""
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
        ends = ", ".join(f"{line.name} from {as_text(line.ys[0])} to {as_text(line.ys[-1])}" for line in lines)
        chart = line_chart(
            "Amplitude and phase",
            f"{ends[0].upper()}{ends[1:]}.",
            lines,
            x_label="iteration",
            y_label="mean squared gap",
            zero=True,
        )
        charts.insert(1, chart)
    total = _loss(run)
    if total is not None:
        charts.insert(0, _curve("Training loss", "weighted sum", *total))
    return charts


def _loss(run: RunFolder) -> tuple[list[float], list[float]] | None:
    """The training loss from its logged terms, for runs that match distributions."""
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
    """A noisy curve, with its running mean if it is long enough."""
    summary = (
        f"From {as_text(ys[0])} at iteration {as_text(xs[0])} to {as_text(ys[-1])} at iteration {as_text(xs[-1])}."
    )
    lines = [Line("as logged", xs, ys)]
    if len(xs) >= 60:
        window = len(xs) // 12
        lines = [Line("as logged", xs, ys, faint=True), Line(f"mean of {window}", xs, running_mean(ys, window))]
    return line_chart(title, summary, lines, x_label="iteration", y_label=label)


def diagnosis_charts(run: RunFolder) -> list[Chart]:
    """Charts of the learned frequencies: their spectrum, and the discrepancy there compared with fixed frequencies."""
    entries = run.diagnoses
    charts = []
    spectra = []
    for kind, name in (("learned", "learned"), ("fixed", "fixed Gaussian")):
        xs, rows = _rows(entries, f"{kind}.bandwidths", 5)
        if xs:
            low, *_, high = zip(*rows, strict=True)
            spectra.append(Line(name, xs, [row[2] for row in rows], (low, high)))
    if spectra:
        lowest, highest = (side[-1] for side in spectra[0].band or ((math.nan,), (math.nan,)))
        text = f"At the end the learned frequencies lie between {as_text(lowest)} and {as_text(highest)} (5 to 95 %)."
        label = "||t|| / √d, median, 5 to 95 %"
        charts.append(
            line_chart("Spectrum of the learned frequencies", text, spectra, x_label="iteration", y_label=label)
        )
    for field, title, label in (
        ("discrepancy", "NCFD at the learned frequencies", "NCFD, mean and range over classes"),
        ("excess", "Excess over sampling noise", "squared gap over sampling noise"),
        ("modulus", "Modulus of the real data", "mean |Φ|"),
        ("amplitude_share", "Share of the amplitude", "share of the weighted gap"),
    ):
        lines = []
        for kind, name in (("learned", "learned"), ("fixed", "fixed Gaussian")):
            xs, rows = _rows(entries, f"{kind}.{field}")
            if xs:
                means = [math.fsum(row) / len(row) for row in rows]
                lines.append(Line(name, xs, means, (list(map(min, rows)), list(map(max, rows)))))
        if lines:
            text = "; ".join(
                f"{line.name} {as_text(line.ys[0])} at first, {as_text(line.ys[-1])} at the end" for line in lines
            )
            charts.append(line_chart(title, text + ".", lines, x_label="iteration", y_label=label))
    return charts


def _column(entries: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Iterations and values of the entries with a finite number under a key."""
    pairs = [
        (float(entry["iteration"]), float(entry[key]))
        for entry in entries
        if isinstance(entry.get(key), (int, float)) and math.isfinite(entry[key])
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _rows(
    entries: Sequence[Mapping[str, Any]], key: str, length: int | None = None
) -> tuple[list[float], list[list[float]]]:
    """Iterations and rows of the entries with a list of finite numbers under a key, of a given length."""
    kept = []
    for entry in entries:
        row = entry.get(key)
        if not isinstance(row, list) or not row or length not in (None, len(row)):
            continue
        if all(isinstance(v, (int, float)) and math.isfinite(v) for v in row):
            kept.append((float(entry["iteration"]), [float(v) for v in row]))
    return [x for x, _ in kept], [row for _, row in kept]
