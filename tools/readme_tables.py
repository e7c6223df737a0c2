"""Write the generated parts of README and docs; with --check only report whether they are up to date.

Tables come from the rows under results/, code listings from examples/extend/, and the layers of CONTRIBUTING.md from
the import contract in pyproject.toml and the docstrings of the packages. src/ncfm/results/committed.csv receives the
last row of each recipe. Headers of recipes that have not been run receive predicted times.
"""

import ast
import csv
import functools
import io
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ncfm._utils.files import read_json
from ncfm.config.build import build_protocol
from ncfm.config.keys import dotted
from ncfm.config.methods import ablation_names, read_ablation
from ncfm.config.recipes import RECIPES
from ncfm.config.resolve import resolve_config, variant_of
from ncfm.results.files import latest, read_rows
from ncfm.results.formatting import duration, machine_of
from ncfm.workflows import rows as table_rows
from ncfm.workflows.rows import COMMITTED, Row
from tools.site_tables import glance_table, grouped_tables, home_table
from tools.speed_tables import speed_tables
from tools.tables import (
    Ablated,
    ablation_table,
    adversary_table,
    defaults_table,
    faults_table,
    fuzz_table,
    gallery_table,
    gap_table,
    ledger_table,
    methods_table,
    networks_table,
    overview_table,
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
    """The text with the part between the markers of a name replaced."""
    begin, end = f"<!-- {name}: made by `make results` -->", f"<!-- end of {name} -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{table}\n{end}{after}"


def plain(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows of methods by their recipes, compared or alone, without the settings that the recipe has too."""
    found, recipes = [], table_rows.rows()
    for row in rows:
        of = next((of for of in recipes if is_of_recipe(row, of)), None)
        if of is not None:
            found.append(row | {"variant": of.schedule})
        elif is_plain(row):
            found.append(row)
    return found


def is_plain(row: dict[str, str]) -> bool:
    """Whether a row is a method by its recipe, from a comparison, evaluated as in the recipe."""
    compared = row["command"].startswith("ncfm compare") and not row["network"].endswith("-batch")
    by_recipe = "=" not in row["variant"] and "--minutes" not in row["command"]
    return compared and by_recipe and "labels=" not in row["protocol"]


def is_of_networks(row: dict[str, str]) -> bool:
    """Whether a row is one of several networks that were trained on one dataset by an unchanged protocol."""
    command = row["command"]
    return command.startswith("ncfm evaluate") and "--networks" in command and "@" not in row["protocol"]


def is_tuning(row: dict[str, str]) -> bool:
    """Whether a row is of the tuning of the fast recipes."""
    return "distill.iterations=300" in row["variant"].split(",")


def is_of_pools(row: dict[str, str]) -> bool:
    """Whether a row is of teachers for long runs."""
    return row["iterations"] == "1000" and row["protocol"] != "brief"


def is_of_schedule(row: dict[str, str]) -> bool:
    """Whether a row is of CIFAR-10 at ten images per class by its recipe, except for the length of a training."""
    of = ("cifar10", "10", "ncfm", "convnet")
    longer = row["variant"].partition("=")[0] in ("", "distill.iterations", "teachers.epochs", "teachers.number")
    by = row["protocol"] in ("quick@epochs=40", "quick@epochs=300", "ncfm-2025")
    return tuple(row[c] for c in ("dataset", "ipc", "method", "network")) == of and longer and by


def is_at_equal_time(row: dict[str, str]) -> bool:
    """Whether a row is one of methods that had the same time to distil."""
    return row["command"].startswith("ncfm compare") and "--minutes" in row["command"]


REDUCED = ("cifar10", 10, "cifar10-ipc10-reduced")  # of the ablations


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


def keep(path: Path, wanted: str, stale: list[str]) -> None:
    """Write a file whose content differs, unless this is a check, and note it as stale."""
    if path.is_file() and path.read_text(encoding="utf-8") == wanted:
        return
    stale.append(str(path.relative_to(ROOT)))
    if "--check" not in sys.argv[1:]:
        path.write_text(wanted, encoding="utf-8")


@functools.cache
def of_recipe(data: str, ipc: int, name: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What rows of a recipe have in the columns data, IPC, method, network and protocol; and all settings of it."""
    config = resolve_config(data, ipc, name, None, None)
    return (data, str(ipc), "ncfm", config.evaluate.network, build_protocol(config).name), dotted(config)


def is_of_recipe(row: dict[str, str], of: Row) -> bool:
    """Whether an accuracy row belongs to a recipe: its data, protocol and network, and no other settings.

    The variant of a dataset distilled before its recipe existed lists the settings of the recipe, and that of one with
    a time budget lists the budget. Both belong to the recipe.
    """
    wanted, settings = of_recipe(of.data, of.ipc, of.name)
    if tuple(row[c] for c in ("dataset", "ipc", "method", "network", "protocol")) != wanted:
        return False
    for part in filter(None, row["variant"].removeprefix(of.schedule).split(",")):
        key, _, value = part.partition("=")
        if key != "distill.seconds" and value != str(settings.get(key)):
            return False
    return row["variant"].startswith(of.schedule)


def committed(rows: list[dict[str, str]]) -> str:
    """The last accuracy row of every recipe, as a CSV file, for `ncfm reproduce` to compare with."""
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


def with_time(recipe: str, planned: dict[str, str] | None) -> str:
    """A recipe that has not been run, with the predicted time in its header; any other unchanged."""
    lines = recipe.splitlines(keepends=True)
    before = [i for i, line in enumerate(lines) if line.startswith("# Time:")]
    for i in before:
        del lines[i : i + 2]
    places = [i for i, line in enumerate(lines) if line.startswith("# Expected: not run yet")]
    if planned is None or not places:
        return recipe
    at = places[0] + 1
    while lines[at].startswith("#  "):  # continues the expectation
        at += 1
    seconds = [float(planned[f"{stage}_seconds"]) for stage in ("teacher", "distill", "evaluate")]
    teachers, distilling, students = map(duration, seconds)
    lines.insert(at, f"# Time:     about {duration(sum(seconds))} on {machine_of(planned)}: teachers {teachers},\n")
    rest = f"distillation {distilling}, evaluation {students}; predicted from a few timed steps."
    lines.insert(at + 1, f"#           {rest}\n")
    return "".join(lines)


def gallery() -> Iterator[tuple[str, dict[str, Any], int]]:
    """The repository's distilled datasets by data and images per class: name, content of ``set.json``, bytes."""
    found = {path.parent: read_json(path) for path in (ROOT / "gallery").glob("*/set.json")}
    for folder in sorted(found, key=lambda folder: (found[folder]["facts"]["data"], found[folder]["ipc"], folder.name)):
        yield folder.name, found[folder], (folder / "images.safetensors").stat().st_size


README_ROWS = (
    "cifar10-ipc1",
    "cifar10-ipc10",
    "cifar10-ipc50",
    "cifar100-ipc10",
    "imagenette-ipc1",
    "fashion-mnist-ipc10",
)


HOME_ROWS = ("cifar10-ipc10", "imagenette-ipc1", "fashion-mnist-ipc10")


def overview(
    rows: list[dict[str, str]], names: Sequence[str] = README_ROWS
) -> Iterator[tuple[str, dict[str, str], float | None, dict[str, str] | None]]:
    """Rows of the README or of the site's first page, each with the paper's accuracy and the last row of random images.

    Random images are those under the same conditions.
    """
    for name in names:
        of, own = table_rows.find_row(name), table_rows.committed_row(name)
        assert own is not None, name
        wanted = (of.data, str(of.ipc), "random", own["network"], own["protocol"])
        random = [r for r in rows if tuple(r[c] for c in ("dataset", "ipc", "method", "network", "protocol")) == wanted]
        yield name, own, of.paper, random[-1] if random else None


def listing(path: Path) -> str:
    """A Python file as a Markdown code block."""
    return f"```python\n{path.read_text(encoding='utf-8')}```\n"


def layers() -> str:
    """The layers of the import contract, the highest first, a block each, with the summaries of the packages."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layered,) = contract["contracts"]
    names = [[name.strip() for name in layer.split("|")] for layer in layered["layers"]]
    width = max(len(name) for layer in names for name in layer)
    blocks = ("\n".join(f"{n:<{width}}  {summary(ROOT / 'src' / 'ncfm' / n)}" for n in layer) for layer in names)
    return "```text\n" + "\n\n".join(blocks) + "\n```\n"


def summary(package: Path) -> str:
    """The first paragraph of a package's docstring, as one line."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    return " ".join((docstring or "").split("\n\n")[0].split())


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
    of_trial = ROOT / "results" / "defaults.csv"
    trial = read_rows(of_trial) if of_trial.is_file() else []
    stale = []
    keep(COMMITTED, committed(rows), stale)
    tables = {
        ("README.md", "results"): overview_table(overview(rows)),
        ("CONTRIBUTING.md", "layers"): layers(),
        ("docs/index.md", "home"): home_table(
            (name, row, random) for name, row, _, random in overview(rows, HOME_ROWS)
        ),
        ("docs/results.md", "glance"): glance_table(latest(plain(rows))),
        ("docs/results.md", "recipes"): grouped_tables(latest(plain(rows))),
        ("docs/results.md", "results"): results_table(rows),
        ("gallery/README.md", "sets"): gallery_table(gallery()),
        ("docs/how-to/reproduce.md", "rows"): rows_table(
            (of.name, of.paper, table_rows.committed_row(of.name)) for of in table_rows.rows()
        ),
        ("docs/how-to/reproduce.md", "planned"): planned_table(
            (of.name, of.paper, planned.get(of.name))
            for of in table_rows.rows()
            if not table_rows.committed_row(of.name)
        ),
        ("docs/explanation/methods.md", "results"): methods_table(latest(filter(is_at_equal_time, rows))),
        ("docs/explanation/methods.md", "race"): race_table(raced),
        ("docs/explanation/robustness.md", "faults"): faults_table(read_rows(ROOT / "results" / "faults.csv")),
        ("docs/explanation/robustness.md", "fuzz"): fuzz_table(read_rows(ROOT / "results" / "fuzz.csv")),
        ("docs/explanation/scaling.md", "ranks"): ranks_table(of_ranks),
        ("docs/explanation/scaling.md", "scaling"): scaling_table(of_ranks),
        ("docs/explanation/scaling.md", "plan"): plan_table(of_ranks, 2000, (1, 2, 64, 256, 1000)),
        ("docs/explanation/evaluation.md", "results"): networks_table(latest(filter(is_of_networks, rows))),
        ("docs/explanation/defaults.md", "trial"): defaults_table(trial),
        ("docs/explanation/ledger.md", "ledger"): ledger_table(read_rows(ROOT / "results" / "ledger.csv")),
        ("docs/explanation/ablations.md", "results"): ablation_table(found, usual),
        ("docs/explanation/ablations.md", "variants"): variants_table(
            [r for r in on_validation if not is_tuning(r) and not is_of_pools(r)]
        ),
        ("docs/explanation/ablations.md", "adversary"): adversary_table(read_rows(ROOT / "results" / "adversary.csv")),
        ("docs/explanation/gap.md", "gap"): gap_table(switched(latest(of_gap))),
        ("docs/explanation/gap.md", "pools"): variants_table(filter(is_of_pools, on_validation)),
        ("docs/explanation/gap.md", "schedule"): results_table(latest(filter(is_of_schedule, rows))),
        ("docs/explanation/gap.md", "longer"): gap_table(switched(of_gap_longer)),
        ("docs/explanation/tuning.md", "tuning"): variants_table([r for r in tuned if r["protocol"] == "brief"]),
        ("docs/explanation/tuning.md", "longer"): variants_table([r for r in tuned if r["protocol"] != "brief"]),
    }
    tables |= speed_tables(ROOT / "results")
    for path in sorted((ROOT / "examples" / "extend").glob("*.py")):
        tables["docs/how-to/extend.md", path.stem] = listing(path)
    for (name, place), table in tables.items():
        path = ROOT / name
        keep(path, with_table(path.read_text(encoding="utf-8"), place, table), stale)
    for of in table_rows.rows():
        path = RECIPES / f"{of.name}.toml"
        keep(path, with_time(path.read_text(encoding="utf-8"), planned.get(of.name)), stale)
    if "--check" in sys.argv[1:] and stale:
        sys.exit(f"{' and '.join(stale)}: out of date; run `make results`.")


if __name__ == "__main__":
    main()
