"""``ncfm export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._completion import formats
from ncfm.cli._options import AsJson, SetPath, flatten_options
from ncfm.cli._output import print_json, say

if TYPE_CHECKING:
    from ncfm.formats import Exported


# The names are not imported: `--help` must not wait for PyTorch. A test compares them.
FORMATS_HELP = "Format: ncfm, hf, parquet, png, npz, pt, ddranking; or MODULE:CALLABLE, a writer of your own."


@flatten_options
def command(
    path: SetPath,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            autocompletion=formats,
            help="ncfm, hf, parquet, png, npz, pt, ddranking; or MODULE:CALLABLE.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="File or folder to write; must not exist.")],
    stored: Annotated[
        bool, typer.Option("--stored", help="Write the stored mosaics instead of the decoded images.")
    ] = False,
    bits: Annotated[
        int | None,
        typer.Option("--bits", metavar="N", help="Bits per value: 8, or 32 for ncfm, npz, pt and ddranking."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    push: Annotated[
        str | None,
        typer.Option(
            "--push", metavar="OWNER/NAME", help="Upload it to the Hugging Face hub (hf only; needs a token)."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Upload without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export a set to a format that other programs read.

    Example: `ncfm export runs/digits-ipc1 --to png --out digits-images`

    Example: `ncfm export runs/cifar10-ipc10 --to ncfm --bits 8 --out cifar10-small`

    Images are decoded and ready to train on. Soft labels are included if the format has a place for them.
    """
    hub_api = None if push is None else _hub_api(push, to)  # before anything is written
    synthetic = ncfm.load(path)
    done = ncfm.export(synthetic, out, to=to, stored=stored, bits=bits, force=force, repository=push)
    address = None if push is None else _push(done, push, hub_api, yes)
    if as_json:
        print_json(done._asdict() | {"path": str(out), "pushed": address})
        return
    _print(done, out, lost_labels=synthetic.soft_labels is not None and not done.soft_labels)
    if push is not None:
        say(f"Uploaded to {address}" if address else "Not uploaded.", wrap=False)


def _hub_api(push: str, to: str) -> Any:
    """The hub, after checking what is asked of it."""
    from ncfm.formats import hub

    if to != "hf":
        raise ncfm.InputError(f"--push uploads --to hf only, got --to {to}.")
    hub.check_repository(push)
    return hub.hub_api()


def _push(done: Exported, repository: str, hub_api: Any, yes: bool) -> str | None:
    """Upload an export if the user agrees; return its address."""
    from ncfm.formats import hub

    question = f"Upload {counted(done.num_images, 'image')} ({done.num_bytes:,} bytes) to the hub as {repository}?"
    if yes or typer.confirm(question, err=True):
        return hub.push(done.path, repository, hub_api)
    return None


def _print(done: Exported, out: Path, *, lost_labels: bool) -> None:
    from ncfm.formats.writing import find_format

    kind = "stored" if done.stored else "decoded"
    say(f"Wrote {out}: {find_format(done.to).what}.", wrap=False)
    say(
        f"{done.num_images} {kind} images of {counted(done.num_classes, 'class')}, {done.bits} bits per value, "
        f"{done.num_bytes:,} bytes{', with soft labels' if done.soft_labels else ''}.",
        wrap=False,
    )
    if lost_labels:
        say("The soft labels of the set are left out: the format has no place for them.", wrap=False)
