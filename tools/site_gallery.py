"""The gallery page of the site: every set with its picture, accuracy, a line to load it and a file to download."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ncfm._utils.files import read_json
from ncfm.results.formatting import interval_of, mean_of, spaced
from tools.pages.cells import data_name

ROOT = Path(__file__).parents[1]
PICTURE, FACTS, CARD = "images.png", "set.json", "README.md"
SHOWN = 10  # class names


def sets() -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The folders of the gallery with the content of their ``set.json``, by data and images per class."""
    found = [(path.parent, read_json(path)) for path in (ROOT / "gallery").glob(f"*/{FACTS}")]
    yield from sorted(found, key=lambda pair: (pair[1]["facts"]["data"], pair[1]["ipc"], pair[0].name))


def gallery_page() -> str:
    """The sections of the page as Markdown; pictures and archives are those of `gallery_files`."""
    parts, before = [], ""
    for folder, facts in sets():
        data = str(facts["facts"]["data"])
        parts += [f"## {data_name(data)}"] if data != before else []
        parts.append(_section(folder, facts))
        before = data
    return "\n\n".join(parts)


def _section(folder: Path, facts: Mapping[str, Any]) -> str:
    name, stored = folder.name, sum(path.stat().st_size for path in _loaded(folder))
    return (
        f"### {name}\n\n"
        f"[![Stored images of {name}](gallery/{name}.png){{ .set loading=lazy }}](gallery/{name}.png)\n\n"
        f"{_accuracy(facts)}\n\n"
        f'```python\nncfm.load("gallery:{name}")\n```\n\n'
        f"[Download {name}.zip](gallery/{name}.zip) ({stored / 1e3:,.0f} kB of pixels and facts, with a card)"
    )


def _accuracy(facts: Mapping[str, Any]) -> str:
    """What is stored, and the accuracies of the networks trained on it."""
    images, per_class = len(facts["class_names"]) * facts["ipc"], "image" if facts["ipc"] == 1 else "images"
    names = ", ".join(facts["class_names"][:SHOWN]) + (", ..." if len(facts["class_names"]) > SHOWN else "")
    what = f"{images} images ({facts['ipc']} {per_class} per class: {names}), method {facts['facts']['method']}."
    scores = [
        f"**{mean_of(s['accuracy_mean'], s['accuracy_std'], s['accuracy_low'])} %**, 95 % interval "
        f"{interval_of(s['accuracy_low'], s['accuracy_high'])} ({len(s['accuracies'])} x {s['network']}, "
        f"{spaced(s['protocol'])})."
        for s in facts.get("scores", [])
    ]
    return " ".join([*scores, what])


def gallery_files() -> Iterator[tuple[str, bytes]]:
    """The pictures and archives of the page, by their place on the site."""
    for folder, _ in sets():
        yield f"gallery/{folder.name}.png", (folder / PICTURE).read_bytes()
        yield f"gallery/{folder.name}.zip", _archive(folder)


def _archive(folder: Path) -> bytes:
    """A folder for `ncfm.load` and its card; the same bytes every time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in [*_loaded(folder), folder / CARD]:
            entry = zipfile.ZipInfo(f"{folder.name}/{path.name}")  # of a fixed date
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _loaded(folder: Path) -> list[Path]:
    """The files that `ncfm.load` reads."""
    return [folder / FACTS, *sorted(folder.glob("*.safetensors"))]
