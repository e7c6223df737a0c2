"""Rewrite the README's results table from results/accuracy.csv; with --check only say whether it is up to date."""

import sys
from pathlib import Path

from ncfm.report import read_rows, results_table

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- results: made by `make results` -->", "<!-- end of results -->"


def with_table(readme: str, table: str) -> str:
    """The README with the text between the markers replaced."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"


def main() -> None:
    """Rewrite or check."""
    path = ROOT / "README.md"
    readme = path.read_text(encoding="utf-8")
    wanted = with_table(readme, results_table(read_rows(ROOT / "results" / "accuracy.csv")))
    if "--check" in sys.argv[1:]:
        sys.exit(0 if wanted == readme else "README.md is not what results/accuracy.csv says; run `make results`.")
    path.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
