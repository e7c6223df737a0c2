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


def to_mathml(match: re.Match[str]) -> str:
    """A formula that arithmatex has marked, as MathML."""
    tag, text = match.groups()
    tex = html.unescape(text).strip().removeprefix(r"\(").removesuffix(r"\)").removeprefix(r"\[").removesuffix(r"\]")
    mathml = convert(tex.strip(), display="block" if tag == "div" else "inline")
    return f'<{tag} class="formula">{mathml}</{tag}>'


def on_page_content(content: str, **_: Any) -> str:
    """MkDocs' hook: called with the HTML of every page."""
    return FORMULA.sub(to_mathml, content)


def to_markdown(text: str) -> str:
    """A docstring's formulas as Markdown has them; the bars that docstrings escape are plain.

    >>> to_markdown(r"The modulus \\|Phi\\|, :math:`x^2`.")
    'The modulus |Phi|, $x^2$.'
    """

    def block(match: re.Match[str]) -> str:
        indent, tex = match.groups()
        return f"\n{indent}$$\n{indent}{' '.join(tex.split())}\n{indent}$$\n"

    formulas: list[str] = []

    def keep(match: re.Match[str]) -> str:
        formulas.append(match.group(1))
        return f"\0{len(formulas) - 1}\0"

    text = INLINE.sub(keep, BLOCK.sub(lambda match: keep_block(block(match)), text))
    text = text.replace(r"\|", "|")
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
