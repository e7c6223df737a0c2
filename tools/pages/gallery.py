"""The table of gallery/README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ncfm._utils.files import read_json
from ncfm.results.formatting import interval_of, mean_of, spaced
from tools.pages.sources import ROOT

PAGE = "gallery/README.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    return {"sets": gallery_table(gallery())}


def gallery_table(sets: Iterable[tuple[str, Mapping[str, Any], int]]) -> str:
    """A Markdown table of the repository's distilled datasets: name, content of ``set.json``, bytes of pixels."""
    lines = [
        "| name | stored images | method | pixels | accuracy | 95 % interval | evaluation | hash |",
        "|---|---:|---|---:|---:|:---:|---|---|",
    ]
    for name, told, size in sets:
        facts, pixels = told["facts"], f"{size / 1000:,.0f} kB, {told['bits']} bits"
        stored = f"{len(told['class_names'])} x {told['ipc']}"
        method = facts["method"] + (f" ({spaced(facts['variant'])})" if facts.get("variant") else "")
        lines += [
            f"| {name} | {stored} | {method} | {pixels} "
            f"| {mean_of(score['accuracy_mean'], score['accuracy_std'], score['accuracy_low'])} "
            f"| {interval_of(score['accuracy_low'], score['accuracy_high'])} "
            f"| {len(score['accuracies'])} x {spaced(score['protocol'])} | `{told['images_hash'][:8]}` |"
            for score in told["scores"]
        ]
    return "\n".join(lines) + "\n"


def gallery() -> Iterator[tuple[str, dict[str, Any], int]]:
    """The repository's distilled datasets by data and images per class: name, content of ``set.json``, bytes."""
    found = {path.parent: read_json(path) for path in (ROOT / "gallery").glob("*/set.json")}
    for folder in sorted(found, key=lambda folder: (found[folder]["facts"]["data"], found[folder]["ipc"], folder.name)):
        yield folder.name, found[folder], (folder / "images.safetensors").stat().st_size
