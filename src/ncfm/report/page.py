"""The report's page: plain values in, one self-contained HTML file out.

Everything is escaped but what is made here: drawings, data addresses, the style sheet and the script. The page carries
a content security policy that lets nothing else run and nothing be fetched.
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

from ncfm.report.charts import Chart

TEMPLATES = Path(__file__).parent / "templates"


class Fact(NamedTuple):
    """A value with its name, and a remark."""

    label: str
    value: str
    note: str = ""


class Tile(NamedTuple):
    """An image that can be enlarged."""

    src: Markup
    alt: str


class ClassRow(NamedTuple):
    """A class: some of its real images, none if the data were not there, and its synthetic ones."""

    name: str
    real: Sequence[Tile]
    synthetic: Sequence[Tile]


@dataclass(frozen=True)
class FilmView:
    """The film: a strip for each of some classes, and a moving picture."""

    iterations: Sequence[int]
    strips: Sequence[tuple[str, Tile]]  # class name, its first image at all moments side by side
    moving: Markup
    still: Markup  # the last frame, for those who want no movement
    alt: str
    note: str = ""


class PairView(NamedTuple):
    """A synthetic image beside its nearest real ones."""

    name: str  # class and number
    copy: bool
    synthetic: Tile
    pixel: Tile
    pixel_text: str
    feature: Tile
    feature_text: str


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the first column names the row."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Page:
    """All that the report shows; what is empty is left out, with the sentence of ``missing`` that names its section."""

    title: str
    lead: str
    accuracy: Fact | None
    facts: Sequence[Fact]
    load: str
    evaluate: str
    rows: Sequence[ClassRow] = ()
    rows_note: str = ""
    film: FilmView | None = None
    curves: Sequence[Chart] = ()
    frequencies: Sequence[Chart] = ()
    standing: Chart | None = None
    scores: Table | None = None
    differences: Sequence[str] = ()
    per_class: Sequence[Chart] = ()
    confused: Table | None = None
    map: Chart | None = None
    map_note: str = ""
    class_names: Sequence[str] = ()
    verdict: str = ""
    has_copies: bool = False
    likeness: Sequence[Chart] = ()
    likeness_note: str = ""
    pairs: Sequence[PairView] = ()
    settings: Sequence[tuple[str, str, bool]] = ()  # key, value, whether it is not the default
    provenance: Sequence[Fact] = ()
    command: str = ""  # that was given
    remade: str = ""  # that makes the same, from the settings
    missing: Mapping[str, str] = field(default_factory=dict)
    written_by: str = ""


def with_code(text: str) -> Markup:
    """A sentence whose parts between backticks are code; everything is escaped.

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
    """As a content security policy names a style sheet or script that is part of the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def render(page: Page) -> str:
    """The page as HTML, everything inside."""
    style, script = _asset("report.css"), _asset("report.js")
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    return (
        _environment()
        .get_template("report.html")
        .render(page=page, style=style, script=script, policy=policy + "; base-uri 'none'; form-action 'none'")
    )
