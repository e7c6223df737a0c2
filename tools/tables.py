"""The layout of every Markdown table that is made from rows of results files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.records import COUNTED, DRAWS, MESSAGE

from ncfm.evaluation import interval
from ncfm.evaluation.statistics import accuracy_interval
from ncfm.results.formatting import duration, interval_of, machine_of, mean_of, of_row, part_of
from ncfm.results.published import ABLATIONS, published

# Rows keep the words of the version that wrote them; these are the words of today.
LABELS = {
    "two at once": "two processes at once",
    "short of memory": "too little memory",
    "file cut": "file truncated",
    "record cut": "record truncated",
    "two moves of each player": "two steps of each player",
    "dsdm (a memory)": "dsdm (stateful)",
    "set": "distilled dataset",
    "film": "snapshots",
    "state": "checkpoint",
    "student": "cached evaluation network",
    "training under way": "interrupted training",
    "torch data set": "torch dataset",
}


def label(words: str) -> str:
    """The words of a row in today's terms; ``, guided`` and the like stay behind them."""
    name, comma, rest = words.partition(", ")
    external = name.startswith("foreign ")
    name = f"external {name.removeprefix('foreign ')}" if external else LABELS.get(name, name)
    return name + comma + rest


def overview_table(rows: Iterable[tuple[str, dict[str, str], float | None, dict[str, str] | None]]) -> str:
    """A Markdown table of a few recipes: the README's.

    Args:
        rows: of each recipe its name, its committed row, the paper's accuracy in percent, and the row of random images
            at the same storage under the same protocol.
    """
    lines = ["| data | IPC | accuracy | 95 % interval | paper | random |", "|---|---:|---:|:---:|---:|---:|"]
    for name, row, paper, random in rows:
        part = part_of(name, row)
        data, ipc = name.split("-ipc")
        told = [f"{data} ({part} images)" if part != "all" else data, ipc.split("-")[0], *of_row(row)]
        told += ["-" if paper is None else f"{paper:.1f}", "-" if random is None else of_row(random)[0]]
        lines.append(f"| {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


def results_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of accuracy rows, in percent with 95 % intervals."""
    lines = [
        "| data | IPC | method | accuracy | 95 % interval | runs | network | protocol | teachers, s | distil, s |",
        "|---|---:|---|---:|:---:|---:|---|---|---:|---:|",
    ]
    for r in rows:
        method = r["method"] + (f" ({_spaced(r['variant'])})" if r["variant"] else "")
        lines.append(
            f"| {r['dataset']} | {r['ipc']} | {method} | {' | '.join(of_row(r))} "
            f"| {r['num_runs']} | {r['network']} | {_spaced(r['protocol'])} "
            f"| {_whole(r['teacher_seconds'])} | {_whole(r['distill_seconds'])} |"
        )
    return "\n".join(lines) + "\n"


def rows_table(rows: Iterable[tuple[str, float | None, dict[str, str] | None]]) -> str:
    """A Markdown table of what `ncfm reproduce` can run: name, the paper's accuracy in percent, the committed row.

    `planned_table` has the rows that are not committed yet.
    """
    lines = [
        "| row | paper | ours | 95 % interval | training images | evaluation | teachers, s | distil, s | machine |",
        "|---|---:|---:|:---:|---|---|---:|---:|---|",
    ]
    for name, paper, row in rows:
        told = "-" if paper is None else f"{paper:.1f}"
        if row is None:
            continue
        seconds = " | ".join(_whole(row[key]) for key in ("teacher_seconds", "distill_seconds"))
        lines.append(
            f"| {name} | {told} | {' | '.join(of_row(row))} | {part_of(name, row)} "
            f"| {row['num_runs']} x {_spaced(row['protocol'])} | {seconds} | {machine_of(row)} |"
        )
    return "\n".join(lines) + "\n"


def planned_table(rows: Iterable[tuple[str, float | None, dict[str, str] | None]]) -> str:
    """A Markdown table of rows that have not been run: name, the paper's accuracy in percent, predicted times."""
    lines = [
        "| row | paper | teachers | distillation | evaluation | total | machine |",
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
    """A Markdown table of the repository's distilled datasets: name, content of ``set.json``, bytes of pixels."""
    lines = [
        "| name | stored images | method | pixels | accuracy | 95 % interval | evaluation | hash |",
        "|---|---:|---|---:|---:|:---:|---|---|",
    ]
    for name, told, size in sets:
        facts, pixels = told["facts"], f"{size / 1000:,.0f} kB, {told['bits']} bits"
        stored = f"{len(told['class_names'])} x {told['ipc']}"
        method = facts["method"] + (f" ({_spaced(facts['variant'])})" if facts.get("variant") else "")
        lines += [
            f"| {name} | {stored} | {method} | {pixels} "
            f"| {mean_of(score['accuracy_mean'], score['accuracy_std'], score['accuracy_low'])} "
            f"| {interval_of(score['accuracy_low'], score['accuracy_high'])} "
            f"| {len(score['accuracies'])} x {_spaced(score['protocol'])} | `{told['images_hash'][:8]}` |"
            for score in told["scores"]
        ]
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


def evaluators_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of sets judged by several evaluators, the last row of each."""
    found = {(r["set"], r["evaluator"], r["epochs"]): r for r in rows}
    lines = ["| set | evaluator | accuracy | 95 % interval | students | epochs |", "|---|---|---:|:---:|---:|---:|"]
    for (name, evaluator, epochs), r in found.items():
        mean, std, low, high = (float(r[f"accuracy_{which}"]) for which in ("mean", "std", "low", "high"))
        accuracy, between = mean_of(mean, std, low), interval_of(low, high)
        lines.append(f"| {name} | {evaluator} | {accuracy} | {between} | {r['num_runs']} | {epochs} |")
    return "\n".join(lines) + "\n"


def _with_half_width(row: dict[str, str] | None) -> str:
    """The mean ratio of a row and half the width of its interval; a dash without a row."""
    if row is None:
        return "-"
    half = (float(row["ratio_high"]) - float(row["ratio_low"])) / 2 if row["ratio_high"] else math.nan
    return f"{float(row['ratio_mean']):.2f}" + ("" if math.isnan(half) else f" ± {half:.2f}")


def defaults_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of default settings on data without a recipe: distilled, herded and random images."""
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for r in rows:
        found.setdefault((r["dataset"], r["ipc"]), {})[r["method"]] = r
    if not found:
        return "Not run yet: `python -m benchmarks.trial --results results/defaults.csv`.\n"
    lines = [
        "| data | field | held out | IPC | distilled | herding | random | warning |",
        "|---|---|---|---:|---:|---:|---:|---|",
    ]
    for (name, ipc), methods in found.items():
        first = methods["ncfm"]
        cells = (
            f"{100 * float(methods[m]['accuracy_mean']):.1f} ± {100 * float(methods[m]['accuracy_std']):.1f}"
            for m in ("ncfm", "herding", "random")
        )
        held, warned = ("yes" if first["held_out"] == "True" else "no"), ("yes" if first["warned"] else "-")
        lines.append(f"| {name} | {first['field']} | {held} | {ipc} | {' | '.join(cells)} | {warned} |")
    return "\n".join(lines) + "\n"


def ledger_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of published sets that were re-evaluated, with real images at the same storage."""
    lines = [
        "| set | data | IPC | method | published | here | 95 % interval | random | herding | evaluation |",
        "|---|---|---:|---|---:|---:|:---:|---:|---:|---|",
    ]
    for r in sorted(rows, key=lambda r: (r["dataset"], float(r["ipc"]), r["method"], r["name"])):
        here, random, herding = (_accuracy_of(r, name) for name in ("accuracy", "random", "herding"))
        between = interval_of(_number(r["accuracy_low"]), _number(r["accuracy_high"]))
        stored = f" ({r['normalized_by']})" if r["normalized_by"] else ""
        lines.append(
            f"| {r['name']}{stored} | {r['dataset']} | {r['ipc']} | {r['method']} | {r['published'] or '-'} "
            f"| {here} | {between} | {random} | {herding} | {r['num_runs']} x {_spaced(r['protocol'])} |"
        )
    return "\n".join(lines) + "\n"


def _accuracy_of(row: dict[str, str], name: str) -> str:
    """An accuracy of a ledger's row with its standard deviation."""
    return mean_of(float(row[f"{name}_mean"]), float(row[f"{name}_std"] or "nan"), _number(row[f"{name}_low"]))


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def networks_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of networks trained on one distilled dataset, with the paper's accuracies where it has them."""
    lines = [
        "| data | IPC | network | accuracy | 95 % interval | paper | runs | protocol | seconds |",
        "|---|---:|---|---:|:---:|---:|---:|---|---:|",
    ]
    for r in rows:
        paper = published(r["dataset"], float(r["ipc"]), r["network"])
        lines.append(
            f"| {r['dataset']} | {r['ipc']} | {r['network']} | {' | '.join(of_row(r))} "
            f"| {'-' if paper is None else paper} "
            f"| {r['num_runs']} | {r['protocol']} | {_whole(r['evaluate_seconds'])} |"
        )
    return "\n".join(lines) + "\n"


def methods_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of methods, the best first: accuracy, and the cost of their iterations.

    The text around the table gives the time budget and the network, which the methods of a dataset share.
    """
    lines = [
        "| data | IPC | method | accuracy | 95 % interval | storage | iterations | s / iteration | distil, s "
        "| teachers or experts, s | memory, MiB |",
        "|---|---:|---|---:|:---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in sorted(rows, key=lambda row: (row["dataset"], float(row["ipc"]), -float(row["accuracy_mean"]))):
        shared = ("distill.seconds", "teachers.network")
        settings = [part for part in r["variant"].split(",") if part and not part.startswith(shared)]
        labels = re.search(r"labels=\w+", r["protocol"])  # of the evaluation networks, if not hard
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
    """A Markdown table of the cost of an iteration of NCFM and of trajectory matching.

    It has only rows of the published number of steps, which a line through the timed ones predicts.
    """
    lines = [
        "| IPC | iteration | s | relative to ncfm | process, MiB | relative to ncfm |",
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
    """A Markdown table of faults in commands, and how often the results were those of undisturbed commands."""
    lines = [
        "| fault | stage | trials | survived | iterations lost, mean (max) | temporary files left |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for r in rows:
        counted = r["stage"] == "distilling" and r["fault"] in COUNTED
        lost = f"{float(r['lost_iterations_mean']):.1f} ({r['lost_iterations_max']})" if counted else "-"
        lines.append(
            f"| {label(r['fault'])} | {r['stage']} | {r['tried']} | {r['survived']} | {lost} | {r['left_behind']} |"
        )
    return "\n".join(lines) + "\n"


def fuzz_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of readers and the damaged files that they received, with a sum; of a reader its last row."""
    lines = ["| reader | inputs | accepted | rejected | findings |", "|---|---:|---:|---:|---:|"]
    found = {row["reader"]: row for row in rows}.values()
    total = {name: str(sum(int(r[name]) for r in found)) for name in ("inputs", "read", "refused", "findings")}
    for r in (*found, {"reader": "all", **total}):
        lines.append(f"| {label(r['reader'])} | {r['inputs']} | {r['read']} | {r['refused']} | {r['findings']} |")
    return "\n".join(lines) + "\n"


def ranks_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of the difference of several ranks to one process; the last of rows that compared the same."""
    found = {(r["case"], int(r["ranks"]), int(r["iterations"])): r for r in rows if r["difference_max"]}
    lines = [
        "| case | ranks | iterations | furthest pixel | after a last-bit change | repeatable |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for (case, ranks, iterations), r in found.items():
        values = (float(r[name]) for name in ("difference_max", "rounding_max"))
        furthest, rounding = (f"{value:.1e}" if value else "0" for value in values)
        twice = "yes" if r["same_twice"] == "True" else "**no**"
        lines.append(f"| {label(case)} | {ranks} | {iterations} | {furthest} | {rounding} | {twice} |")
    return "\n".join(lines) + "\n"


PLANNED = "10 classes, 64 px, IPC 10, width 128, 64 real images, 1024 frequencies"


def scaling_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of the time that ranks took; the last of rows that timed the same."""
    found = {(r["case"], int(r["ranks"])): r for r in rows if r["seconds_median"]}
    lines = ["| case | ranks | seconds per iteration | speedup | machine |", "|---|---:|---:|---:|---|"]
    for (case, ranks), r in found.items():
        faster = f"{float(r['speedup']):.2f}" if r["speedup"] else "-"
        lines.append(f"| {case} | {ranks} | {float(r['seconds_median']):.3g} | {faster} | {r['device']} |")
    return "\n".join(lines) + "\n"


def plan_table(rows: Iterable[dict[str, str]], iterations: int, counts: Sequence[int]) -> str:
    """A Markdown table of predicted times for ImageNet-1K at 64 px, ten images per class, by number of cores.

        seconds per iteration (N) = draws + message + 1000 / N * (m T(m)) / 10,

    T(m) is the timed iteration of ten such classes by m ranks, which includes the contention of cores of one machine.
    A single core has no contention.
    """
    found = {
        (row["case"].partition(" (")[0], int(row["ranks"])): float(row["seconds_median"])
        for row in rows
        if row["seconds_median"]
    }
    lines = [
        f"| cores | seconds per iteration | distributed share | {iterations:,} iterations, hours |",
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


USUAL = "default"


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


def _spaced(settings: str) -> str:
    """Settings with spaces behind their commas, so that a narrow cell can wrap them."""
    return ", ".join(settings.split(","))


def _whole(text: str) -> str:
    return f"{float(text):.0f}" if text else "-"
