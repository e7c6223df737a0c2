"""The tables of docs/explanation/gap.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from ncfm.config.methods import read_ablation
from ncfm.config.resolve import resolve_config, variant_of
from ncfm.evaluation import interval
from ncfm.results.files import latest
from ncfm.results.formatting import interval_of, mean_of
from tools.pages.results import results_table
from tools.pages.sources import results
from tools.pages.variants import REDUCED, is_of_gap, is_of_pools, on_validation, variants_table

PAGE = "docs/explanation/gap.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    longer = latest(row for row in results("ablations") if "evaluate runs/gap/" in row["command"])
    return {
        "gap": gap_table(switched(latest(filter(is_of_gap, results("ablations"))))),
        "pools": variants_table(filter(is_of_pools, on_validation())),
        "schedule": results_table(latest(filter(is_of_schedule, results("accuracy")))),
        "longer": gap_table(switched(longer)),
        "evaluators": evaluators_table(results("evaluators")),
    }


def gap_table(variants: Mapping[str, Sequence[dict[str, str]]]) -> str:
    """A Markdown table of the effect of switches, compared with the first row, which has none of them.

    It also has the gain of the best of several test evaluations, where they were made. Intervals are over distilled
    datasets; differences are taken per seed.
    """
    looked = any(row["accuracy_best_mean"] for rows in variants.values() for row in rows)
    lines = [
        "| switch | datasets | last epoch | effect | 95 % interval |" + " gain of best of 20 tests |" * looked,
        "|---|---:|---:|---:|:---:|" + "---:|" * looked,
    ]
    ours: dict[str, float] = {}
    for name, rows in variants.items():
        by_seed = {r["seed"]: 100 * float(r["accuracy_mean"]) for r in rows}
        own = interval(list(by_seed.values()))
        gains = [float(r["accuracy_best_mean"]) - float(r["accuracy_mean"]) for r in rows if r["accuracy_best_mean"]]
        best = f" {100 * fmean(gains):+.1f} |" if gains else " - |" * looked
        effect, spread = "-", "-"
        if ours:
            gap = interval([value - ours[seed] for seed, value in by_seed.items()])
            effect, spread = f"{gap.mean:+.1f}", "-" if math.isnan(gap.low) else f"{gap.low:+.1f} to {gap.high:+.1f}"
        ours = ours or by_seed
        last = f"{own.mean:.1f} ± {own.std:.1f}" if len(rows) > 1 else f"{own.mean:.1f}"
        lines.append(f"| {name} | {len(rows)} | {last} | {effect} | {spread} |{best}")
    return "\n".join(lines) + "\n"


def evaluators_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of sets judged by several evaluators, the last row of each."""
    found = {(r["set"], r["evaluator"], r["epochs"]): r for r in rows}
    lines = ["| set | evaluator | accuracy | 95 % interval | students | epochs |", "|---|---|---:|:---:|---:|---:|"]
    for (name, evaluator, epochs), r in found.items():
        mean, std, low, high = (float(r[f"accuracy_{which}"]) for which in ("mean", "std", "low", "high"))
        accuracy, between = mean_of(mean, std, low), interval_of(low, high)
        lines.append(f"| {name} | {evaluator} | {accuracy} | {between} | {r['num_runs']} | {epochs} |")
    return "\n".join(lines) + "\n"


def switched(rows: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Rows of the gap to the published code, by switch."""
    data, ipc, recipe = REDUCED
    usual = resolve_config(data, ipc, recipe, None, None)
    found = {}
    for label, method in read_ablation("gap").items():
        config = resolve_config(data, ipc, recipe, method.settings_over(usual, {}), None)
        own = [row for row in rows if row["variant"] == variant_of(data, ipc, config)]
        if own:
            found[label] = own
    return found


def is_of_schedule(row: dict[str, str]) -> bool:
    """Whether a row is of CIFAR-10 at ten images per class by its recipe, except for the length of a training."""
    of = ("cifar10", "10", "ncfm", "convnet")
    longer = row["variant"].partition("=")[0] in ("", "distill.iterations", "teachers.epochs", "teachers.number")
    by = row["protocol"] in ("quick@epochs=40", "quick@epochs=300", "ncfm-2025")
    return tuple(row[c] for c in ("dataset", "ipc", "method", "network")) == of and longer and by
