"""Assembly of the sections of the report."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from ncfm._utils.progress import counted
from ncfm.report import accuracy, curves, summary
from ncfm.report import images as pictures
from ncfm.report import nearest_real as nearest
from ncfm.report.axes import Chart
from ncfm.report.folding import CHARTS, NOTHING, Fold, fold
from ncfm.report.page import Page
from ncfm.report.real_data import RealComparison
from ncfm.report.run_folder import RunFolder
from ncfm.report.scores import Score
from ncfm.report.settings import settings_table
from ncfm.results.files import today


def make_page(run: RunFolder, others: Sequence[Score] = (), real: RealComparison | None = None) -> Page:
    """All sections of the report; the reasons for missing ones are added to ``run.missing``."""
    rows, rows_note = pictures.class_rows(run, real)
    comparison, differences = accuracy.comparison(run, others)
    by_class, confused = accuracy.class_charts(run)
    chart_of_features, features_note = (None, "") if real is None else nearest.feature_map(real)
    verdict, has_copies = ("", False) if real is None else nearest.verdict(run, real)
    animation = pictures.animation_view(run)
    return Page(
        title=run.name,
        lead=_lead(run),
        accuracy=summary.accuracy_fact(run),
        facts=summary.headline_facts(run),
        load=f"import ncfm\n\nimages, labels = ncfm.load({json.dumps(run.place)}).decoded()",
        evaluate=shlex.join(["ncfm", "evaluate", run.place, "--runs", "5"]),
        rows=rows,
        rows_note=rows_note,
        animation=animation,
        curves=_folded(curves.metric_charts(run)),
        frequencies=_folded(curves.diagnosis_charts(run)),
        comparison=comparison,
        scores=accuracy.scores_table(run.scores) if run.scores else None,
        differences=differences,
        per_class=by_class,
        confused=confused,
        map=chart_of_features,
        map_note=features_note,
        class_names=() if real is None else real.class_names,
        verdict=verdict,
        has_copies=has_copies,
        distances=NOTHING if real is None else nearest.distance_charts(real),
        copy_detection_note="" if real is None else nearest.copy_detection_note(run, real),
        pairs=NOTHING if real is None else nearest.pair_views(real),
        settings=settings_table(run),
        provenance=summary.provenance(run),
        command=str(run.facts.get("command", "")),
        reproduce_command=summary.reproduce_command(run),
        missing=run.missing,
        written_by=f"Written by ncfm report on {today()}.",
    )


def _folded(charts: Sequence[Chart]) -> Fold[Chart]:
    """The charts of a section."""
    return fold(charts, CHARTS, "chart", lambda chart: chart.title)


def _lead(run: RunFolder) -> str:
    data, ipc = run.data or "unknown data", run.ipc
    what = f"{counted(ipc, 'image')} per class" if ipc is not None else "Images"
    if run.finished:
        return f"{what} distilled from {data}."
    return f"{what} from {data}. This run is not finished; the report shows its current state."
