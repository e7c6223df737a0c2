"""Comparisons: methods at the same storage, under the same recipe, with rows for results files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.locks import sole_user
from ncfm._utils.progress import Reporter, Silent
from ncfm.config.methods import Method, method_named, read_ablation
from ncfm.config.resolve import Settings
from ncfm.data.image_set import ImageSet
from ncfm.results.checking import check_results
from ncfm.results.files import append_rows
from ncfm.results.rows import AccuracyRow
from ncfm.synthetic.counts import IpcSpec, Spec, checked_spec, counts_for
from ncfm.synthetic.folders import CONFIG_FILE
from ncfm.workflows.defaults import Asked, Prepared, described
from ncfm.workflows.jobs import Job, Pools, check_job, score_job
from ncfm.workflows.scored import Scored, accuracy_row

MOST_SEEDS = 1000


def compare(
    data: str | ImageSet,
    *,
    ipc: IpcSpec,
    methods: Sequence[str] = ("ncfm", "random", "herding", "mosaic", "full"),
    ablations: Sequence[str] = (),
    seeds: int = 1,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    results: str | Path | None = None,
    reporter: Reporter | None = None,
) -> list[Scored]:
    """Compare methods: the same storage, the same students, the same recipe.

    Two names for the same settings, such as the default in two ablations, make one set.

    Args:
        data, ipc, recipe, settings, seed, data_dir, reporter: as in `distill`; settings hold for all methods and
            override their own. ``{"distill.seconds": 600}`` gives every method the same time, without teachers.
        methods: names of `ncfm.config.methods.METHODS`, or ``module:callable`` for an objective of your own in the
            loop of NCFM; may be empty if there are ablations.
        ablations: names of `ncfm.config.methods.ablation_names`, or paths: their variants come after the methods.
        seeds: sets made by each method, with seeds from ``seed`` on; teachers and experts are the same for all.
        out: folder with a run folder for every method; methods that it already has are not run again.
        results: a CSV file to which a row for every method and seed is appended.

    Returns:
        A result for every method and seed; `entries` joins the seeds.

    Raises:
        NcfmError: for unknown methods, ablations, data or settings, or if ``out`` has sets made from other images.
    """
    spec = checked_spec(ipc)
    check_at_least(seeds, 1, "seeds")
    if seeds > MOST_SEEDS:
        raise InputError(f"Expected at most {MOST_SEEDS} seeds, got {seeds:,}; each makes a set by every method.")
    chosen = choose_methods(methods, ablations)
    check_results(results, AccuracyRow)
    folder, reporter = None if out is None else Path(out).expanduser(), reporter or Silent()
    distils = any(method.distils for method in chosen.values())
    asked = Asked(data, spec, recipe, settings or {}, seed, distils)
    before = asked.before_data(_any_run(folder))
    with sole_user(folder):
        prepared = asked.prepare(before, data_dir, reporter)
        images, machine = prepared.images, prepared.machine
        jobs = [
            _job(name, method, repeat, asked, prepared, folder)
            for name, method in chosen.items()
            for repeat in range(seeds)
        ]
        counts = counts_for(spec, images.train.counts)
        spec = counts if isinstance(counts, int) else spec  # equal classes are one number
        jobs = _in_known_places(jobs)
        for job in jobs:  # before minutes of work
            check_job(job, images, machine, spec)
        asked.name_unread([job.config for job in jobs if job.method.distils], reporter)
        return _score_all(jobs, Pools(images, machine, reporter), spec, None if results is None else Path(results))


def _job(name: str, method: Method, repeat: int, asked: Asked, prepared: Prepared, folder: Path | None) -> Job:
    """The job of a method with the seed of a repeat, which counts from the configured seed; teachers are shared."""
    config, choices = prepared.config, prepared.choices
    shared = {"teachers.seed": config.seed} if repeat else {}
    own = method.settings_over(config, {**shared, **asked.settings})
    of_job = replace(asked, settings=own, seed=config.seed + repeat).config(choices)
    return Job(name, method, of_job, _folder_of(name, folder, repeat), described(choices))


def _in_known_places(jobs: Sequence[Job]) -> list[Job]:
    """The jobs in the folders of an earlier comparison, which may have given the same result another name."""
    found = []
    for job in jobs:
        places = [other.place for other in jobs if other.same == job.same]
        known = next((place for place in places if place is not None and place.exists()), job.place)
        found.append(replace(job, place=known))
    return found


def _score_all(jobs: Sequence[Job], pools: Pools, spec: Spec, results: Path | None) -> list[Scored]:
    """The results of jobs, in their order, each appended to a results file; jobs with the same result run once."""
    scored: list[Scored] = []
    made: dict[tuple[str, str], Scored] = {}
    for job in jobs:
        if job.same not in made:
            made[job.same] = score_job(job, pools, spec)
            if results is not None:
                counts = counts_for(spec, pools.images.train.counts)
                append_rows(results, [accuracy_row(made[job.same], pools.images.name, counts, job.config)])
        scored.append(replace(made[job.same], name=job.name))
    return scored


def _any_run(folder: Path | None) -> Path | None:
    """A run folder of an earlier comparison, whose choices hold for the others; None if there is none."""
    found = [] if folder is None else sorted(folder.glob(f"*/{CONFIG_FILE}"))
    return found[0].parent if found else None


def choose_methods(methods: Sequence[str], ablations: Sequence[str]) -> dict[str, Method]:
    """Methods by the names of their table rows: those of `method_named`, and ``ablation: variant``.

    Raises:
        NcfmError: for unknown ones, or none at all.
    """
    check_at_least(len(methods) + len(ablations), 1, "number of methods")
    chosen = {name: method_named(name) for name in methods}
    for ablation in ablations:
        for label, method in read_ablation(ablation).items():
            chosen[f"{Path(ablation).stem}: {label}"] = method
    return chosen


def _folder_of(name: str, folder: Path | None, repeat: int) -> Path | None:
    """The run folder of a method; later seeds have folders next to it."""
    if folder is None:
        return None
    plain = re.sub(r"[^A-Za-z0-9.=]+", "-", name).strip("-")
    return folder / (plain if repeat == 0 else f"{plain}.seed{repeat}")
