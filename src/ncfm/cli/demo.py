"""``ncfm demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ncfm
from ncfm.cli._comparison import print_comparison, write_files
from ncfm.cli._options import Output, Setup, flatten_options
from ncfm.cli._output import print_json, say

METHODS = ("ncfm", "random", "herding", "mosaic", "full")
TITLE = "Handwritten digits, 1 image per class"


@flatten_options
def command(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the comparison; default runs/demo.")
    ] = None,
    setup: Setup,
    output: Output,
) -> None:
    """Try it: distil handwritten digits to one image per class, and compare with real images. A few minutes.

    Example: `ncfm demo`

    The digits come with the package's dependencies; nothing is downloaded. The folder is that of `ncfm compare`.
    """
    out = out or Path("runs") / "demo"
    with output.progress() as reporter:
        scored = ncfm.compare("digits", ipc=1, methods=METHODS, out=out, reporter=reporter, **setup.arguments())
    entries = write_files(scored, out, TITLE)
    if output.as_json:
        print_json([one.as_dict() for one in scored])
        return
    print_comparison(TITLE, entries, out)
    say("Next, your own images:")
    say("  ncfm distill FOLDER --ipc 10 --set data.image_size=64", wrap=False)
