"""Folders of sets and of runs: the names of their files, and what a folder holds."""

from __future__ import annotations

from pathlib import Path

from ncfm._utils.checks import InputError, NcfmError, nearest
from ncfm._utils.files import read_json

FACTS_FILE, SET_FOLDER = "set.json", "synthetic"  # what makes a folder a set; the set within a run or an upload
IMAGES_FILE = "images.safetensors"
WHITENING_FILE = "whitening.safetensors"
LABELS_FILE = "labels.safetensors"
SCORES_FILE, CONFIG_FILE = "scores.json", "config.json"  # in a run folder


def no_set(folder: Path) -> InputError:
    """Why there is no set at a path."""
    if not folder.exists():
        below = "" if folder.is_absolute() else f" (relative paths start in {Path.cwd()})"
        near = nearest(folder.name, [p.name for p in folder.parent.iterdir()] if folder.parent.is_dir() else [])
        return InputError(f"Expected a distilled set, but {folder} does not exist{below}.{near}")
    state = "exists but holds none" if folder.is_dir() else "is a file"
    return InputError(
        f"Expected a synthetic set (a folder with {FACTS_FILE} and {IMAGES_FILE}), but {folder} {state}. "
        "Give the folder that `ncfm distill` wrote (--out), or the set in it."
    )


def has_set(folder: Path) -> bool:
    """Whether a folder is a set, or a run folder that has one."""
    return any((place / FACTS_FILE).is_file() for place in (folder, folder / SET_FOLDER))


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    try:
        described = read_json(folder / CONFIG_FILE)
    except NcfmError:  # none, or of another program
        return False
    return isinstance(described, dict) and {"data", "ipc", "config"} <= described.keys()
