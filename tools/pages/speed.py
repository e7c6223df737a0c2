"""The tables of docs/explanation/speed.md: costs, from rows of results/cost.csv and results/profile.csv."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.scaling import LABELS, slope

from ncfm.results.formatting import machine_of
from tools.pages.sources import results, results_if_any

Row = Mapping[str, str]

FORMS = {  # of an iteration: what it is called, and the package's iteration of the same form
    "reference": ("published loop, as shipped", "ncfm, fixed"),
    "reference, memory kept": ("published loop, as shipped, freed memory kept", "ncfm, fixed"),
    "reference, learned": ("published loop, learned frequencies", "ncfm"),
    "reference, learned, memory kept": ("published loop, learned frequencies, freed memory kept", "ncfm"),
    "ncfm, fixed": ("ncfm, fixed frequencies", "ncfm, fixed"),
    "ncfm": ("ncfm, default (learned frequencies)", "ncfm"),
    "ncfm, float32": ("ncfm, float32", "ncfm"),
    "ncfm, one pass": ("ncfm, all classes in one pass", "ncfm"),
    "ncfm, memory returned": ("ncfm, freed memory returned to the system", "ncfm"),
}


PAGE = "docs/explanation/speed.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    cost = results("cost")
    return {
        "step": step_table(cost),
        "memory-of-many": memory_of_many_table(cost),
        "profile": profile_table(results_if_any("profile")),
        "kernels": kernels_table(cost),
        "growth": growth_table(cost),
        "students": cost_table(r for r in cost if r["benchmark"].startswith("students")),
        "memory": cost_table(r for r in cost if r["benchmark"] == "beyond-memory"),
        "loading": cost_table(r for r in cost if r["benchmark"] == "loading"),
    }


def step_table(rows: Iterable[Row]) -> str:
    """A Markdown table of an iteration on CIFAR-10 by its forms: those rows that count CPU seconds, the last of each.

    Ratios are taken among rows of one day and version of the code, which were measured in turns.
    """
    races: dict[tuple[str, ...], dict[str, Row]] = {}
    for r in rows:
        if r["benchmark"] == "step" and r["dataset"] == "cifar10" and r.get("cpu_seconds_median"):
            point = f"{r['real_batch_per_class']} x {r['num_frequencies']}"
            found = races.setdefault((point, machine_of(r)), {})
            if any((old["date"], old["commit"]) != (r["date"], r["commit"]) for old in found.values()):
                found.clear()
            found[r["implementation"]] = r
    lines = [
        "| real images x frequencies | iteration | CPU s | times that of ncfm | of an iteration, MiB | process, MiB "
        "| machine | date |",
        "|---|---|---:|---:|---:|---:|---|---|",
    ]
    for (point, machine), found in races.items():
        for name, (label, own) in FORMS.items():
            if name not in found:
                continue
            r = found[name]
            seconds, usual = float(r["cpu_seconds_median"]), found.get(own)
            ratio = "-" if usual is None or own == name else f"{seconds / float(usual['cpu_seconds_median']):.1f}"
            memory, whole = (f"{float(r[key]):.0f}" for key in ("iteration_memory_mb", "peak_memory_mb"))
            lines.append(
                f"| {point} | {label} | {seconds:.3g} | {ratio} | {memory} | {whole} | {machine} | {r['date']} |"
            )
    return "\n".join(lines) + "\n"


def memory_of_many_table(rows: Iterable[Row]) -> str:
    """A Markdown table of the memory of an iteration where there are many classes."""
    steps = [r for r in rows if (r["benchmark"], r["implementation"]) == ("step", "ncfm") and r["iteration_memory_mb"]]
    found = {(r["dataset"], r["ipc"], machine_of(r)): r for r in steps if int(r["num_classes"]) > 10}
    lines = [
        "| data | IPC | CPU s | of an iteration, MiB | process, MiB | machine | date |",
        "|---|---:|---:|---:|---:|---|---|",
    ]
    for (data, ipc, machine), r in found.items():
        memory, whole = (f"{float(r[key]):.0f}" for key in ("iteration_memory_mb", "peak_memory_mb"))
        seconds = float(r["cpu_seconds_median"])
        lines.append(f"| {data} | {ipc} | {seconds:.3g} | {memory} | {whole} | {machine} | {r['date']} |")
    return "\n".join(lines) + "\n"


def profile_table(rows: Iterable[Row]) -> str:
    """A Markdown table of stages, the last rows of each point and machine; an epoch also by its training image."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    clocks: set[str] = set()
    for r in rows:
        clocks.add(r["clock"])
        point = f"{r['dataset']}, IPC {r['ipc']}, {r['real_batch_per_class']} x {r['num_frequencies']}"
        stages = found.setdefault((point, r["unit"], machine_of(r)), {})
        if stages and next(iter(stages.values()))["command"] != r["command"]:
            stages.clear()
        stages[r["stage"]] = r
    clock = " or ".join(sorted(clocks)) or "seconds"
    lines = [
        f"| problem | stage | {clock} | share | GFLOP | share of the ceiling | machine | date |",
        "|---|---|---:|---:|---:|---:|---|---|",
    ]
    for (point, unit, machine), stages in found.items():
        for name, r in stages.items():
            ceiling = f"{float(r['share_of_ceiling']):.0%}" if r["share_of_ceiling"] else "-"
            lines.append(
                f"| {point} | {_stage(unit, name, r)} | {float(r['seconds']):.3g} | {float(r['share']):.0%} "
                f"| {float(r['gflop']):.3g} | {ceiling} | {machine} | {r['date']} |"
            )
    return "\n".join(lines) + "\n"


def _stage(unit: str, name: str, row: Row) -> str:
    """The name of a stage; of an iteration with the ceilings, of an epoch with its milliseconds per training image."""
    if name != "all":
        return f"{unit}: {name}"
    if unit == "iteration":
        ceilings = f"{float(row['ceiling_precision']):.0f} in {row['precision']}, {float(row['ceiling_float32']):.0f}"
        return f"**{unit}** (ceilings, GFLOP per second: {ceilings} in float32)"
    each = 1000 * float(row["seconds"]) / int(row["training_images"])
    return f"**{unit}** ({each:.2g} ms per training image)"


def kernels_table(rows: Iterable[Row]) -> str:
    """A Markdown table of milliseconds per training image by way; the last row of each way and network on a machine."""
    found = {(r["benchmark"], r["implementation"], machine_of(r)): r for r in rows if r["benchmark"][:8] == "kernels:"}
    lines = ["| network | way | ms | range | times as fast | machine | date |", "|---|---|---:|---|---:|---|---|"]
    for (benchmark, way, machine), r in found.items():
        middle, low, high = (1000 * float(r[f"seconds_{which}"]) for which in ("median", "min", "max"))
        network = f"{benchmark.partition(':')[2]}, {r['image_size']} px"
        lines.append(
            f"| {network} | {way} | {middle:.2f} | {low:.2f} to {high:.2f} "
            f"| {float(r['ratio_to_reference']):.1f} | {machine} | {r['date']} |"
        )
    return "\n".join(lines) + "\n"


def growth_curves(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of `benchmarks.scaling` by what grows, in ascending order of it: the last row of every point."""
    curves: dict[str, dict[int, Row]] = {name: {} for name in LABELS}
    for r in rows:
        kind, _, name = r["benchmark"].partition(":")
        if kind == "scaling":
            curves[name][int(r[name])] = r
    return {name: [points[size] for size in sorted(points)] for name, points in curves.items() if points}


def growth_table(rows: Iterable[Row]) -> str:
    """A Markdown table of the exponents of growth over the upper half of each curve."""
    lines = ["| | range | time | memory | machine | date |", "|---|---|---:|---:|---|---|"]
    for name, points in growth_curves(rows).items():
        upper, last = points[len(points) // 2 :], points[-1]
        time, memory = (
            f"{slope([(int(r[name]), float(r[key])) for r in upper]):.2f}"
            for key in ("seconds_median", "peak_memory_mb")
        )
        between = f"{points[0][name]} to {last[name]}"
        lines.append(f"| {LABELS[name]} | {between} | {time} | {memory} | {machine_of(last)} | {last['date']} |")
    return "\n".join(lines) + "\n"


def cost_table(rows: Iterable[Row]) -> str:
    """A Markdown table of seconds and memory by implementation: the rows of the last version of the code."""
    kept = list(rows)
    found = {(r["benchmark"], r["implementation"], machine_of(r)): r for r in kept if r["commit"] == kept[-1]["commit"]}
    lines = ["| | seconds | process, MiB | machine | date |", "|---|---:|---:|---|---|"]
    for (_, name, machine), r in found.items():
        seconds, memory = float(r["seconds_median"]), float(r["peak_memory_mb"])
        lines.append(f"| {name} | {seconds:.3g} | {memory:.0f} | {machine} | {r['date']} |")
    return "\n".join(lines) + "\n"
