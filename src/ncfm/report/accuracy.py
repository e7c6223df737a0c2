"""Evaluations of the set, compared with other sets, and by class."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ncfm.evaluation.statistics import compare_runs
from ncfm.report.axes import Chart, as_text
from ncfm.report.charts import Bar, bar_chart
from ncfm.report.class_charts import MAX_CELLS, confusion_chart
from ncfm.report.page import Table
from ncfm.report.run_folder import RunFolder
from ncfm.report.scores import Score
from ncfm.results.formatting import duration, interval_of, mean_of, spaced

MAX_BARS = 24  # maximum of classes with a bar


def scores_table(scores: Sequence[Score]) -> Table:
    """All evaluations of the set."""
    columns = ("network", "protocol", "accuracy, %", "95 % interval", "runs", "calibration error", "images", "time")
    rows = [
        (
            s.network,
            spaced(s.protocol),
            mean_of(s.mean, s.std, s.low),
            interval_of(s.low, s.high),
            str(len(s.accuracies)) if s.accuracies else "-",
            as_text(s.calibration_error),
            "-" if s.num_images is None else f"{s.num_images:,}",
            "-" if math.isnan(s.seconds) else duration(s.seconds),
        )
        for s in scores
    ]
    caption = "Evaluations of this set: mean ± standard deviation over evaluation networks, after the last epoch"
    return Table(caption, columns, rows)


def comparison(run: RunFolder, others: Sequence[Score]) -> tuple[Chart | None, list[str]]:
    """A chart of the set and others that were evaluated by the same protocol, and sentences about the differences."""
    score = run.score
    if score is None:
        return None, []
    same = [other for other in others if other.setup == score.setup]
    bars = [_bar("this set", score, own=True), *(_bar(other.name, other, own=False) for other in same)]
    bars.sort(key=lambda bar: -bar.value)
    chance = None if run.synthetic is None else ("chance", 100 / run.synthetic.num_classes)
    place = ", ".join(f"{bar.name} {bar.value:.1f}" for bar in bars)
    text = f"In percent: {place}" + (f", chance {chance[1]:.3g}." if chance else ".")
    differences = []
    for other in same:
        a, b = score.accuracies, other.accuracies
        if len(a) == len(b) >= 2 and all(0 <= v <= 1 for v in (*a, *b)):
            found = compare_runs(a, b)
            differences.append(
                f"This set minus {other.name}: {100 * found.difference:+.2f} points (95 % interval "
                f"{100 * found.low:+.2f} to {100 * found.high:+.2f}, p = {found.p_value:.2g}, paired by seed)."
            )
    left = sorted({other.name for other in others} - {other.name for other in same})
    if left:
        differences.append(f"Not shown, since not evaluated with {' and '.join(score.setup)}: {', '.join(left)}.")
    title = "Accuracy of this set and others" if same else "Accuracy of this set"
    return bar_chart(title, text, bars, x_label="accuracy, %", rule=chance), differences


def _bar(name: str, score: Score, *, own: bool) -> Bar:
    low, high = (None if v is None else 100 * v for v in (score.low, score.high))
    return Bar(name, 100 * score.mean, low, high, own)


def class_charts(run: RunFolder) -> tuple[list[Chart], Table | None]:
    """Accuracy by class, the confusion matrix, and the most frequent confusions."""
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
            f" Most frequent: {names[wrong[0][1]]} predicted as {names[wrong[0][2]]}." if wrong else ""
        )
        charts.append(confusion_chart("Confusion matrix", text, counts, names))
    rows = [(names[i], names[j], as_text(n), f"{100 * n / max(sum(counts[i]), 1):.1f}") for n, i, j in wrong]
    columns = ("true class", "predicted as", "test images, all networks", "% of the class")
    return charts, Table("Most frequent confusions", columns, rows) if rows else None
