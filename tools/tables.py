"""Markdown tables of what results files say."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.records import COUNTED, DRAWS, MESSAGE

from ncfm.evaluation import interval
from ncfm.results.formatting import duration, interval_of, machine_of, mean_of, of_row, part_of
from ncfm.results.published import ABLATIONS, published


def results_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of accuracy rows, in percent with 95 % intervals: what the README shows."""
    lines = [
        "| data | IPC | method | accuracy | 95 % interval | students | network | protocol | teachers, s | distil, s |",
        "|---|---:|---|---:|---|---:|---|---|---:|---:|",
    ]
    for r in rows:
        method = r["method"] + (f" ({r['variant']})" if r["variant"] else "")
        lines.append(
            f"| {r['dataset']} | {r['ipc']} | {method} | {' | '.join(of_row(r))} "
            f"| {r['num_runs']} | {r['network']} | {r['protocol']} "
            f"| {_whole(r['teacher_seconds'])} | {_whole(r['distill_seconds'])} |"
        )
    return "\n".join(lines) + "\n"


def rows_table(rows: Iterable[tuple[str, float | None, dict[str, str] | None]]) -> str:
    """A Markdown table of what `ncfm reproduce` makes: name, the paper's accuracy in percent, the committed row. Rows
    that are not committed yet are left to `planned_table`."""
    lines = [
        "| row | the paper's | ours | 95 % interval | of images | judged by | teachers, s | distil, s | machine |",
        "|---|---:|---:|---|---|---|---:|---:|---|",
    ]
    for name, paper, row in rows:
        told = "-" if paper is None else f"{paper:.1f}"
        if row is None:
            continue
        seconds = " | ".join(_whole(row[key]) for key in ("teacher_seconds", "distill_seconds"))
        lines.append(
            f"| {name} | {told} | {' | '.join(of_row(row))} | {part_of(name, row)} "
            f"| {row['num_runs']} x {row['protocol']} | {seconds} | {machine_of(row)} |"
        )
    return "\n".join(lines) + "\n"


def planned_table(rows: Iterable[tuple[str, float | None, dict[str, str] | None]]) -> str:
    """A Markdown table of rows that have not been run: name, the paper's accuracy in percent, and what they would take
    where that has been predicted."""
    lines = [
        "| row | the paper's | teachers | distilling | students | together | machine |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, paper, row in rows:
        times, machine = ["-"] * 4, "-"
        if row is not None:
            stages = [float(row[f"{stage}_seconds"]) for stage in ("teacher", "distill", "evaluate")]
            times, machine = [duration(seconds) for seconds in (*stages, sum(stages))], machine_of(row)
        lines.append(f"| {name} | {'-' if paper is None else f'{paper:.1f}'} | {' | '.join(times)} | {machine} |")
    return "\n".join(lines) + "\n"


def gallery_table(sets: Iterable[tuple[str, Mapping[str, Any], int]]) -> str:
    """A Markdown table of sets that come with the repository: name, what ``set.json`` says, bytes of pixels."""
    lines = [
        "| set | stored images | method | pixels | accuracy | 95 % interval | judged by | hash |",
        "|---|---:|---|---:|---:|---|---|---|",
    ]
    for name, told, size in sets:
        facts, pixels = told["facts"], f"{size / 1000:,.0f} kB, {told['bits']} bits"
        stored = f"{len(told['class_names'])} x {told['ipc']}"
        method = facts["method"] + (f" ({facts['variant']})" if facts.get("variant") else "")
        lines += [
            f"| {name} | {stored} | {method} | {pixels} "
            f"| {mean_of(score['accuracy_mean'], score['accuracy_std'], score['accuracy_low'])} "
            f"| {interval_of(score['accuracy_low'], score['accuracy_high'])} "
            f"| {len(score['accuracies'])} x {score['protocol']} | `{told['images_hash'][:8]}` |"
            for score in told["scores"]
        ]
    return "\n".join(lines) + "\n"


def networks_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of networks trained on one set, the paper's accuracies beside ours where it has them."""
    lines = [
        "| data | IPC | network | accuracy | 95 % interval | the paper's | students | protocol | seconds |",
        "|---|---:|---|---:|---|---:|---:|---|---:|",
    ]
    for r in rows:
        paper = published(r["dataset"], int(r["ipc"]), r["network"])
        lines.append(
            f"| {r['dataset']} | {r['ipc']} | {r['network']} | {' | '.join(of_row(r))} "
            f"| {'-' if paper is None else paper} "
            f"| {r['num_runs']} | {r['protocol']} | {_whole(r['evaluate_seconds'])} |"
        )
    return "\n".join(lines) + "\n"


def methods_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of methods side by side, the best first: accuracy, and what iterations cost.

    The budget of time and the network, which the methods of a data set share, are left to the text beside.
    """
    lines = [
        "| data | IPC | method | accuracy | 95 % interval | storage | iterations | s / iteration | distil, s "
        "| teachers or experts, s | memory, MiB |",
        "|---|---:|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for r in sorted(rows, key=lambda row: (row["dataset"], int(row["ipc"]), -float(row["accuracy_mean"]))):
        shared = ("distill.seconds", "teachers.network")
        settings = [part for part in r["variant"].split(",") if part and not part.startswith(shared)]
        labels = re.search(r"labels=\w+", r["protocol"])  # what students learn from, if not hard labels
        settings += [] if labels is None else [labels.group()]
        method = r["method"] + (f" ({', '.join(settings)})" if settings else "")
        played = r["iterations"] not in ("", "0")
        each = f"{float(r['distill_seconds']) / int(r['iterations']):.3g}" if played else "-"
        lines.append(
            f"| {r['dataset']} | {r['ipc']} | {method} | {' | '.join(of_row(r))} | {float(r['storage']):.4g} "
            f"| {r['iterations'] or '-'} | {each} | {_whole(r['distill_seconds'])} "
            f"| {_whole(r['teacher_seconds'])} | {_whole(r['distill_memory_mb'])} |"
        )
    return "\n".join(lines) + "\n"


def race_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of NCFM's iteration beside those of the trajectory matching that it was raced against.

    Only rows that tell of the published number of steps, by a line through those that were timed.
    """
    lines = [
        "| IPC | iteration | s | times ncfm's | process, MiB | times ncfm's |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    own: dict[str, dict[str, str]] = {}
    for r in rows:
        if r["implementation"] == "ncfm":
            own[r["ipc"]] = r
        elif " by " not in r["implementation"]:
            continue
        seconds, memory = (float(r[name]) for name in ("seconds_median", "peak_memory_mb"))
        usual = own[r["ipc"]]
        ratios = (seconds / float(usual["seconds_median"]), memory / float(usual["peak_memory_mb"]))
        slower, larger = ("-", "-") if r is usual else (f"{ratio:.3g}" for ratio in ratios)
        name = r["implementation"].split(" by ")[0]
        lines.append(f"| {r['ipc']} | {name} | {seconds:.3g} | {slower} | {memory:.0f} | {larger} |")
    return "\n".join(lines) + "\n"


def faults_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of what happened to commands, and how often they ended as if nothing had."""
    lines = [
        "| fault | to | tried | survived | iterations lost, mean (most) | temporary files left |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for r in rows:
        counted = r["stage"] == "distilling" and r["fault"] in COUNTED
        lost = f"{float(r['lost_iterations_mean']):.1f} ({r['lost_iterations_max']})" if counted else "-"
        lines.append(f"| {r['fault']} | {r['stage']} | {r['tried']} | {r['survived']} | {lost} | {r['left_behind']} |")
    return "\n".join(lines) + "\n"


def fuzz_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of readers and the damaged files that they were given, with a sum."""
    lines = ["| reader | inputs | read | refused | findings |", "|---|---:|---:|---:|---:|"]
    found = list(rows)
    total = {name: str(sum(int(r[name]) for r in found)) for name in ("inputs", "read", "refused", "findings")}
    for r in (*found, {"reader": "all", **total}):
        lines.append(f"| {r['reader']} | {r['inputs']} | {r['read']} | {r['refused']} | {r['findings']} |")
    return "\n".join(lines) + "\n"


def ranks_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of what several ranks came to beside one process; the last of rows that compared the same."""
    found = {(r["case"], int(r["ranks"]), int(r["iterations"])): r for r in rows if r["difference_max"]}
    lines = [
        "| what | ranks | iterations | furthest pixel | by a last bit in the teachers | same twice |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for (case, ranks, iterations), r in found.items():
        values = (float(r[name]) for name in ("difference_max", "rounding_max"))
        furthest, rounding = (f"{value:.1e}" if value else "0" for value in values)
        twice = "yes" if r["same_twice"] == "True" else "**no**"
        lines.append(f"| {case} | {ranks} | {iterations} | {furthest} | {rounding} | {twice} |")
    return "\n".join(lines) + "\n"


PLANNED = "10 classes, 64 px, IPC 10, width 128, 64 real images, 1024 frequencies"


def scaling_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of how long ranks took; the last of rows that timed the same."""
    found = {(r["case"], int(r["ranks"])): r for r in rows if r["seconds_median"]}
    lines = ["| iteration of | ranks | seconds | times faster | machine |", "|---|---:|---:|---:|---|"]
    for (case, ranks), r in found.items():
        faster = f"{float(r['speedup']):.2f}" if r["speedup"] else "-"
        lines.append(f"| {case} | {ranks} | {float(r['seconds_median']):.3g} | {faster} | {r['device']} |")
    return "\n".join(lines) + "\n"


def plan_table(rows: Iterable[dict[str, str]], iterations: int, counts: Sequence[int]) -> str:
    """A Markdown table of ImageNet-1K at 64 px, ten images a class, over so many cores, from what was timed.

        seconds of an iteration (N) = draws + message + 1000 / N * (m T(m)) / 10,

    T(m) the iteration of ten such classes by as many ranks as were timed, which has in it what cores of one machine
    take from each other; one core alone is as fast as it was alone.
    """
    found = {
        (row["case"].partition(" (")[0], int(row["ranks"])): float(row["seconds_median"])
        for row in rows
        if row["seconds_median"]
    }
    lines = [
        f"| cores | seconds of an iteration | of it shared out | {iterations:,} iterations, hours |",
        "|---:|---:|---:|---:|",
    ]
    if (PLANNED, 1) not in found:
        return "\n".join(lines) + "\n"
    message = max(seconds for (case, _), seconds in found.items() if case == MESSAGE)
    timed = max(ranks for case, ranks in found if case == PLANNED)
    for count in counts:
        ranks = min(count, timed)
        share = 1000 / count * ranks * found[PLANNED, ranks] / 10
        whole = found[DRAWS, 1] + (message if count > 1 else 0.0) + share
        lines.append(f"| {count} | {whole:.3g} | {100 * share / whole:.1f} % | {whole * iterations / 3600:.3g} |")
    return "\n".join(lines) + "\n"


class Ablated(NamedTuple):
    """A variant of an ablation, over the seeds of its sets."""

    ablation: str
    variant: str
    accuracies: dict[int, float]  # of a set's students, in the mean, by seed; fractions


def ablation_table(variants: Sequence[Ablated], usual: dict[int, float]) -> str:
    """A Markdown table of variants beside the usual form.

    Intervals are over sets, not students: three sets of one variant are three numbers. The difference from ``usual``,
    the accuracies of the usual form by seed, is taken seed by seed, as sets of one seed start from the same images.
    """
    lines = [
        "| ablation | variant | accuracy | 95 % interval | less the usual form | 95 % interval | the paper's |",
        "|---|---|---:|---|---:|---|---:|",
    ]
    for v in variants:
        own = interval(list(v.accuracies.values()))
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


def gap_table(variants: Mapping[str, Sequence[dict[str, str]]]) -> str:
    """A Markdown table of switches, each a set a seed, beside the first, which has none: what they are worth, and what
    the best of several looks at the test split would add.

    Intervals are over sets; differences are taken seed by seed. Where nobody looked on the way, that is left out.
    """
    looked = any(row["accuracy_best_mean"] for rows in variants.values() for row in rows)
    lines = [
        "| switch | sets | last epoch | worth | 95 % interval |" + " best of 20 looks adds |" * looked,
        "|---|---:|---:|---:|---|" + "---:|" * looked,
    ]
    ours: dict[str, float] = {}
    for name, rows in variants.items():
        by_seed = {r["seed"]: 100 * float(r["accuracy_mean"]) for r in rows}
        own = interval(list(by_seed.values()))
        gains = [float(r["accuracy_best_mean"]) - float(r["accuracy_mean"]) for r in rows if r["accuracy_best_mean"]]
        best = f" {100 * fmean(gains):+.1f} |" if gains else " - |" * looked
        worth, spread = "-", "-"
        if ours:
            gap = interval([value - ours[seed] for seed, value in by_seed.items()])
            worth, spread = f"{gap.mean:+.1f}", "-" if math.isnan(gap.low) else f"{gap.low:+.1f} to {gap.high:+.1f}"
        ours = ours or by_seed
        last = f"{own.mean:.1f} ± {own.std:.1f}" if len(rows) > 1 else f"{own.mean:.1f}"
        lines.append(f"| {name} | {len(rows)} | {last} | {worth} | {spread} |{best}")
    return "\n".join(lines) + "\n"


USUAL = "the usual form"


def variants_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of rows that share a schedule, the best first: what each says beyond what all say.

    Differences from the usual form are told seed by seed: sets of one seed share their luck, and there are few seeds.
    """
    said = [(row, row["variant"].split(",")) for row in rows]
    common = set.intersection(*(set(parts) for _, parts in said))
    groups: dict[str, dict[str, float]] = {}
    for row, parts in said:
        own = ", ".join(part for part in parts if part not in common) or USUAL
        method = "" if row["method"] == "ncfm" else f"{row['method']}: "
        groups.setdefault(method + own, {})[row["seed"]] = 100 * float(row["accuracy_mean"])
    lines = ["| settings | sets | accuracy | less the usual form, seed by seed |", "|---|---:|---:|---|"]
    usual = groups.get(USUAL, {})
    for name, by_seed in sorted(groups.items(), key=lambda group: -fmean(group[1].values())):
        less = [f"{by_seed[seed] - usual[seed]:+.1f}" for seed in sorted(by_seed, key=int) if seed in usual]
        told = "-" if name == USUAL or not less else ", ".join(less)
        lines.append(f"| {name} | {len(by_seed)} | {fmean(by_seed.values()):.1f} | {told} |")
    return "\n".join(lines) + "\n"


def _whole(text: str) -> str:
    return f"{float(text):.0f}" if text else "-"
