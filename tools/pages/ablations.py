"""The tables of docs/explanation/ablations.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ncfm.config.methods import ablation_names, read_ablation
from ncfm.config.resolve import resolve_config, variant_of
from ncfm.evaluation import interval
from ncfm.evaluation.statistics import accuracy_interval
from ncfm.results.formatting import interval_of, machine_of, mean_of
from ncfm.results.published import ABLATIONS
from tools.pages.sources import results
from tools.pages.variants import REDUCED, is_of_pools, is_tuning, of_ablations, on_validation, variants_table

PAGE = "docs/explanation/ablations.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    found = list(ablated(of_ablations()))
    usual = next(v.accuracies for v in found if (v.ablation, v.variant) == ("minmax", "learned"))
    return {
        "results": ablation_table(found, usual),
        "variants": variants_table(r for r in on_validation() if not is_tuning(r) and not is_of_pools(r)),
        "adversary": adversary_table(results("adversary")),
        "adversary-cost": adversary_cost_table(results("cost")),
    }


class Ablated(NamedTuple):
    """A variant of an ablation, over the seeds of its distilled datasets."""

    ablation: str
    variant: str
    accuracies: dict[int, float]  # mean over the evaluation networks, by seed; fractions


def ablation_table(variants: Sequence[Ablated], usual: dict[int, float]) -> str:
    """A Markdown table of variants compared with the default form.

    Intervals are over distilled datasets, not evaluation networks: three datasets of a variant are three numbers. The
    difference from ``usual``, the accuracies of the default form by seed, is taken per seed, because datasets of one
    seed start from the same images.
    """
    lines = [
        "| ablation | variant | accuracy | 95 % interval | change from default | 95 % interval | paper |",
        "|---|---|---:|:---:|---:|:---:|---:|",
    ]
    for v in variants:
        own = accuracy_interval(list(v.accuracies.values()))
        gap = interval([value - usual[seed] for seed, value in v.accuracies.items() if seed in usual])
        same = all(usual.get(seed) == value for seed, value in v.accuracies.items())
        less = "-" if same else f"{100 * gap.mean:+.1f}"
        spread = "-" if same or math.isnan(gap.low) else f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
        paper = ABLATIONS.get((v.ablation, v.variant))
        lines.append(
            f"| {v.ablation} | {v.variant} | {mean_of(own.mean, own.std, own.low)} "
            f"| {interval_of(own.low, own.high)} | {less} | {spread} "
            f"| {'-' if paper is None else paper} |"
        )
    return "\n".join(lines) + "\n"


def adversary_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of fitted adversaries: their gap over that of fixed frequencies, by extractor, with the half
    width of the interval over fits."""
    found: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for r in rows:
        key = (r["training"], r["form"], r["criterion"], r["teacher_epochs"], r["fits"])
        found.setdefault(key, {})[r["extractor"]] = r
    extractors = list(dict.fromkeys(name for by_extractor in found.values() for name in by_extractor))
    lines = [
        f"| training | form | criterion | {' | '.join(extractors)} | epochs of the teachers | fits |",
        f"|---|---|---|{'---:|' * len(extractors)}---:|---:|",
    ]
    for (training, form, criterion, epochs, fits), by_extractor in found.items():
        cells = (_with_half_width(by_extractor.get(name)) for name in extractors)
        lines.append(f"| {training} | {form} | {criterion} | {' | '.join(cells)} | {epochs} | {fits} |")
    return "\n".join(lines) + "\n"


def _with_half_width(row: dict[str, str] | None) -> str:
    """The mean ratio of a row and half the width of its interval; a dash without a row."""
    if row is None:
        return "-"
    half = (float(row["ratio_high"]) - float(row["ratio_low"])) / 2 if row["ratio_high"] else math.nan
    return f"{float(row['ratio_mean']):.2f}" + ("" if math.isnan(half) else f" ± {half:.2f}")


def ablated(rows: list[dict[str, str]]) -> Iterator[Ablated]:
    """The package's ablations whose variants all have rows; a row belongs to a variant by its settings."""
    data, ipc, recipe = REDUCED
    usual = resolve_config(data, ipc, recipe, None, None)
    for ablation in ablation_names():
        variants = read_ablation(ablation)
        found = []
        for label, method in variants.items():
            config = resolve_config(data, ipc, recipe, method.settings_over(usual, {}), None)
            said = variant_of(data, ipc, config, method=method)
            wanted = (data, str(ipc), method.name, said, config.evaluate.protocol)
            own = [
                r for r in rows if tuple(r[c] for c in ("dataset", "ipc", "method", "variant", "protocol")) == wanted
            ]
            if own:
                found.append(Ablated(ablation, label, {int(r["seed"]): float(r["accuracy_mean"]) for r in own}))
        if len(found) == len(variants):
            yield from found


ADVERSARIES = {
    "ncfm, fixed": "fixed frequencies",
    "ncfm": "learned frequencies",
    "ncfm, per teacher": "learned frequencies, one sampler per teacher",
    "ncfm, fisher": "`fisher`",
    "ncfm, entropic": "`entropic`",
}


def adversary_cost_table(rows: Iterable[Mapping[str, str]]) -> str:
    """A Markdown table of CPU seconds of an iteration by adversary; the last race of each point and machine."""
    races: dict[tuple[str, str], dict[str, Mapping[str, str]]] = {}
    for r in rows:
        if r["benchmark"] == "step:adversaries":
            races.setdefault((r["num_frequencies"], machine_of(r)), {})[r["implementation"]] = r
    lines = [
        "| frequencies | adversary | CPU s | times that of fixed | machine | date |",
        "|---:|---|---:|---:|---|---|",
    ]
    for (number, machine), found in races.items():
        usual = float(found["ncfm, fixed"]["cpu_seconds_median"])
        for name, label in ADVERSARIES.items():
            if name not in found:
                continue
            seconds = float(found[name]["cpu_seconds_median"])
            lines.append(
                f"| {number} | {label} | {seconds:.2f} | {seconds / usual:.2f} | {machine} | {found[name]['date']} |"
            )
    return "\n".join(lines) + "\n"
