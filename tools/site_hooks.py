"""Hooks of the documentation site: MathML formulas, docstrings as Markdown, and lists from the code.

Formulas are converted when the site is built (latex2mathml), and browsers draw them: pages load no script for them and
nothing from elsewhere. In pages a formula stands between ``$`` (inline) or ``$$`` (on its own); docstrings have the
``.. math::`` and ``:math:`` of Sphinx.
"""

from __future__ import annotations

import html
import inspect
import os
import re
from collections.abc import Iterator
from typing import Any

from griffe import Docstring, Extension, Object
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from typer.main import get_command

import ncfm
from ncfm.cli.main import app
from ncfm.config.schema import RunConfig
from tools.site_gallery import gallery_files, gallery_page

FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
BLOCK = re.compile(r"^( *)\.\. math:: *(.*(?:\n(?:\1 +\S.*|\s*(?=\n\1 +\S)))*)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]+)`")
DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)
CODE_OR_ANGLE = re.compile(r"(``.+?``|`[^`]+`|^ *(?:>>>|\.\.\.).*$)|<(?=[a-zA-Z/])", re.MULTILINE)
UNKNOWN = {r"\arg": r"\operatorname{arg}"}  # to latex2mathml


def to_mathml(match: re.Match[str]) -> str:
    """A formula that arithmatex has marked, as MathML."""
    tag, text = match.groups()
    tex = html.unescape(text).strip().removeprefix(r"\(").removesuffix(r"\)").removeprefix(r"\[").removesuffix(r"\]")
    for command, known in UNKNOWN.items():
        tex = re.sub(re.escape(command) + r"(?![a-zA-Z])", lambda _, known=known: known, tex)
    mathml = convert(tex.strip(), display="block" if tag == "div" else "inline")
    return f'<{tag} class="formula">{mathml}</{tag}>'


def settings_list() -> str:
    """Every setting with its default and meaning, a table per section."""
    parts = []
    for section, field in RunConfig.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            parts.append(f"## {section}\n\nDefault: `{field.default}`.")
            continue
        rows = []
        for name, inner in model.model_fields.items():
            default = in_cell(inner.get_default(call_default_factory=True))
            rows.append(f"| `{section}.{name}` | {default} | {in_cell(inner.description or '', code=False)} |")
        about = (model.__doc__ or "").split("\n\n")[0]
        parts.append(f"## {section}\n\n{about}\n\n| setting | default | meaning |\n|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts)


def commands_list() -> str:
    """Every command with its help, arguments and options."""
    return "\n\n".join(command_help(f"ncfm {name}", command) for name, command in subcommands(get_command(app)))


def subcommands(group: Any) -> Iterator[tuple[str, Any]]:
    """The commands of a group by name, those of groups within it with both names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", found) for inner, found in subcommands(command))
        else:
            yield name, command


def command_help(name: str, command: Any) -> str:
    """A command's help, arguments and options, as a section."""
    rows = []
    for parameter in command.params:
        flags = [flag for flag in parameter.opts if flag.startswith("-")] or [parameter.metavar or parameter.name]
        meaning = in_cell(getattr(parameter, "help", None) or "", code=False)
        rows.append(f"| {', '.join(f'`{flag}`' for flag in flags)} | {meaning} |")
    table = "| argument or option | meaning |\n|---|---|\n" + "\n".join(rows) if rows else ""
    return f"## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n{table}"


def in_cell(value: Any, *, code: bool = True) -> str:
    """A value or a text inside a cell of a Markdown table."""
    text = " ".join(str(value).split()).replace("|", "\\|")
    return f"`{text}`" if code else text


ELSEWHERE = {  # public names that other pages of the API document
    *("ImageSet", "images_of", "load_images", "SyntheticSet", "EvaluationResult", "__version__"),
    *("characteristic_function", "gaussian_mmd", "ncfd"),
    *("CharacteristicDiscrepancy", "TwoSampleResult", "two_sample_test"),
}


def functions_list() -> str:
    """The public functions of the package, then its result classes and errors, for mkdocstrings."""
    names = sorted(set(ncfm.__all__) - ELSEWHERE, key=lambda name: (isinstance(getattr(ncfm, name), type), name))
    found = (getattr(ncfm, name) for name in names)
    return "\n\n".join(f"::: {thing.__module__}.{thing.__qualname__}" for thing in found)


LISTS = {
    "settings": settings_list,
    "commands": commands_list,
    "functions": functions_list,
    "gallery": gallery_page,
}
REPOSITORY = "NCFM_REPOSITORY"  # environment variable with the address that pages link to


def on_config(config: Any, **_: Any) -> Any:
    """MkDocs' hook: the link to the repository, if its address is given."""
    if os.environ.get(REPOSITORY):
        config.repo_url, config.repo_name = os.environ[REPOSITORY], "Repository"
    return config


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """MkDocs' hook: add the pictures and archives of the gallery."""
    for place, content in gallery_files():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs' hook: called with the Markdown of every page; fills in lists that come from the code."""
    for name, made in LISTS.items():
        mark = f"<!-- {name}: filled in when the site is built -->"
        if mark in markdown:
            markdown = markdown.replace(mark, made())
    return markdown


def on_page_content(content: str, **_: Any) -> str:
    """MkDocs' hook: called with the HTML of every page."""
    return FORMULA.sub(to_mathml, content)


def to_markdown(text: str) -> str:
    """A docstring's formulas as Markdown has them; escaped bars are plain, and ``<t, x>`` is no tag of HTML."""

    def block(match: re.Match[str]) -> str:
        indent, tex = match.groups()
        return f"\n{indent}$$\n{indent}{' '.join(tex.split())}\n{indent}$$\n"

    formulas: list[str] = []

    def keep(match: re.Match[str]) -> str:
        formulas.append(match.group(1))
        return f"\0{len(formulas) - 1}\0"

    text = INLINE.sub(keep, BLOCK.sub(lambda match: keep_block(block(match)), text))
    text = CODE_OR_ANGLE.sub(lambda match: match.group(1) or "&lt;", text).replace(r"\|", "|")
    text = DOCTEST.sub(lambda match: f"{match[1]}```pycon\n{match[0]}\n{match[1]}```", text)
    return re.sub("\0(\\d+)\0", lambda match: f"${formulas[int(match.group(1))]}$", text).replace("\1", r"\|")


def keep_block(text: str) -> str:
    """A block formula whose bars stay as they are."""
    return text.replace(r"\|", "\1")


class Formulas(Extension):
    """Griffe's hook: every docstring goes through `to_markdown` before it is read."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if isinstance(obj.docstring, Docstring):
            obj.docstring.value = to_markdown(obj.docstring.value)
