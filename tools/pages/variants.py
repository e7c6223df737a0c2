"""Variants of one method: rows of results/ablations.csv by their settings, for several pages."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from ncfm.config.resolve import resolve_config
from ncfm.results.files import latest
from tools.pages.sources import results

REDUCED = ("cifar10", 10, "cifar10-ipc10-reduced")  # of the ablations
USUAL = "default"


def is_of_gap(row: dict[str, str]) -> bool:
    """Whether a row is of the switches between this package and the published code."""
    return "--ablation gap" in row["command"]


def of_ablations() -> list[dict[str, str]]:
    """The last rows of all ablations but that of the gap."""
    return latest(row for row in results("ablations") if not is_of_gap(row))


def on_validation() -> list[dict[str, str]]:
    """Those of them that were evaluated on validation images, with the network of the recipe."""
    network = resolve_config(*REDUCED, None, None).evaluate.network
    return [r for r in of_ablations() if r["dataset"].endswith("@validation") and r["network"] == network]


def variants_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of rows that share a schedule, the best first, by the settings that not all of them share.

    Differences from the default form are listed per seed: datasets of one seed start alike, and there are few seeds.
    """
    said = [(row, row["variant"].split(",")) for row in rows]
    common = set.intersection(*(set(parts) for _, parts in said))
    groups: dict[str, dict[str, float]] = {}
    for row, parts in said:
        own = ", ".join(part for part in parts if part not in common) or USUAL
        method = "" if row["method"] == "ncfm" else f"{row['method']}: "
        groups.setdefault(method + own, {})[row["seed"]] = 100 * float(row["accuracy_mean"])
    lines = ["| settings | datasets | accuracy | change from default, per seed |", "|---|---:|---:|---|"]
    usual = groups.get(USUAL, {})
    for name, by_seed in sorted(groups.items(), key=lambda group: -fmean(group[1].values())):
        less = [f"{by_seed[seed] - usual[seed]:+.1f}" for seed in sorted(by_seed, key=int) if seed in usual]
        told = "-" if name == USUAL or not less else ", ".join(less)
        lines.append(f"| {name} | {len(by_seed)} | {fmean(by_seed.values()):.1f} | {told} |")
    return "\n".join(lines) + "\n"


def is_tuning(row: dict[str, str]) -> bool:
    """Whether a row is of the tuning of the fast recipes."""
    return "distill.iterations=300" in row["variant"].split(",")


def is_of_pools(row: dict[str, str]) -> bool:
    """Whether a row is of teachers for long runs."""
    return row["iterations"] == "1000" and row["protocol"] != "brief"
