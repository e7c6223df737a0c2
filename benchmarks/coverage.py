"""`python -m benchmarks.coverage SET`: how often the reported 95 % interval holds the truth.

A set is judged anew with many seeds, as `ncfm evaluate` does. The truth is the mean of the students of all other
seeds. Every seed's interval holds it or does not; their share should be 95 %, within the interval for a share
(Wilson's). Student's t assumes normal accuracies, and that students of one seed are independent: this is the check.
Students are remembered: asked for more seeds, it trains the new ones only.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

import ncfm
from benchmarks.records import CoverageRow
from ncfm._utils.types import Interval
from ncfm.evaluation import interval
from ncfm.results.files import Conditions, append_rows

NORMAL_95 = 1.959964


def covered(seeds: Sequence[Sequence[float]]) -> list[bool]:
    """Whether the interval of each seed's accuracies holds the mean accuracy of all other seeds."""
    found = []
    for i, own in enumerate(seeds):
        others = [accuracy for j, accuracies in enumerate(seeds) if j != i for accuracy in accuracies]
        reported = interval(own)
        found.append(reported.low <= math.fsum(others) / len(others) <= reported.high)
    return found


def wilson(successes: int, number: int) -> tuple[float, float]:
    """95 % interval of a share.

    Reference:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    share, square = successes / number, NORMAL_95**2
    centre = (share + square / (2 * number)) / (1 + square / number)
    half = NORMAL_95 * math.sqrt(share * (1 - share) / number + square / (4 * number**2)) / (1 + square / number)
    return centre - half, centre + half


def main() -> None:
    """Judge with every seed, print the share, append the row."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("set")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--results", type=Path, help="append the row to this file (results/coverage.csv)")
    options = parser.parse_args()
    synthetic = ncfm.load(options.set)
    settings = {"evaluate.runs": options.runs, "evaluate.epochs": options.epochs}
    began, results = time.perf_counter(), []
    for seed in range(options.seeds):
        results.append(ncfm.evaluate(synthetic, settings=settings, seed=seed))
    all_students: Interval = interval([accuracy for result in results for accuracy in result.accuracies])
    held = covered([result.accuracies for result in results])
    low, high = wilson(sum(held), len(held))
    Console().print(
        f"{sum(held)} of {len(held)} intervals hold the truth: {sum(held) / len(held):.3f} ({low:.3f} to {high:.3f}). "
        f"Accuracy {100 * all_students.mean:.2f} ± {100 * all_students.std:.2f} %.",
        highlight=False,
    )
    if options.results:
        row = CoverageRow(
            dataset=str(synthetic.facts["data"]),
            ipc=synthetic.ipc,
            method=str(synthetic.facts.get("method", "")),
            network=results[0].network,
            protocol=results[0].protocol,
            num_runs=options.runs,
            num_seeds=options.seeds,
            share_covered=sum(held) / len(held),
            share_low=low,
            share_high=high,
            accuracy_mean=all_students.mean,
            accuracy_std=all_students.std,
            seconds=time.perf_counter() - began,
            **{k: v for k, v in asdict(Conditions.here(torch.device("cpu"))).items() if k != "peak_memory_mb"},
        )
        append_rows(options.results, [row])


if __name__ == "__main__":
    main()
