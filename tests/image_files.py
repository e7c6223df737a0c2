"""Small images and their files, as many tests of data sources need them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

IDS = ["n01440764", "n02102040", "n02979186"]  # WordNet ids of three classes


def picture(number: int, size: int = 6, *, grey: bool = False) -> np.ndarray:
    """A random picture, known by its number: uint8 (h, w, 3) or (h, w)."""
    shape = (size, size) if grey else (size, size, 3)
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def png(number: int, size: int = 6, *, grey: bool = False) -> bytes:
    """The file of `picture`; lossless, whatever the suffix that it gets."""
    buffer = io.BytesIO()
    Image.fromarray(picture(number, size, grey=grey)).save(buffer, "PNG")
    return buffer.getvalue()


def write_image(path: Path, number: int, size: int = 6, *, grey: bool = False) -> Path:
    """The file of `picture`, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(number, size, grey=grey))
    return path


def stack(numbers: list[int], size: int = 6, *, grey: bool = False) -> torch.Tensor:
    """Pictures as an image set has them: uint8 (n, c, h, w)."""
    images = torch.from_numpy(np.stack([picture(number, size, grey=grey) for number in numbers]))
    return images[:, None] if grey else images.permute(0, 3, 1, 2)


def write_train(folder: Path, suffix: str = ".JPEG", below: str = "", ids: list[str] = IDS) -> None:
    """Two images of every class: image 2 c and 2 c + 1 of class c."""
    for number in range(2 * len(ids)):
        write_image(folder / ids[number // 2] / below / f"{ids[number // 2]}_{number}{suffix}", number)
