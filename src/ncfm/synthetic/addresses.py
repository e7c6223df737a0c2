"""Addresses of sets: ``hf:owner/name`` on the Hugging Face hub, and ``gallery:name`` in the gallery of ncfm.

The gallery comes with the package: a wheel has it as ``ncfm/gallery``, a clone of the repository as ``gallery``. The
environment variable ``NCFM_GALLERY`` names another one: a folder with a folder for each set, or ``hf:owner/name``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ncfm._utils.checks import InputError, nearest
from ncfm.synthetic.folders import FACTS_FILE, SET_FOLDER

HUB, GALLERY = "hf:", "gallery:"
GALLERY_VARIABLE = "NCFM_GALLERY"
FILES = (FACTS_FILE, "*.safetensors")  # of a set; nothing else of a repository is downloaded
REPOSITORY = re.compile(r"([\w-][\w.-]{0,95}/[\w-][\w.-]{0,95})(?:@([\w./-]+))?", re.ASCII)


def is_address(place: str | Path) -> bool:
    """Whether a place is on the hub or in the gallery, rather than a path.

    >>> is_address("hf:owner/name"), is_address("gallery:digits-ipc1"), is_address("runs/digits-ipc1")
    (True, True, False)
    """
    return str(place).startswith((HUB, GALLERY))


def local_folder(place: str | Path) -> Path:
    """The folder of a set on this machine: that of a path, of the gallery, or of a download from the hub.

    Raises:
        InputError: for an address of another form, an unknown name, or a hub that cannot be reached.
    """
    text = str(place)
    if text.startswith(GALLERY):
        return _of_gallery(text.removeprefix(GALLERY))
    if text.startswith(HUB):
        return _of_hub(text)
    return Path(place).expanduser()


def gallery_names() -> list[str]:
    """The names of the sets in the gallery on this machine; those of a gallery on the hub are not listed."""
    folder = _gallery_folder()
    return [] if folder is None else sorted(found.parent.name for found in folder.glob(f"*/{FACTS_FILE}"))


def check_no_address(place: str | Path, remedy: str) -> None:
    """Raise InputError if a place, in which something is to be written, is an address."""
    if is_address(place):
        raise InputError(f"{place} is not a folder of yours to write to; {remedy}.")


def _of_gallery(name: str) -> Path:
    place = os.environ.get(GALLERY_VARIABLE, "")
    if place.startswith(HUB):
        return _download(place, f"{name}/")
    folder, names = _gallery_folder(), gallery_names()
    if folder is not None and name in names:
        return folder / name
    if not names:
        raise InputError(
            f"Expected the gallery of ncfm for {GALLERY}{name}, but found none"
            f"{f' in {place}' if place else ' next to the package'}. Set {GALLERY_VARIABLE} to its folder in a clone "
            "of the repository, or to hf:owner/name."
        )
    raise InputError(f"Unknown set {GALLERY}{name}.{nearest(name, names)} Known: {', '.join(names)}.")


def _gallery_folder() -> Path | None:
    """The folder that the user names, or the one that comes with the package."""
    if os.environ.get(GALLERY_VARIABLE):
        return Path(os.environ[GALLERY_VARIABLE]).expanduser()
    package = Path(__file__).parents[1]
    places = (package / "gallery", package.parents[1] / "gallery")  # of a wheel, of a clone
    return next((place for place in places if any(place.glob(f"*/{FACTS_FILE}"))), None)


def _of_hub(place: str) -> Path:
    folder = _download(place)
    if not any((folder / part / FACTS_FILE).is_file() for part in ("", SET_FOLDER)):
        raise InputError(
            f"{place} holds no set of ncfm ({FACTS_FILE}), as `ncfm export SET --to hf --push owner/name` uploads it. "
            "Download another dataset, and give its files to `ncfm evaluate FILES --on DATA`."
        )
    return folder


def _download(place: str, below: str = "") -> Path:
    """The files of a set in a repository, in the cache of the hub's library, which is used without a network too.

    Args:
        place: ``hf:owner/name`` or ``hf:owner/name@revision``.
        below: the folder of the set in the repository, with a final ``/``; its root if empty.

    Raises:
        InputError: unless the place has this form, and its files are reached.
    """
    named = REPOSITORY.fullmatch(place.removeprefix(HUB))
    if named is None:
        raise InputError(f"Expected hf:owner/name or hf:owner/name@revision, got {place!r}.")
    from huggingface_hub import snapshot_download  # comes with the datasets library

    wanted = [f"{below}{folder}{file}" for folder in ("", f"{SET_FOLDER}/") for file in FILES]
    repository, revision = named.groups()
    try:
        folder = snapshot_download(repository, repo_type="dataset", revision=revision, allow_patterns=wanted)
    except Exception as error:  # the library raises many kinds, from many layers below it
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(
            f"Could not load {place} from the Hugging Face hub ({type(error).__name__}: {reason}). Check the name, the "
            "network, and the token of a private repository (HF_TOKEN); or download the folder elsewhere and give its "
            "path."
        ) from error
    return Path(folder) / below
