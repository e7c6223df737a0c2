"""Adversaries fitted to images that stand still, and what is found at their frequencies under an extractor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

import ncfm
from ncfm._utils.progress import Silent
from ncfm._utils.seeding import generator
from ncfm.config.resolve import data_of_set
from ncfm.config.samplers import build_sampler
from ncfm.config.schema import RunConfig
from ncfm.data.class_batches import draw_class_batches
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalizer
from ncfm.discrepancy import characteristic_function
from ncfm.discrepancy.frequencies import FrequencySampler
from ncfm.discrepancy.halves import halves_gap, phi_of_halves
from ncfm.discrepancy.per_teacher import conditioned_samplers
from ncfm.distillation import Player, ascend
from ncfm.distillation.objectives import CharacteristicMatching
from ncfm.networks.features import FeatureExtractor
from ncfm.workflows.preparation import prepare, train_teachers

FORMS: dict[str, dict[str, Any]] = {
    "mixture": {"family": "mixture"},
    "mixture, spread 10": {"family": "mixture", "spread": 10.0},
    "mixture, free bandwidth": {"family": "mixture", "fixed_bandwidth": False},
    "direct": {"family": "direct"},
}
"""Learned samplers, as settings of ``frequencies`` over those of the run."""

ONE, SHARED, PER_TEACHER = TRAININGS = ("one teacher", "shared", "per teacher")
"""A sampler fitted under teacher A alone; under all teachers and their blends, drawn in turns as in a run; the same
with a sampler for each teacher."""

BLENDS = (0.0, 0.2, 0.4, 0.6, 0.8)  # shares of the initial weights that turns are drawn from
DRAWS = 8  # of the frequencies, that a gap is the mean of


class Extractor(NamedTuple):
    """A teacher with a share of its initial weights."""

    teacher: int
    blend: float = 0.0

    def __str__(self) -> str:
        name = chr(ord("A") + self.teacher)
        return f"{name} blended {self.blend:g}" if self.blend else name


MEASURED = (*(Extractor(0, blend) for blend in BLENDS[:4]), Extractor(1))
"""The extractors under which samplers are measured: teacher A, its blends, and teacher B."""


class FeaturesOf(NamedTuple):
    """Features under one extractor."""

    seen: Tensor  # (C, n, d) real ones, to ascend on
    held: Tensor | None  # (C, n, d) real ones, to measure on; None where nothing is measured
    synthetic: Tensor  # (C, m, d)


class Found(NamedTuple):
    """What there is at the frequencies of a sampler, on features."""

    gap: float  # squared, from halves
    modulus_squared: float  # of the real characteristic function
    rms: float  # of the frequencies


def extractors_of(trainings: Sequence[str], teachers: int) -> list[Extractor]:
    """The extractors that some trainings, and the measurements after them, need."""
    turns = [Extractor(teacher, blend) for teacher in range(teachers) for blend in BLENDS]
    return list(dict.fromkeys([*MEASURED, *(turns if set(trainings) - {ONE} else ())]))


def features(
    synthetic: ncfm.SyntheticSet, config: RunConfig, wanted: Sequence[Extractor], per_class: int
) -> dict[Extractor, FeaturesOf]:
    """Features under some extractors, which all see the same images. Half of the real ones are held out."""
    images, machine = prepare(data_of_set(synthetic.facts, None), config, None)
    pool = train_teachers(images, config, machine, Silent())
    normalize = normalizer(pool.statistics, machine.device)
    decoded = synthetic.decoded().images
    at = draw_class_batches(images.train, per_class, generator(0, "real"))
    real = to_float(images.train.batch(at.flatten())).unflatten(0, at.shape)
    half = per_class // 2
    made = {}
    for extractor in wanted:
        extract = FeatureExtractor(pool.blended_at(*extractor), normalize=config.distill.normalize_features)

        def under(grouped: Tensor, extract: FeatureExtractor = extract) -> Tensor:
            flat = normalize(grouped.flatten(0, 1).to(machine.device))
            return extract.without_gradient(flat).unflatten(0, grouped.shape[:2])

        held = under(real[:, half:]) if extractor in MEASURED else None
        made[extractor] = FeaturesOf(under(real[:, :half]), held, under(decoded.unflatten(0, (images.num_classes, -1))))
    return made


def sampler_of(form: str, criterion: str, training: str, config: RunConfig, width: int, fit: int) -> FrequencySampler:
    """A sampler at its start, from the seed of a fit."""
    changed = FORMS[form] | {"criterion": criterion, "per_teacher": training == PER_TEACHER}
    settings = config.frequencies.model_copy(update=changed)
    return build_sampler(settings, width, fit, config.teachers.number)


def ascended(
    sampler: FrequencySampler,
    criterion: str,
    by_extractor: Mapping[Extractor, FeaturesOf],
    *,
    steps: int,
    lr: float,
    batch: int,
    fit: int = 0,
) -> None:
    """Move a sampler up for some steps, as a run does: each under an extractor drawn from those given, on a batch."""
    objective = CharacteristicMatching(sampler, criterion=criterion)
    parameters = list(cast("nn.Module", sampler).parameters())
    player = Player(parameters, torch.optim.Adam(parameters, lr=lr, maximize=True))
    rng, turns, extractors = generator(fit, criterion), generator(fit, criterion, "turns"), list(by_extractor)
    for _ in range(steps):
        extractor = extractors[int(torch.randint(len(extractors), (), generator=turns))]
        condition(sampler, extractor)
        x = by_extractor[extractor]
        rows = torch.randperm(x.seen.shape[1], generator=rng)[:batch]
        ascend(objective, player, x.seen[:, rows], x.synthetic, rng)


def condition(sampler: FrequencySampler, extractor: Extractor) -> None:
    """Let a sampler that depends on the extractor be that of this one."""
    for one in conditioned_samplers(cast("nn.Module", sampler)):
        one.condition(*extractor)


@torch.no_grad()
def found(sampler: FrequencySampler, x: Tensor, y: Tensor) -> Found:
    """What is at the frequencies of a sampler, on features (C, n, d) in random order and (C, m, d)."""
    rng = generator(0, "look")
    t = torch.cat([sampler.sample(rng) for _ in range(DRAWS)])
    phi = characteristic_function(x, t)
    modulus = (phi.real.square() + phi.imag.square()).mean()
    gap = halves_gap(*phi_of_halves(x, t), characteristic_function(y, t)).mean()
    return Found(float(gap), float(modulus), float(t.square().mean().sqrt()))


def measured(sampler: FrequencySampler, by_extractor: Mapping[Extractor, FeaturesOf]) -> dict[Extractor, Found]:
    """What a run with this sampler would find, under each extractor with real features that were held out."""
    looks = {}
    for extractor, x in by_extractor.items():
        if x.held is not None:
            condition(sampler, extractor)
            looks[extractor] = found(sampler, x.held, x.synthetic)
    return looks


def fitted(
    form: str,
    criterion: str,
    training: str,
    by_extractor: Mapping[Extractor, FeaturesOf],
    config: RunConfig,
    *,
    steps: int,
    fit: int,
) -> dict[Extractor, Found]:
    """A sampler fitted from a seed, measured under the extractors.

    Args:
        form, criterion, training: of `FORMS`, `CRITERIA` and `TRAININGS`.
        by_extractor: features.
        config: of the run that is imitated.
        steps: per teacher that is drawn from.
        fit: the seed.
    """
    first = Extractor(0)
    drawn_from = {first: by_extractor[first]} if training == ONE else by_extractor
    seen = by_extractor[first].seen
    sampler = sampler_of(form, criterion, training, config, seen.shape[-1], fit)
    cast("nn.Module", sampler).to(seen.device)
    teachers = len({extractor.teacher for extractor in drawn_from})
    batch, lr = config.distill.real_batch_per_class, config.distill.adversary_lr
    ascended(sampler, criterion, drawn_from, steps=steps * teachers, lr=lr, batch=batch, fit=fit)
    return measured(sampler, by_extractor)
