"""`python -m benchmarks.adversary SET`: what an adversary finds in images that stand still, and where it is worth it.

The images of a set are frozen, and samplers of several forms ascend on batches of real images under one teacher, as
they do in a run. What counts is the squared gap at their frequencies on real images that they were not trained on, from
two halves (`halves_gap`: noise does not raise it), over the gap at fixed Gaussian frequencies. It is measured under the
teacher of the ascent, under its blends with its initial weights, and under another teacher: a run draws another
extractor in every iteration.

Three criteria: the discrepancy as a run has it, which the noise of a finite batch raises too, the gap of halves, and
the same in units of its noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import ncfm
from benchmarks.records import TransferRow
from ncfm._utils.progress import Silent
from ncfm._utils.seeding import generator
from ncfm._utils.types import Interval
from ncfm.config.resolve import data_of_set
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import draw_class_batches, normalizer, to_float
from ncfm.discrepancy import characteristic_function, ncfd
from ncfm.discrepancy.frequencies import DirectFrequencies, GaussianFrequencies, ScaleMixtureFrequencies
from ncfm.discrepancy.halves import halves_gap, phi_of_halves, studentised_gap
from ncfm.evaluation import interval
from ncfm.networks.features import FeatureExtractor
from ncfm.results.files import Conditions, append_rows
from ncfm.workflows.stages import prepare, train_teachers

FORMS: dict[str, tuple[type, dict[str, object]]] = {
    "mixture": (ScaleMixtureFrequencies, {}),
    "mixture, spread 10": (ScaleMixtureFrequencies, {"spread": 10.0}),
    "mixture, free bandwidth": (ScaleMixtureFrequencies, {"fixed_bandwidth": False}),
    "direct": (DirectFrequencies, {}),
}
BLENDS = (0.2, 0.4, 0.6)  # shares of the initial weights
DRAWS = 8  # of the frequencies, that a gap is the mean of


def gap(real: Tensor, synthetic: Tensor, t: Tensor) -> Tensor:
    """`halves_gap` (C, k) of features (C, n, d) in random order and (C, m, d) at frequencies t (k, d)."""
    return halves_gap(*phi_of_halves(real, t), characteristic_function(synthetic, t))


def studentised(real: Tensor, synthetic: Tensor, t: Tensor) -> Tensor:
    """`studentised_gap` (C, k) of the same."""
    return studentised_gap(*phi_of_halves(real, t), characteristic_function(synthetic, t), real.shape[1] // 2)


CRITERIA: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "discrepancy": lambda x, y, t: ncfd(x, y, t).sum(),
    "halves": lambda x, y, t: gap(x, y, t).mean(-1).sum(),
    "studentised": lambda x, y, t: studentised(x, y, t).mean(-1).sum(),
}


class FeaturesOf(NamedTuple):
    """Features under one extractor."""

    seen: Tensor  # (C, n, d) real ones, to ascend on
    held: Tensor  # (C, n, d) real ones, to measure on
    synthetic: Tensor  # (C, m, d)


class Found(NamedTuple):
    """What there is at the frequencies of a sampler, on features."""

    gap: float  # squared, from halves
    modulus_squared: float  # of the real characteristic function
    rms: float  # of the frequencies


def ascended(
    sampler: nn.Module, criterion: str, x: Tensor, y: Tensor, *, steps: int, lr: float, batch: int, fit: int = 0
) -> None:
    """Move a sampler up for some steps, each on a batch of the real features x."""
    optimizer = torch.optim.Adam(sampler.parameters(), lr=lr, maximize=True)
    rng = generator(fit, criterion)
    for _ in range(steps):
        rows = torch.randperm(x.shape[1], generator=rng)[:batch]
        optimizer.zero_grad()
        CRITERIA[criterion](x[:, rows], y, sampler.sample(rng)).backward()
        optimizer.step()


@torch.no_grad()
def found(sampler: nn.Module, x: Tensor, y: Tensor) -> Found:
    """What is at the frequencies of a sampler."""
    rng = generator(0, "look")
    t = torch.cat([sampler.sample(rng) for _ in range(DRAWS)])
    phi = characteristic_function(x, t)
    modulus = (phi.real.square() + phi.imag.square()).mean()
    return Found(float(gap(x, y, t).mean()), float(modulus), float(t.square().mean().sqrt()))


def features(synthetic: ncfm.SyntheticSet, config: RunConfig, per_class: int) -> dict[str, FeaturesOf]:
    """Features under the first teacher ("A"), its blends, and the second teacher ("B"), by name.

    Each extractor sees the same images. Half of the real ones are held out.
    """
    images, machine = prepare(data_of_set(synthetic.facts, None), config, None)
    pool = train_teachers(images, config, machine, Silent())
    normalize = normalizer(pool.statistics, machine.device)
    decoded = synthetic.decoded().images
    at = draw_class_batches(images.train, per_class, generator(0, "real"))
    real = to_float(images.train.batch(at.flatten()))
    extractors = {"A": (0, 0.0)} | {f"A blended {beta}": (0, beta) for beta in BLENDS}
    if len(pool) > 1:
        extractors |= {"B": (1, 0.0)}
    made = {}
    for name, (index, beta) in extractors.items():
        extract = FeatureExtractor(pool.blended_at(index, beta), normalize=config.distill.normalize_features)
        x, y = (extract.without_gradient(normalize(z.to(machine.device))) for z in (real, decoded))
        seen, held = x.unflatten(0, at.shape).chunk(2, dim=1)
        made[name] = FeaturesOf(seen, held, y.unflatten(0, (images.num_classes, -1)))
    return made


def transfer(
    form: str, criterion: str, by_extractor: Mapping[str, FeaturesOf], config: RunConfig, *, steps: int, fit: int
) -> dict[str, Found]:
    """A sampler fitted under the first extractor, measured under all of them."""
    kind, settings = FORMS[form]
    of, f = by_extractor["A"], config.frequencies
    width = of.seen.shape[-1]
    sampler = kind(width, f.number, scale=f.scale, seed_generator=generator(fit, "adversary"), **settings)
    batch, lr = config.distill.real_batch_per_class, config.distill.adversary_lr
    ascended(sampler, criterion, of.seen, of.synthetic, steps=steps, lr=lr, batch=batch, fit=fit)
    return {name: found(sampler, z.held, z.synthetic) for name, z in by_extractor.items()}


def main() -> None:
    """Train every form by every criterion several times, print the table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adversary", description=__doc__)
    parser.add_argument("set")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--fits", type=int, default=3)
    parser.add_argument("--teacher-epochs", type=int, help="default: the recipe's")
    parser.add_argument("--per-class", type=int, default=1000, help="real images, of which half are held out")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/transfer.csv)")
    options = parser.parse_args()
    synthetic = ncfm.load(options.set)
    config = RunConfig.model_validate(synthetic.facts["config"])
    longer = {} if options.teacher_epochs is None else {"epochs": options.teacher_epochs}
    config = config.model_copy(update={"teachers": config.teachers.model_copy(update={"number": 2, **longer})})
    by_extractor = features(synthetic, config, options.per_class)
    width, f = by_extractor["A"].seen.shape[-1], config.frequencies
    gaussian = GaussianFrequencies(width, f.number, scale=f.scale)
    fixed = {name: found(gaussian, z.held, z.synthetic) for name, z in by_extractor.items()}
    table = Table("form", "criterion", *by_extractor, "|Phi|^2", "rms of t")
    shown = (f"{one.gap:.4f}" for one in fixed.values())
    table.add_row("fixed (gap)", "-", *shown, f"{fixed['A'].modulus_squared:.3f}", f"{fixed['A'].rms:.2f}")
    for form in FORMS:
        for criterion in CRITERIA:
            fits = [
                transfer(form, criterion, by_extractor, config, steps=options.steps, fit=fit)
                for fit in range(options.fits)
            ]
            ratios = {name: interval([one[name].gap / fixed[name].gap for one in fits]) for name in by_extractor}
            own = fits[0]["A"]
            cells = (_shown(ratio) for ratio in ratios.values())
            table.add_row(form, criterion, *cells, f"{own.modulus_squared:.3f}", f"{own.rms:.2f}")
            if options.results:
                rows = _rows(synthetic, config, form, criterion, fits, fixed, ratios, options.steps)
                append_rows(options.results, rows)
    Console().print(table)


def _shown(ratio: Interval) -> str:
    return f"{ratio.mean:.2f} ± {ratio.std:.2f}"


def _rows(
    synthetic: ncfm.SyntheticSet,
    config: RunConfig,
    form: str,
    criterion: str,
    fits: list[dict[str, Found]],
    fixed: Mapping[str, Found],
    ratios: Mapping[str, Interval],
    steps: int,
) -> list[TransferRow]:
    here = {k: v for k, v in asdict(Conditions.here(torch.device("cpu"))).items() if k != "peak_memory_mb"}
    return [
        TransferRow(
            dataset=str(synthetic.facts["data"]),
            ipc=synthetic.ipc,
            teacher_epochs=config.teachers.epochs,
            form=form,
            criterion=criterion,
            extractor=name,
            steps=steps,
            lr=config.distill.adversary_lr,
            fits=len(fits),
            fixed_gap=fixed[name].gap,
            ratio_mean=ratio.mean,
            ratio_std=ratio.std,
            ratio_low=ratio.low,
            ratio_high=ratio.high,
            modulus_squared=sum(one[name].modulus_squared for one in fits) / len(fits),
            frequency_rms=fits[0][name].rms,
            **here,
        )
        for name, ratio in ratios.items()
    ]


if __name__ == "__main__":
    main()
