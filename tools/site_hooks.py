"""What the documentation site needs beside MkDocs: formulas made into MathML, and our docstrings into Markdown.

Formulas are set when the site is built (latex2mathml) and drawn by the browser itself: pages load no script for them
and nothing from elsewhere. In pages a formula stands between ``$`` (in the line) or ``$$`` (on its own); docstrings
have the ``.. math::`` and ``:math:`` of Sphinx.
"""

from __future__ import annotations

import html
import re
from typing import Any

from griffe import Docstring, Extension, Object
from latex2mathml.converter import convert

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
