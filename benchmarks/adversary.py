"""`python -m benchmarks.adversary SET`: what an adversary finds in images that stand still, and where it is worth it.

The images of a set are frozen, and samplers of every form ascend on batches of real images as they do in a run. What
counts is the squared gap at their frequencies on real images that they were not trained on, from two halves
(`halves_gap`: noise does not raise it), over the gap at fixed Gaussian frequencies. It is measured under a teacher A,
under its blends with its initial weights, and under another teacher B: a run draws another extractor in every
iteration.

Three criteria: the discrepancy as a run has it by default, which the noise of a finite batch raises too, the gap of
halves, and the same in units of its noise. Three trainings: under teacher A alone; in turns under all teachers and
their blends, one sampler for all; the same with one sampler for each teacher (frequencies.per_teacher).

Rows that the results file has already are not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

import ncfm
from benchmarks.adversary_fits import (
    FORMS,
    MEASURED,
    TRAININGS,
    Extractor,
    FeaturesOf,
    Found,
    extractors_of,
    features,
    fitted,
    measured,
)
from benchmarks.records import AdversaryRow
from ncfm.config.schema import RunConfig
from ncfm.discrepancy.frequencies import GaussianFrequencies
from ncfm.discrepancy.halves import CRITERIA
from ncfm.evaluation import interval
from ncfm.results.files import Conditions, append_rows, read_rows


class Job(NamedTuple):
    """What is fitted several times, for the rows of one line of the table."""

    training: str
    form: str
    criterion: str


class Problem(NamedTuple):
    """The set and its run, and how samplers are fitted: what all rows of a call have in common."""

    synthetic: ncfm.SyntheticSet
    config: RunConfig
    steps: int
    fits: int

    def columns(self) -> dict[str, object]:
        """Those of the rows that say so."""
        return {
            "dataset": str(self.synthetic.facts["data"]),
            "ipc": self.synthetic.ipc,
            "teacher_epochs": self.config.teachers.epochs,
            "teachers": self.config.teachers.number,
            "steps": self.steps,
            "lr": self.config.distill.adversary_lr,
            "fits": self.fits,
        }


def missing(jobs: list[Job], problem: Problem, results: Path | None) -> list[Job]:
    """The jobs of which the results file lacks rows."""
    rows = read_rows(results) if results is not None and results.is_file() else []
    same = {key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in problem.columns().items()}
    known = {
        (row["training"], row["form"], row["criterion"], row["extractor"])
        for row in rows
        if all(row[key] == value for key, value in same.items())
    }
    return [job for job in jobs if any((*job, str(extractor)) not in known for extractor in MEASURED)]


def fixed_gaps(by_extractor: Mapping[Extractor, FeaturesOf], config: RunConfig) -> dict[Extractor, Found]:
    """What fixed Gaussian frequencies find."""
    seen, f = by_extractor[Extractor(0)].seen, config.frequencies
    gaussian = GaussianFrequencies(seen.shape[-1], f.number, scale=f.scale).to(seen.device)
    return measured(gaussian, by_extractor)


def rows_of(
    job: Job,
    problem: Problem,
    fits: list[dict[Extractor, Found]],
    fixed: Mapping[Extractor, Found],
    device: torch.device,
) -> Iterator[AdversaryRow]:
    """A row for each extractor."""
    here = {k: v for k, v in asdict(Conditions.here(device)).items() if k != "peak_memory_mb"}
    for extractor in fixed:
        own = [one[extractor] for one in fits]
        ratio = interval([one.gap / fixed[extractor].gap for one in own])
        yield AdversaryRow(
            **problem.columns(),  # type: ignore[arg-type]
            **job._asdict(),
            extractor=str(extractor),
            fixed_gap=fixed[extractor].gap,
            ratio_mean=ratio.mean,
            ratio_std=ratio.std,
            ratio_low=ratio.low,
            ratio_high=ratio.high,
            modulus_squared=sum(one.modulus_squared for one in own) / len(own),
            frequency_rms=sum(one.rms for one in own) / len(own),
            **here,
        )


def parsed() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adversary", description=__doc__)
    parser.add_argument("set")
    parser.add_argument("--steps", type=int, default=100, help="for each teacher that is drawn from")
    parser.add_argument("--fits", type=int, default=3)
    parser.add_argument("--teachers", type=int, default=2, help="at least 2: the first two are A and B")
    parser.add_argument("--teacher-epochs", type=int, help="default: the recipe's")
    parser.add_argument("--per-class", type=int, default=1000, help="real images, of which half are held out")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--criteria", nargs="+", choices=CRITERIA, default=list(CRITERIA))
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--results", type=Path, help="append rows to this file (results/adversary.csv)")
    options = parser.parse_args()
    if options.teachers < 2:
        parser.error("--teachers must be at least 2")
    return options


def main() -> None:
    """Train every form by every criterion several times, print the table, append the rows."""
    options = parsed()
    synthetic = ncfm.load(options.set)
    config = RunConfig.model_validate(synthetic.facts["config"])
    longer = {} if options.teacher_epochs is None else {"epochs": options.teacher_epochs}
    teachers = config.teachers.model_copy(update={"number": options.teachers, **longer})
    problem = Problem(synthetic, config.model_copy(update={"teachers": teachers}), options.steps, options.fits)
    jobs = missing(
        [Job(*names) for names in product(options.trainings, options.forms, options.criteria)], problem, options.results
    )
    if not jobs:
        Console().print(f"{options.results} has all rows.", soft_wrap=True)
        return
    wanted = extractors_of([job.training for job in jobs], options.teachers)
    by_extractor = features(synthetic, problem.config, wanted, options.per_class)
    fixed = fixed_gaps(by_extractor, problem.config)
    table = Table("training", "form", "criterion", *map(str, fixed), "|Phi|^2", "rms of t")
    table.add_row("-", "fixed (gap)", "-", *(f"{one.gap:.4f}" for one in fixed.values()))
    for job in jobs:
        fits = [
            fitted(job.form, job.criterion, job.training, by_extractor, problem.config, steps=problem.steps, fit=fit)
            for fit in range(problem.fits)
        ]
        rows = list(rows_of(job, problem, fits, fixed, by_extractor[Extractor(0)].seen.device))
        if options.results:
            append_rows(options.results, rows)
        cells = (f"{row.ratio_mean:.2f} ± {row.ratio_std:.2f}" for row in rows)
        table.add_row(*job, *cells, f"{rows[0].modulus_squared:.3f}", f"{rows[0].frequency_rms:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
