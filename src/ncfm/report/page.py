"""The page of the report: from plain values to one self-contained HTML file.

All text is escaped, except what this package generates: drawings, data addresses, the style sheet and the script. A
content security policy prevents other scripts and all requests.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ncfm._utils.progress import counted
from ncfm.report.axes import Chart
from ncfm.report.folding import NOTHING, TABLE_ROWS, Fold

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = (
    ("images", "Images"),
    ("evolution", "Evolution"),
    ("curves", "Curves"),
    ("frequencies", "Frequencies"),
    ("accuracy", "Accuracy"),
    ("features", "Features"),
    ("copies", "Copies"),
    ("provenance", "Provenance"),
)


class Fact(NamedTuple):
    """A value with its name, and a note."""

    label: str
    value: str
    note: str = ""


class Tile(NamedTuple):
    """An image that can be enlarged."""

    src: Markup
    alt: str


class ClassRow(NamedTuple):
    """A class with some of its real images, none without the data, and of its synthetic ones."""

    name: str
    real: Sequence[Tile]
    synthetic: Sequence[Tile]


@dataclass(frozen=True)
class AnimationView:
    """Snapshots of a run as an animation, and as one strip per class."""

    iterations: Sequence[int]
    strips: Sequence[tuple[str, Tile]]  # class name, and its first image in all snapshots side by side
    moving: Markup
    still: Markup  # the last frame, for reduced motion
    alt: str
    note: str = ""


class PairView(NamedTuple):
    """A synthetic image with its nearest real ones."""

    name: str  # class and number
    copy: bool
    synthetic: Tile
    pixel: Tile
    pixel_text: str
    feature: Tile
    feature_text: str


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column is the name of the row."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def is_long(self) -> bool:
        """Whether it is folded away, as the items of a `Fold` are."""
        return len(self.rows) > TABLE_ROWS

    @property
    def summary(self) -> str:
        """The line that opens it."""
        return f"{self.caption.partition(':')[0]}: {counted(len(self.rows), 'row')}"


@dataclass(frozen=True)
class Page:
    """Content of the report. Empty sections are left out; ``missing`` has the reasons, which stand at the end."""

    title: str
    lead: str
    accuracy: Fact | None
    facts: Sequence[Fact]
    load: str
    evaluate: str
    rows: Fold[ClassRow] = NOTHING
    rows_note: str = ""
    animation: AnimationView | None = None
    curves: Fold[Chart] = NOTHING
    frequencies: Fold[Chart] = NOTHING
    comparison: Chart | None = None
    scores: Table | None = None
    differences: Sequence[str] = ()
    per_class: Sequence[Chart] = ()
    confused: Table | None = None
    map: Chart | None = None
    map_note: str = ""
    class_names: Sequence[str] = ()
    verdict: str = ""
    has_copies: bool = False
    distances: Fold[Chart] = NOTHING
    copy_detection_note: str = ""
    pairs: Fold[PairView] = NOTHING
    settings: Sequence[tuple[str, str, bool]] = ()  # key, value, whether it is not the default
    provenance: Sequence[Fact] = ()
    command: str = ""  # of the run
    reproduce_command: str = ""  # from the settings
    missing: Mapping[str, str] = field(default_factory=dict)
    written_by: str = ""

    def has(self, section: str) -> bool:
        """Whether a section has content."""
        content = {
            "images": self.rows,
            "evolution": self.animation,
            "curves": self.curves,
            "frequencies": self.frequencies,
            "accuracy": self.scores,
            "features": self.map,
            "copies": self.verdict,
        }
        return bool(content.get(section, True))

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Anchors and names of the sections that have content."""
        return [(anchor, name) for anchor, name in SECTIONS if self.has(anchor)]

    @property
    def reasons(self) -> list[str]:
        """Why sections are left out, each once."""
        return list(dict.fromkeys(self.missing.values()))


def with_code(text: str) -> Markup:
    """A sentence with the parts between backticks as code; all text is escaped.

    >>> with_code("run `a < b` now")
    Markup('run <code>a &lt; b</code> now')
    """
    parts = text.split("`")
    kinds = [Markup("<code>{}</code>") if i % 2 and i < len(parts) - 1 else Markup("{}") for i in range(len(parts))]
    return Markup("").join(kind.format(part) for kind, part in zip(kinds, parts, strict=True))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = with_code
    return environment


@cache
def _asset(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    """Hash of an inline style sheet or script in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def render(page: Page) -> str:
    """The page as self-contained HTML."""
    style, script = _asset("report.css"), _asset("report.js")
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    return (
        _environment()
        .get_template("report.html")
        .render(page=page, style=style, script=script, policy=policy + "; base-uri 'none'; form-action 'none'")
    )
