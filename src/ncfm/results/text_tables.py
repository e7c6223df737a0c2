"""Tables as text to paste: LaTeX for papers, Markdown for pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ncfm._utils.checks import check_known

LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
}


def latex_table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A ``table`` for the package booktabs; the first column is left-aligned, the others are right-aligned.

    >>> print(latex_table("Digits", ["method", "accuracy, %"], [["ncfm", "92.8 ± 0.4"]]))
    \begin{table}
      \centering
      \caption{Digits}
      \begin{tabular}{lr}
        \toprule
        method & accuracy, \% \\
        \midrule
        ncfm & 92.8 $\pm$ 0.4 \\
        \bottomrule
      \end{tabular}
    \end{table}
    """
    head, *body = (f"    {' & '.join(map(_latex, row))} \\\\" for row in [headings, *rows])
    lines = [r"\begin{table}", r"  \centering", f"  \\caption{{{_latex(caption)}}}"]
    lines += [f"  \\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}", r"    \toprule", head, r"    \midrule"]
    return "\n".join([*lines, *body, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"])


def markdown_table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with its caption above it.

    >>> print(markdown_table("Digits", ["method", "accuracy, %"], [["ncfm", "92.8 ± 0.4"]]))
    Digits
    <BLANKLINE>
    | method | accuracy, % |
    |---|---:|
    | ncfm | 92.8 ± 0.4 |
    """
    lines = [f"| {' | '.join(map(_markdown, row))} |" for row in [headings, *rows]]
    return "\n".join([_markdown(caption), "", lines[0], "|---" + "|---:" * (len(headings) - 1) + "|", *lines[1:]])


TABLES: dict[str, Callable[[str, Sequence[str], Sequence[Sequence[str]]], str]] = {
    "latex": latex_table,
    "markdown": markdown_table,
}


def check_table(name: str) -> str:
    """Return ``name`` if it is a form of `TABLES`.

    Raises:
        InputError: naming the known ones.
    """
    return check_known(name, TABLES, "form of a table")


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def _markdown(text: str) -> str:
    return "".join(f"\\{character}" if character in "\\|`*_[]<>" else character for character in text)
