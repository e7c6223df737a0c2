"""The rows of the files under results/, each read once."""

from __future__ import annotations

import functools
from pathlib import Path

from ncfm.results.files import read_rows

ROOT = Path(__file__).parents[2]


@functools.cache
def results(name: str) -> list[dict[str, str]]:
    """The rows of ``results/NAME.csv``.

    Raises:
        NcfmError: if there is no such file.
    """
    return read_rows(ROOT / "results" / f"{name}.csv")


def results_if_any(name: str) -> list[dict[str, str]]:
    """The same; no rows if there is no such file."""
    return results(name) if (ROOT / "results" / f"{name}.csv").is_file() else []
