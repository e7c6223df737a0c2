"""The film of a run: its images at a few moments, 8-bit, so that one can see later how they grew.

Moments lie at equal shares of the budget, the start and the end among them; an early stop is an end. A frame is a
function of its iteration, and frames are written before the state that comes after them, so that the film of a resumed
run is that of one that never stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ncfm._utils.checks import NcfmFailure
from ncfm._utils.files import read_tensors, write_tensors
from ncfm.data.image_set import to_uint8

FILM_FOLDER = "film"
MOMENTS = 12  # frames of a run, at most
FRAME_BYTES = 2**20  # of a frame, at most: of larger sets the first images of every class, or of the first classes


class Frame(NamedTuple):
    """The images after an iteration."""

    iteration: int
    images: Tensor  # (C', n, c, h, w) uint8: of the first C' classes the first n stored images


def frame_images(images: Tensor) -> Tensor:
    """What a frame holds of stored images (C, ipc, c, h, w) in [0, 1]: as many of each class as `FRAME_BYTES` allow."""
    classes, ipc = images.shape[:2]
    room = max(FRAME_BYTES // images[0, 0].numel(), 1)  # images
    shown = images.detach()[: min(classes, room), : min(ipc, max(room // classes, 1))]
    return to_uint8(shown).cpu()


def write_frame(folder: Path, frame: Frame) -> None:
    """Write a frame into a run folder, atomically."""
    write_tensors(_path(folder, frame.iteration), {"images": frame.images})


def frame_iterations(folder: Path) -> list[int]:
    """The iterations of which a run folder has frames, ascending."""
    return sorted(int(path.stem) for path in (folder / FILM_FOLDER).glob("*.safetensors") if path.stem.isdigit())


def read_film(folder: Path) -> list[Frame]:
    """All frames of a run folder in order; none if it has no film.

    Raises:
        NcfmFailure: if one is damaged, or of another shape than the first.
    """
    film: list[Frame] = []
    for iteration in frame_iterations(folder):
        images = read_tensors(_path(folder, iteration)).get("images")
        if images is None or images.ndim != 5 or (film and images.shape != film[0].images.shape):
            raise NcfmFailure(f"{_path(folder, iteration)} is no frame of this film; remove it.")
        film.append(Frame(iteration, images))
    return film


def cut_film(folder: Path, after: int) -> None:
    """Remove the frames later than an iteration: they will be taken again."""
    for iteration in frame_iterations(folder):
        if iteration > after:
            _path(folder, iteration).unlink()


def _path(folder: Path, iteration: int) -> Path:
    return folder / FILM_FOLDER / f"{iteration:07d}.safetensors"
