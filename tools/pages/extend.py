"""The listings of docs/how-to/extend.md, from examples/extend/."""

from __future__ import annotations

from pathlib import Path

from tools.pages.sources import ROOT

PAGE = "docs/how-to/extend.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    return {path.stem: listing(path) for path in sorted((ROOT / "examples" / "extend").glob("*.py"))}


def listing(path: Path) -> str:
    """A Python file as a Markdown code block."""
    return f"```python\n{path.read_text(encoding='utf-8')}```\n"
