"""The report of a run: one HTML file that holds all there is to see of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import write_text
from ncfm._utils.progress import Reporter, Silent
from ncfm.report.page import Page, render
from ncfm.reporting import accuracy, closeness, curves, pictures, summary
from ncfm.reporting.folder import RunFolder, Score, open_run, read_beside, read_own_scores, settings_table
from ncfm.reporting.real import RealLook, look_at_real
from ncfm.results.files import today

REPORT_FILE = "report.html"


class Written(NamedTuple):
    """A report on disk."""

    path: Path
    missing: dict[str, str]  # sentences, by section


def write_report(
    run: str | Path,
    *,
    out: str | Path | None = None,
    against: Sequence[str | Path] = (),
    with_data: bool = True,
    device: str | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Written:
    """Write the report of a run folder, finished or not, or of a set alone.

    What the folder lacks is left out, with a sentence that says so. Real images, the map of features and the nearest
    real images need the data and a teacher of the run's recipe, which is trained if the cache has none.

    Args:
        run: the folder.
        out: the file; default ``report.html`` in the folder.
        against: run folders whose evaluations stand beside, those by the same network and protocol.
        with_data: open the real data; without them the report takes a second.
        device: of the teacher, as in ``machine.device``.
        data_dir, reporter: as in `ncfm.distill`.

    Raises:
        NcfmError: if there is no run, or one to stand beside has never been judged.
    """
    folder = Path(run).expanduser()
    opened = open_run(folder)
    others = _others(opened, [Path(place).expanduser() for place in against])
    real = _real(opened, with_data, device, data_dir, reporter or Silent())
    path = folder / REPORT_FILE if out is None else Path(out).expanduser()
    write_text(path, render(make_page(opened, others, real)))
    return Written(path, opened.missing)


def make_page(run: RunFolder, others: Sequence[Score] = (), real: RealLook | None = None) -> Page:
    """All sections of the report; the reasons for those left out are added to ``run.missing``."""
    rows, rows_note = pictures.class_rows(run, real)
    chart, differences = accuracy.standing(run, others)
    by_class, confused = accuracy.class_charts(run)
    chart_of_features, features_note = (None, "") if real is None else closeness.feature_map(real)
    said, has_copies = ("", False) if real is None else closeness.verdict(run, real)
    film = pictures.film_view(run)
    name = run.path.resolve().name
    place = name if run.path.is_absolute() else str(run.path)  # a page tells no places of a machine
    return Page(
        title=name,
        lead=_lead(run),
        accuracy=summary.accuracy_fact(run),
        facts=summary.headline_facts(run),
        load=f"import ncfm\n\nimages, labels = ncfm.load({json.dumps(place)}).decoded()",
        evaluate=shlex.join(["ncfm", "evaluate", place, "--runs", "5"]),
        rows=rows,
        rows_note=rows_note,
        film=film,
        curves=curves.metric_charts(run),
        frequencies=curves.diagnosis_charts(run),
        standing=chart,
        scores=accuracy.scores_table(run.scores) if run.scores else None,
        differences=differences,
        per_class=by_class,
        confused=confused,
        map=chart_of_features,
        map_note=features_note,
        class_names=() if real is None else real.class_names,
        verdict=said,
        has_copies=has_copies,
        likeness=() if real is None else closeness.likeness_charts(real),
        likeness_note="" if real is None else closeness.likeness_note(run, real),
        pairs=() if real is None else closeness.pair_views(real),
        settings=settings_table(run),
        provenance=summary.provenance(run),
        command=str(run.facts.get("command", "")),
        remade=summary.remade(run),
        missing=run.missing,
        written_by=f"Written by ncfm report on {today()}.",
    )


def _lead(run: RunFolder) -> str:
    data, ipc = run.data or "unknown data", run.ipc
    what = f"{ipc} image{'s' * (ipc != 1)} per class" if ipc is not None else "Images"
    if run.finished:
        return f"{what} distilled from {data}."
    return f"{what} from {data}: this run is not finished, and what follows is how far it is."


def _others(run: RunFolder, against: Sequence[Path]) -> list[Score]:
    """Evaluations of other sets: of the comparison beside, and of the folders that are named."""
    try:
        others = read_beside(run.path)
    except NcfmError as error:
        run.missing["beside"], others = str(error), []
    for place in against:
        found = read_own_scores(place)
        if not found:
            raise NcfmError(
                f"Expected a judged run to compare with, but {place} has no scores; run ncfm evaluate on it."
            )
        others += found
    return list({(other.name, *other.recipe): other for other in others}.values())


def _real(
    run: RunFolder, with_data: bool, device: str | None, data_dir: str | Path | None, reporter: Reporter
) -> RealLook | None:
    """The look at the real data, or a sentence why there is none."""
    reason = ""
    if not with_data:
        reason = "The real data were not opened (`--no-data`)."
    elif run.synthetic is None or run.data is None:
        reason = "There is no set, or it does not say what data it was made from."
    elif run.config is None:
        reason = "The run's settings are not known, and with them neither are its teachers."
    else:
        fingerprint = run.facts.get("data_fingerprint")
        try:
            real = look_at_real(
                run.synthetic,
                run.data,
                run.config,
                class_names=run.synthetic.class_names if run.finished else None,
                fingerprint=str(fingerprint) if fingerprint else None,
                device=device,
                data_dir=data_dir,
                reporter=reporter,
            )
        except NcfmError as error:
            reason = f"The real data could not be opened or compared: {error}"
        else:
            run.synthetic = replace(run.synthetic, class_names=real.class_names)  # a state does not know them
            return real
    run.missing["data"] = reason
    return None
