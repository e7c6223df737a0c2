"""``ncfm export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ncfm._utils.checks import NcfmError
from ncfm.cli._common import AsJson, OwnSet, console, print_json
from ncfm.formats import FORMATS, export, find_format, hub
from ncfm.synthetic.storage import load


def command(
    path: OwnSet,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"{', '.join(FORMATS)}; or module:callable.")],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="File or folder to write; must not exist.")],
    stored: Annotated[bool, typer.Option("--stored", help="The stored mosaics in place of decoded images.")] = False,
    bits: Annotated[
        int | None, typer.Option("--bits", metavar="N", help="Of a pixel: 8, or 32 for ncfm, npz, pt and ddranking.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="Send it to the Hugging Face hub (hf only; needs a token)."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a set in a form that another program reads.

    Example: `ncfm export runs/digits-ipc1 --to png --out digits-images`

    Example: `ncfm export runs/cifar10-ipc10 --to ncfm --bits 8 --out cifar10-small`

    Images are decoded, ready to train on; soft labels come along where the format has a place for them.
    """
    hub_api = None
    if push is not None:
        if to != "hf":
            raise NcfmError(f"--push sends --to hf only, got --to {to}.")
        hub.check_repository(push)
        hub_api = hub.hub_api()  # before anything is written
    synthetic = load(path)
    done = export(synthetic, out, to=to, stored=stored, bits=bits, force=force, repository=push)
    address = None
    if push is not None and hub_api is not None:
        question = f"Send {done.num_images} images ({done.num_bytes:,} bytes) to the hub as {push}?"
        if yes or typer.confirm(question, err=True):
            address = hub.push(done.path, push, hub_api)
    if as_json:
        print_json(done._asdict() | {"path": str(out), "pushed": address})
        return
    kind = "stored" if done.stored else "decoded"
    console.print(f"Wrote {out}: {find_format(to).what}.", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{done.num_images} {kind} images of {done.num_classes} classes, {done.bits} bits a value, "
        f"{done.num_bytes:,} bytes{', soft labels' if done.soft_labels else ''}.",
        highlight=False,
        soft_wrap=True,
    )
    if synthetic.soft_labels is not None and not done.soft_labels:
        console.print(
            "The set's soft labels are left out: there is no place for them.", highlight=False, soft_wrap=True
        )
    if push is not None:
        told = f"Sent to {address}" if address else "Not sent."
        console.print(told, highlight=False, markup=False, soft_wrap=True)
