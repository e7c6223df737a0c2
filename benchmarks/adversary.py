"""`python -m benchmarks.adversary SET`: what an adversary finds in images that stand still.

The images of a set are frozen, and samplers of several forms ascend on batches of real images, as they do in a run.
What counts is the gap at their frequencies on real images that they were not trained on, over the gap at fixed Gaussian
ones. Two criteria: the discrepancy as a run has it, which the noise of a finite batch raises too, and the squared gap
from two halves of the batch,

    Re (Phi_1 - Phi_y) conj(Phi_2 - Phi_y),

whose mean over batches is the squared gap to the law of the real images: independent halves share no noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import ncfm
from benchmarks.records import AdversaryRow
from ncfm._utils.progress import Silent
from ncfm._utils.seeding import generator
from ncfm.config.resolve import data_of_set
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import draw_class_batches, normalizer, to_float
from ncfm.discrepancy import characteristic_function, ncfd
from ncfm.discrepancy.frequencies import DirectFrequencies, GaussianFrequencies, ScaleMixtureFrequencies
from ncfm.networks.features import FeatureExtractor
from ncfm.results.files import Conditions, append_rows
from ncfm.workflows.stages import prepare, train_teachers

FORMS: dict[str, tuple[type, dict[str, object]]] = {
    "mixture": (ScaleMixtureFrequencies, {}),
    "mixture, spread 10": (ScaleMixtureFrequencies, {"spread": 10.0}),
    "mixture, free bandwidth": (ScaleMixtureFrequencies, {"fixed_bandwidth": False}),
    "direct": (DirectFrequencies, {}),
}
DRAWS = 8  # of the frequencies, that a gap is the mean of


def halves_gap(real: Tensor, synthetic: Tensor, t: Tensor) -> Tensor:
    """Squared gap (C, k) of the characteristic functions at t, without the bias that the sampling of x brings.

    Args:
        real: (C, n, d) in random order.
        synthetic: (C, m, d), taken as it is.
        t: (k, d).
    """
    a, b, y = (characteristic_function(z, t) for z in (real[:, ::2], real[:, 1::2], synthetic))
    return (a.real - y.real) * (b.real - y.real) + (a.imag - y.imag) * (b.imag - y.imag)


CRITERIA: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "discrepancy": lambda x, y, t: ncfd(x, y, t).sum(),
    "halves": lambda x, y, t: halves_gap(x, y, t).mean(-1).sum(),
}


def ascended(sampler, criterion: str, x: Tensor, y: Tensor, *, steps: int, lr: float, batch: int) -> None:
    """Move a sampler up for some steps, each on a batch of the real features x."""
    optimizer = torch.optim.Adam(sampler.parameters(), lr=lr, maximize=True)
    rng = generator(0, criterion)
    for _ in range(steps):
        rows = torch.randperm(x.shape[1], generator=rng)[:batch]
        optimizer.zero_grad()
        CRITERIA[criterion](x[:, rows], y, sampler.sample(rng)).backward()
        optimizer.step()


@torch.no_grad()
def found(sampler, x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """Gap from halves, squared modulus of the real characteristic function, and root mean square of t."""
    rng = generator(0, "look")
    t = torch.cat([sampler.sample(rng) for _ in range(DRAWS)])
    phi = characteristic_function(x, t)
    modulus = (phi.real.square() + phi.imag.square()).mean()
    return float(halves_gap(x, y, t).mean()), float(modulus), float(t.square().mean().sqrt())


def features(synthetic: ncfm.SyntheticSet, config: RunConfig, per_class: int) -> tuple[Tensor, Tensor]:
    """Real (C, n, d) and synthetic (C, m, d) features under the first teacher of the set's recipe, trained."""
    images, machine = prepare(data_of_set(synthetic.facts, None), config, None)
    pool = train_teachers(images, config, machine, Silent())
    extract = FeatureExtractor(pool.trained(0), normalize=config.distill.normalize_features)
    normalize = normalizer(pool.statistics, machine.device)
    decoded = synthetic.decoded().images
    at = draw_class_batches(images.train, per_class, generator(0, "real"))
    real = to_float(images.train.batch(at.flatten()))
    x, y = (extract.without_gradient(normalize(z.to(machine.device))) for z in (real, decoded))
    return x.unflatten(0, at.shape), y.unflatten(0, (images.num_classes, -1))


def main() -> None:
    """Train every form by every criterion, print the table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adversary", description=__doc__)
    parser.add_argument("set")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--results", type=Path, help="append rows to this file (results/adversary.csv)")
    options = parser.parse_args()
    synthetic = ncfm.load(options.set)
    config = RunConfig.model_validate(synthetic.facts["config"])
    d, f = config.distill, config.frequencies
    x, y = features(synthetic, config, per_class=1000)
    seen, held = x.chunk(2, dim=1)
    width = x.shape[-1]
    fixed = found(GaussianFrequencies(width, f.number, scale=f.scale), held, y)
    table = Table("form", "criterion", "gap", "over fixed", "|Phi|^2", "rms of t")
    table.add_row("fixed", "-", f"{fixed[0]:.4f}", "1", f"{fixed[1]:.3f}", f"{fixed[2]:.2f}")
    rows = []
    for name, (form, settings) in FORMS.items():
        for criterion in CRITERIA:
            sampler = form(width, f.number, scale=f.scale, seed_generator=generator(0, "adversary"), **settings)
            ascended(sampler, criterion, seen, y, steps=options.steps, lr=d.adversary_lr, batch=d.real_batch_per_class)
            gap, modulus, scale = found(sampler, held, y)
            table.add_row(name, criterion, f"{gap:.4f}", f"{gap / fixed[0]:.2f}", f"{modulus:.3f}", f"{scale:.2f}")
            rows.append(
                AdversaryRow(
                    dataset=str(synthetic.facts["data"]),
                    ipc=synthetic.ipc,
                    form=name,
                    criterion=criterion,
                    steps=options.steps,
                    lr=d.adversary_lr,
                    gap=gap,
                    gap_over_fixed=gap / fixed[0],
                    modulus_squared=modulus,
                    frequency_rms=scale,
                    **{k: v for k, v in asdict(Conditions.here(x.device)).items() if k != "peak_memory_mb"},
                )
            )
    Console().print(table)
    if options.results:
        append_rows(options.results, rows)


if __name__ == "__main__":
    main()
