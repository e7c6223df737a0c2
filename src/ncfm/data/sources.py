"""Images by name or path: the table of sources."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ncfm._utils.checks import InputError, check_known, nearest
from ncfm._utils.outside import is_outside
from ncfm.data.archives import without_suffix
from ncfm.data.assembly import Request, Wanted
from ncfm.data.choice import Choice
from ncfm.data.digits import read_digits
from ncfm.data.fitting import FITS
from ncfm.data.hub import PREFIX, read_hub_name
from ncfm.data.image_set import ImageSet
from ncfm.data.named import NAMED_SETS, SUBSETS
from ncfm.data.named_sources import read_named, read_subset
from ncfm.data.outside import read_outside
from ncfm.data.places import read_path


class Source(NamedTuple):
    """A kind of data, with a reader for the names or paths that stand for it."""

    forms: tuple[str, ...]  # how it is named, for messages
    read: Callable[[Request], ImageSet | None]  # None if a name is not of this kind
    is_list: bool = True  # whether the forms are all its names
    has_choice: bool = True  # whether there are columns or splits to choose


SOURCES = (
    Source(("digits",), read_digits, has_choice=False),
    Source(tuple(NAMED_SETS), read_named),
    Source(tuple(SUBSETS), read_subset),
    Source(("hf:owner/name",), read_hub_name, is_list=False),
    Source(("a path",), read_path, is_list=False),
    Source(("module:callable",), read_outside, is_list=False, has_choice=False),
)
"""All sources, in the order in which they are tried. A new source is a reader in its own file, and a line here."""


def load_images(
    name: str,
    *,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    fit: str = "crop",
    max_unreadable: float = 0.0,
    image_column: str | None = None,
    label_column: str | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
) -> ImageSet:
    """Load a dataset by name or path. Images that were decoded from files are cached.

    Args:
        name: one of `known_names`; ``hf:owner/name`` or ``hf:owner/name:configuration``; the path of a file, folder or
            archive of one of the `ncfm.data.places.LAYOUTS`, or of an image folder with a folder per class (below
            ``train`` and ``test`` if it has them); or ``module:callable`` for the user's own code, see
            `ncfm.data.outside.read_outside`.
        data_dir: where datasets are looked for before downloading: ``<data_dir>/cifar10/``. Default: ``NCFM_DATA``.
        image_size: side in pixels; larger or smaller images are resized (bicubic). Needed only if the images differ in
            size or are not square; ImageNet and its subsets have a default.
        channels: 1 (grey) or 3 (RGB); default: 1 if every image is grey, else 3. Files that store 2 or 4 channels (grey
            or RGB with alpha, CMYK) keep them if so many are asked for.
        fit: how images become square: "crop" (the short side is resized, the centre cut out), "pad" (the long side is
            resized, black bars are added) or "stretch". What is cropped is listed in the set's ``problems``.
        max_unreadable: share of the images of a split that may be unreadable; they are left out, and listed in the
            set's ``problems``.
        image_column, label_column: columns of a table; default: those with the usual names.
        train_split, test_split: names of files, folders or tables; default: by the words of their names.

    Raises:
        NcfmError: for an unknown name (with the nearest known one), a missing file, images that cannot be read, or
            fewer than two classes.
    """
    root = data_dir or os.environ.get("NCFM_DATA")
    choice = Choice(image_column, label_column, train_split, test_split)
    wanted = Wanted(image_size, channels, max_unreadable, check_known(fit, FITS, "data.fit"))
    request = Request(name, Path(root).expanduser() if root else None, wanted, choice)
    for source in SOURCES:
        found = source.read(request)
        if found is not None:
            if choice != Choice() and not source.has_choice:
                raise InputError(f"{name}: there are no columns or splits to choose; leave out {choice.given}.")
            return found
    known = [form for source in SOURCES for form in source.forms]
    below = "" if Path(name).is_absolute() else f" (relative paths start in {Path.cwd()})"
    raise InputError(
        f"Unknown dataset {name!r}: neither a known name nor an existing folder or file{below}."
        f"{nearest(name, [*known_names(), *_next_to(name)])} Known: {', '.join(known)}."
    )


def _next_to(name: str) -> list[str]:
    """Paths that a mistyped path may mean: those in the same folder."""
    folder = Path(name).expanduser().parent
    return [str(path) for path in folder.iterdir()] if folder.is_dir() else []


def known_names() -> list[str]:
    """All datasets that have a name."""
    return [name for source in SOURCES if source.is_list for name in source.forms]


def short_name(data: str) -> str:
    """The name of a dataset as a part of a file name.

    >>> short_name("hf:owner/pets:cats"), short_name("photos/pets.tar.gz"), short_name("my_module:my_images")
    ('pets-cats', 'pets', 'my_module-my_images')
    """
    if is_outside(data):
        return data.replace(":", "-")
    return without_suffix(Path(data.removeprefix(PREFIX))).replace(":", "-")
