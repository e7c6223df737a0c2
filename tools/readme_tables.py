"""Write the generated parts of README and docs; with --check only report whether they are up to date.

A module of tools/pages/ makes the parts of a page: tables from the rows under results/, listings, layers.
src/ncfm/results/committed.csv receives the last row of each recipe. Headers of recipes that have not been run receive
predicted times.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ncfm.config.recipes import RECIPES
from ncfm.workflows import rows as table_rows
from ncfm.workflows.rows import COMMITTED
from tools.pages import (
    ablations,
    contributing,
    defaults,
    evaluation,
    extend,
    gallery,
    gap,
    home,
    ledger,
    methods,
    readme,
    reproduce,
    results,
    robustness,
    scaling,
    speed,
    tuning,
)
from tools.pages.sources import ROOT
from tools.pages.sources import results as results_of
from tools.recipe_rows import committed, with_time

PAGES = (
    *(readme, contributing, home, results, gallery),
    *(reproduce, extend),
    *(methods, robustness, scaling, evaluation, defaults, ledger, ablations, gap, tuning, speed),
)
"""The modules of the pages, each with its ``PAGE`` and ``tables``."""


def with_table(text: str, name: str, table: str) -> str:
    """The text with the part between the markers of a name replaced."""
    begin, end = f"<!-- {name}: made by `make results` -->", f"<!-- end of {name} -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{table}\n{end}{after}"


def keep(path: Path, wanted: str, stale: list[str]) -> None:
    """Write a file whose content differs, unless this is a check, and note it as stale."""
    if path.is_file() and path.read_text(encoding="utf-8") == wanted:
        return
    stale.append(str(path.relative_to(ROOT)))
    if "--check" not in sys.argv[1:]:
        path.write_text(wanted, encoding="utf-8")


def main() -> None:
    """Rewrite or check."""
    stale: list[str] = []
    keep(COMMITTED, committed(results_of("accuracy")), stale)  # first: pages have these rows
    for module in PAGES:
        path = ROOT / module.PAGE
        text = path.read_text(encoding="utf-8")
        for place, table in module.tables().items():
            text = with_table(text, place, table)
        keep(path, text, stale)
    planned = {row["row"]: row for row in results_of("planned")}
    for of in table_rows.rows():
        path = RECIPES / f"{of.name}.toml"
        keep(path, with_time(path.read_text(encoding="utf-8"), planned.get(of.name)), stale)
    if "--check" in sys.argv[1:] and stale:
        sys.exit(f"{' and '.join(stale)}: out of date; run `make results`.")


if __name__ == "__main__":
    main()
