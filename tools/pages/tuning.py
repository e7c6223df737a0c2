"""The tables of docs/explanation/tuning.md."""

from __future__ import annotations

from tools.pages.variants import is_tuning, on_validation, variants_table

PAGE = "docs/explanation/tuning.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    tuned = list(filter(is_tuning, on_validation()))
    return {
        "tuning": variants_table(r for r in tuned if r["protocol"] == "brief"),
        "longer": variants_table(r for r in tuned if r["protocol"] != "brief"),
    }
