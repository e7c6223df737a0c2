"""Export: the table of formats, and the function that writes them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from ncfm._utils.checks import InputError, check_known
from ncfm._utils.files import read_json, write_atomically, write_folder, write_text
from ncfm._utils.outside import is_outside
from ncfm.formats.arrays import write_ddranking, write_npz, write_pt
from ncfm.formats.card import set_card
from ncfm.formats.content import Content, Format
from ncfm.formats.export_facts import CLASSES_FILE, CLASSES_FORMAT
from ncfm.formats.outside import outside_format
from ncfm.formats.parquet import write_hf, write_parquet
from ncfm.formats.png import write_png
from ncfm.synthetic.folders import FACTS_FILE
from ncfm.synthetic.image_grid import save_image_grid
from ncfm.synthetic.storage import FORMAT, check_bits, load, save
from ncfm.synthetic.synthetic_set import SyntheticSet

PICTURE_FILE = "images.png"
CARD_FILE = "README.md"


def _write_ncfm(content: Content, folder: Path) -> None:
    """The package's own format, with a picture and a card."""
    synthetic = content.synthetic
    save(synthetic, folder, bits=content.bits)
    save_image_grid(folder / PICTURE_FILE, synthetic.images, content.class_names, counts=synthetic.counts)
    write_text(folder / CARD_FILE, set_card(content))


FORMATS = {
    "ncfm": Format("folder for ncfm.load, with a card and a picture", _write_ncfm, bits=(32, 8), images=(True,)),
    "hf": Format("folder for the Hugging Face hub, with a card", write_hf),
    "parquet": Format("one table of PNG images and labels", write_parquet, ".parquet"),
    "png": Format("one folder of images per class", write_png, soft=False),
    "npz": Format("NumPy arrays", write_npz, ".npz", bits=(8, 32)),
    "pt": Format("PyTorch tensors", write_pt, ".pt", bits=(32, 8)),
    "ddranking": Format("tensors for DD-Ranking", write_ddranking, bits=(32,), images=(False,)),
}


def find_format(name: str) -> Format:
    """A format by name.

    Raises:
        NcfmError: for an unknown name, or a callable that does not exist.
    """
    return outside_format(name) if is_outside(name) else FORMATS[check_known(name, FORMATS, "format")]


class Exported(NamedTuple):
    """A finished export."""

    path: Path
    to: str  # the format
    num_images: int
    num_classes: int
    bits: int  # per value
    stored: bool  # whether the images are the stored ones; otherwise decoded, ready to train on
    soft_labels: bool  # whether soft labels were written
    num_bytes: int


def export(
    synthetic: SyntheticSet | str | Path,
    out: str | Path,
    *,
    to: str,
    stored: bool = False,
    bits: int | None = None,
    force: bool = False,
    repository: str | None = None,
) -> Exported:
    """Write a set in an external format.

    By default the decoded images are written, class by class. The file or folder is written atomically.

    Args:
        synthetic: the set, its folder, or its run folder.
        out: a file with the suffix of the format, or a folder.
        to: a name of `FORMATS`, or ``module:callable`` for the user's own code, see `ncfm.formats.outside`.
        stored: write the stored mosaics instead of decoded images; they have no soft labels.
        bits: per value, 8 (an error of at most 1/510) or 32; default: that of the format.
        force: replace an earlier export or set. Other files are never replaced.
        repository: ``owner/name`` of the hub, for the card of "hf".

    Raises:
        NcfmError: if there is no set, for unknown formats, options that a format does not support, or an existing
            file or folder; RunError if it cannot be written.
    """
    chosen = find_format(to)
    synthetic = synthetic if isinstance(synthetic, SyntheticSet) else load(synthetic)
    path = Path(out).expanduser()
    bits = chosen.bits[0] if bits is None else check_bits(bits, chosen.bits)
    if stored and True not in chosen.images:
        raise InputError(f"{to} supports decoded images only; leave out stored (--stored).")
    if path.suffix != chosen.suffix and chosen.suffix:
        raise InputError(f"Expected a file ending in {chosen.suffix} for {to}, got {path}.")
    path = path.resolve()  # a link's target is replaced, not the link
    _check_free(path, folder=not chosen.suffix, force=force)
    content = Content.of(synthetic, stored=stored or False not in chosen.images, bits=bits, repository=repository)
    (write_atomically if chosen.suffix else write_folder)(path, partial(chosen.write, content))
    files = [path] if chosen.suffix else [p for p in path.rglob("*") if p.is_file()]
    labels = synthetic.soft_labels if to == "ncfm" else content.log_probabilities
    return Exported(
        path=path,
        to=to,
        num_images=len(content.images),
        num_classes=synthetic.num_classes,
        bits=bits,
        stored=content.stored,
        soft_labels=chosen.soft and labels is not None,
        num_bytes=sum(p.stat().st_size for p in files),
    )


def _check_free(path: Path, *, folder: bool, force: bool) -> None:
    """Check that a path does not exist, or may be replaced.

    Raises:
        NcfmError: if it exists and, with ``force``, is not an export.
    """
    if not path.exists() or (folder and path.is_dir() and not any(path.iterdir())):
        return
    if folder != path.is_dir():
        raise InputError(f"{path} is a {'file' if folder else 'folder'}; choose another --out.")
    if not force:
        raise InputError(f"{path} exists already; choose another --out, or replace it with --force.")
    if folder and not _is_export(path):
        raise InputError(
            f"{path} contains files that are not an ncfm export; refusing to overwrite. Choose another --out."
        )


def _is_export(folder: Path) -> bool:
    """Whether a folder is an export: it has an index of classes, or the facts of a set."""
    for name, format_ in ((CLASSES_FILE, CLASSES_FORMAT), (FACTS_FILE, FORMAT)):
        found = read_json(folder / name) if (folder / name).is_file() else None
        if isinstance(found, dict) and found.get("format") == format_:
            return True
    return False
