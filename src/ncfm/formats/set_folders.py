"""Folders that other programs write: which file of arrays is meant, and soft labels that cannot be read."""

from __future__ import annotations

import re
from pathlib import Path

from ncfm._utils.checks import InputError
from ncfm.formats.array_files import partner
from ncfm.formats.array_readers import READERS

OF_AN_EPOCH = re.compile(r"epoch_\d+")  # SRe2L, CDA, G-VBSM: FKD_cutmix_fp16/epoch_0/batch_0.tar
SHOWN = 5


def file_of_folder(folder: Path) -> Path | None:
    """The file of images in a folder without folders of classes, as DD-Ranking and DATM write them; None if none is.

    Raises:
        InputError: if several files may be meant.
    """
    if _folders(folder):
        return None
    files = sorted(p for p in folder.iterdir() if p.suffix in READERS and p.is_file())
    chosen = [p for p in files if partner(p) is not None] or files
    if len(chosen) > 1:
        names = ", ".join(p.name for p in chosen[:SHOWN]) + (", ..." if len(chosen) > SHOWN else "")
        raise InputError(f"{folder}: expected one file of images, found {names}; give the path of one of them.")
    return chosen[0] if chosen else None


def labels_by_epoch(folder: Path) -> str:
    """A note on soft labels that are stored for every epoch next to the images; empty if there are none.

    Raises:
        InputError: if the folder itself holds them.
    """
    if _has_epochs(folder):
        raise InputError(
            f"{folder} has soft labels of every epoch (FKD, as SRe2L saves them), not images. They belong to the crops "
            "of one training run and are not read. Give the folder of the images; teachers can label them again (--set "
            "evaluate.labels=teacher)."
        )
    found = [p for p in _folders(folder) if _has_epochs(p)]
    return f"{folder}: the soft labels of every epoch in {found[0].name} (FKD) are left unread." if found else ""


def _has_epochs(folder: Path) -> bool:
    return any(OF_AN_EPOCH.fullmatch(p.name) for p in _folders(folder))


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
