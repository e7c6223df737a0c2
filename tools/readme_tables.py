"""Rewrite the results tables from the files under results/; with --check only say whether they are up to date.

The README has the methods by their recipes, docs/results.md every row, docs/evaluation.md the networks that were
trained on one set, docs/peers.md the methods at equal time and the race with DATM, docs/ablations.md the ablations,
docs/faults.md what runs survived, gallery/README.md the sets, docs/many-machines.md what several ranks came to.
src/ncfm/results/committed.csv has the last row of each recipe, and recipes that have not been run say how long they
would take.
"""

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ncfm._utils.files import read_json
from ncfm.config.build import build_protocol
from ncfm.config.methods import ablation_names, read_ablation
from ncfm.config.recipes import RECIPES
from ncfm.config.resolve import resolve_config, variant_of
from ncfm.config.schema import dotted
from ncfm.results.files import latest, read_rows
from ncfm.results.formatting import duration, machine_of
from ncfm.workflows import rows as table_rows
from ncfm.workflows.rows import COMMITTED, Row
from tools.tables import (
    Ablated,
    ablation_table,
    faults_table,
    fuzz_table,
    gallery_table,
    gap_table,
    methods_table,
    networks_table,
    plan_table,
    planned_table,
    race_table,
    ranks_table,
    results_table,
    rows_table,
    scaling_table,
    variants_table,
)

ROOT = Path(__file__).parents[1]


def with_table(text: str, name: str, table: str) -> str:
    """The text with what is between the markers of a name replaced."""
    begin, end = f"<!-- {name}: made by `make results` -->", f"<!-- end of {name} -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{table}\n{end}{after}"


def plain(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows of methods by their recipes, beside others or alone; what one says that its recipe says too is left out."""
    found = []
    for row in rows:
        of = next((of for of in table_rows.rows() if is_of_recipe(row, of)), None)
        if of is not None:
            found.append(row | {"variant": of.schedule})
        elif is_plain(row):
            found.append(row)
    return found


def is_plain(row: dict[str, str]) -> bool:
    """Whether a row is a method by its recipe, judged as the recipe says, beside others."""
    compared = row["command"].startswith("ncfm compare") and not row["network"].endswith("-batch")
    by_recipe = "=" not in row["variant"] and "--minutes" not in row["command"]
    return compared and by_recipe and "labels=" not in row["protocol"]


def is_of_networks(row: dict[str, str]) -> bool:
    """Whether a row is one of several networks that were trained on one set by a protocol as it is pinned."""
    command = row["command"]
    return command.startswith("ncfm evaluate") and "--networks" in command and "@" not in row["protocol"]


def is_tuning(row: dict[str, str]) -> bool:
    """Whether a row is of the tuning of the fast recipes."""
    return "distill.iterations=300" in row["variant"].split(",")


def is_of_pools(row: dict[str, str]) -> bool:
    """Whether a row is of teachers for long runs."""
    return row["iterations"] == "1000" and row["protocol"] != "brief"


def is_of_schedule(row: dict[str, str]) -> bool:
    """Whether a row is of CIFAR-10 at ten images a class by its recipe but for how long something was trained."""
    of = ("cifar10", "10", "ncfm", "convnet")
    longer = row["variant"].partition("=")[0] in ("", "distill.iterations", "teachers.epochs", "teachers.number")
    by = row["protocol"] in ("quick@epochs=40", "quick@epochs=300", "ncfm-2025")
    return tuple(row[c] for c in ("dataset", "ipc", "method", "network")) == of and longer and by


def is_at_equal_time(row: dict[str, str]) -> bool:
    """Whether a row is one of methods that had the same time to distil."""
    return row["command"].startswith("ncfm compare") and "--minutes" in row["command"]


REDUCED = ("cifar10", 10, "cifar10-ipc10-reduced")  # what ablations were run on


def ablated(rows: list[dict[str, str]]) -> Iterator[Ablated]:
    """The package's ablations whose variants all have rows, which are those that say their settings."""
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


def keep(path: Path, wanted: str, stale: list[str]) -> None:
    """Write a file that says something else, unless it is only to be checked; it is then stale."""
    if path.is_file() and path.read_text(encoding="utf-8") == wanted:
        return
    stale.append(str(path.relative_to(ROOT)))
    if "--check" not in sys.argv[1:]:
        path.write_text(wanted, encoding="utf-8")


def is_of_recipe(row: dict[str, str], of: Row) -> bool:
    """Whether an accuracy row is what a recipe says: its data, protocol and network, and no other settings.

    A set that was distilled before the recipe was written down has its settings in the variant, and one that was given
    a time has that in place of iterations: where they are the recipe's, it counts.
    """
    config = resolve_config(of.data, of.ipc, of.name, None, None)
    wanted = (of.data, str(of.ipc), "ncfm", config.evaluate.network, build_protocol(config).name)
    if tuple(row[c] for c in ("dataset", "ipc", "method", "network", "protocol")) != wanted:
        return False
    settings = dotted(config)
    for part in filter(None, row["variant"].removeprefix(of.schedule).split(",")):
        key, _, value = part.partition("=")
        if key != "distill.seconds" and value != str(settings.get(key)):
            return False
    return row["variant"].startswith(of.schedule)


def committed(rows: list[dict[str, str]]) -> str:
    """Of every recipe the last accuracy row that is its own, for `ncfm reproduce` to compare with."""
    told = (
        "accuracy_mean",
        "accuracy_std",
        "accuracy_low",
        "accuracy_high",
        "num_runs",
        "network",
        "protocol",
        "training_images",
        "iterations",
    )
    told += ("teacher_seconds", "distill_seconds", "evaluate_seconds", "device", "threads", "commit", "date")
    text = io.StringIO()
    writer = csv.DictWriter(text, ("row", *told), lineterminator="\n")
    writer.writeheader()
    for of in table_rows.rows():
        own = [row for row in rows if is_of_recipe(row, of)]
        if own:
            writer.writerow({"row": of.name} | {name: own[-1].get(name, "") for name in told})
    return text.getvalue()


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


def together(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """The rows of a data set and a number of images beside each other; as in the file otherwise."""
    rows = list(rows)
    data = list(dict.fromkeys(row["dataset"] for row in rows))
    return sorted(rows, key=lambda row: (data.index(row["dataset"]), int(row["ipc"])))


def with_time(recipe: str, planned: dict[str, str] | None) -> str:
    """A recipe that has not been run, with the time it would take in its header; any other as it is."""
    lines = recipe.splitlines(keepends=True)
    before = [i for i, line in enumerate(lines) if line.startswith("# Time:")]
    for i in before:
        del lines[i : i + 2]
    places = [i for i, line in enumerate(lines) if line.startswith("# Expected: not run yet")]
    if planned is None or not places:
        return recipe
    at = places[0] + 1
    while lines[at].startswith("#  "):  # what goes on with the expectation
        at += 1
    seconds = [float(planned[f"{stage}_seconds"]) for stage in ("teacher", "distill", "evaluate")]
    teachers, distilling, students = map(duration, seconds)
    lines.insert(at, f"# Time:     about {duration(sum(seconds))} on {machine_of(planned)}: teachers {teachers},\n")
    lines.insert(at + 1, f"#           distilling {distilling}, students {students}; by a few timed steps.\n")
    return "".join(lines)


def gallery() -> Iterator[tuple[str, dict[str, Any], int]]:
    """The sets that come with the repository, by data and images a class: what they say of themselves, their bytes."""
    found = {path.parent: read_json(path) for path in (ROOT / "gallery").glob("*/set.json")}
    for folder in sorted(found, key=lambda folder: (found[folder]["facts"]["data"], found[folder]["ipc"], folder.name)):
        yield folder.name, found[folder], (folder / "images.safetensors").stat().st_size


def main() -> None:
    """Rewrite or check."""
    rows = read_rows(ROOT / "results" / "accuracy.csv")
    of_ablations = read_rows(ROOT / "results" / "ablations.csv")
    of_gap = [row for row in of_ablations if "--ablation gap" in row["command"]]
    of_gap_longer = latest(row for row in of_ablations if "evaluate runs/gap/" in row["command"])
    of_ablations = latest(row for row in of_ablations if row not in of_gap)
    found = list(ablated(of_ablations))
    usual = next(v.accuracies for v in found if (v.ablation, v.variant) == ("minmax", "learned"))
    network = resolve_config(*REDUCED, None, None).evaluate.network
    on_validation = [r for r in of_ablations if r["dataset"].endswith("@validation") and r["network"] == network]
    tuned = list(filter(is_tuning, on_validation))
    raced = [row for row in read_rows(ROOT / "results" / "cost.csv") if row["benchmark"] == "peers"]
    of_ranks = read_rows(ROOT / "results" / "ranks.csv")
    planned = {row["row"]: row for row in read_rows(ROOT / "results" / "planned.csv")}
    stale = []
    keep(COMMITTED, committed(rows), stale)
    tables = {
        ("README.md", "results"): results_table(together(latest(plain(rows)))),
        ("docs/results.md", "results"): results_table(rows),
        ("gallery/README.md", "sets"): gallery_table(gallery()),
        ("docs/reproduce.md", "rows"): rows_table(
            (of.name, of.paper, table_rows.committed_row(of.name)) for of in table_rows.rows()
        ),
        ("docs/reproduce.md", "planned"): planned_table(
            (of.name, of.paper, planned.get(of.name))
            for of in table_rows.rows()
            if not table_rows.committed_row(of.name)
        ),
        ("docs/peers.md", "results"): methods_table(latest(filter(is_at_equal_time, rows))),
        ("docs/peers.md", "race"): race_table(raced),
        ("docs/faults.md", "faults"): faults_table(read_rows(ROOT / "results" / "faults.csv")),
        ("docs/faults.md", "fuzz"): fuzz_table(read_rows(ROOT / "results" / "fuzz.csv")),
        ("docs/many-machines.md", "ranks"): ranks_table(of_ranks),
        ("docs/many-machines.md", "scaling"): scaling_table(of_ranks),
        ("docs/many-machines.md", "plan"): plan_table(of_ranks, 2000, (1, 2, 64, 256, 1000)),
        ("docs/evaluation.md", "results"): networks_table(latest(filter(is_of_networks, rows))),
        ("docs/ablations.md", "results"): ablation_table(found, usual),
        ("docs/ablations.md", "variants"): variants_table(
            [r for r in on_validation if not is_tuning(r) and not is_of_pools(r)]
        ),
        ("docs/gap.md", "gap"): gap_table(switched(latest(of_gap))),
        ("docs/gap.md", "pools"): variants_table(filter(is_of_pools, on_validation)),
        ("docs/gap.md", "schedule"): results_table(latest(filter(is_of_schedule, rows))),
        ("docs/gap.md", "longer"): gap_table(switched(of_gap_longer)),
        ("docs/reproduce.md", "tuning"): variants_table([r for r in tuned if r["protocol"] == "brief"]),
        ("docs/reproduce.md", "longer"): variants_table([r for r in tuned if r["protocol"] != "brief"]),
    }
    for (name, place), table in tables.items():
        path = ROOT / name
        keep(path, with_table(path.read_text(encoding="utf-8"), place, table), stale)
    for of in table_rows.rows():
        path = RECIPES / f"{of.name}.toml"
        keep(path, with_time(path.read_text(encoding="utf-8"), planned.get(of.name)), stale)
    if "--check" in sys.argv[1:] and stale:
        sys.exit(f"{' and '.join(stale)}: not what the files under results/ say; run `make results`.")


if __name__ == "__main__":
    main()
