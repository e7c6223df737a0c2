"""PNG images: one folder per class."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ncfm._utils.checks import InputError
from ncfm._utils.files import write_json
from ncfm._utils.progress import counted
from ncfm._utils.types import Statistics, StoredImages
from ncfm.data.channels import GREY, RGB
from ncfm.formats.content import Content
from ncfm.formats.export_facts import CLASSES_FILE, export_facts


def png_bytes(pixels: StoredImages) -> list[bytes]:
    """Images (n, c, h, w) uint8 encoded as PNG, lossless.

    Raises:
        NcfmError: unless c is 1 (grey) or 3 (RGB).
    """
    if pixels.shape[1] not in (GREY, RGB):
        raise InputError(
            f"PNG images are grey or RGB, but the set has {counted(pixels.shape[1], 'channel')}; choose ncfm, npz or "
            "pt."
        )
    return [_png(image) for image in pixels]


def _png(image: StoredImages) -> bytes:
    """One image (c, h, w)."""
    channels_last = image.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(channels_last[..., 0] if channels_last.shape[2] == 1 else channels_last).save(buffer, "PNG")
    return buffer.getvalue()


def write_png(content: Content, folder: Path) -> None:
    """``0_airplane/000.png``, ...: sorted by name, folders and files are in the order of classes and images."""
    folders = content.folder_names
    of_class = content.labels.bincount(minlength=len(folders)).tolist()
    digits = max(3, len(str(max(of_class))))
    files = iter(png_bytes(content.pixels))
    for name, count in zip(folders, of_class, strict=True):
        (folder / name).mkdir()
        for i in range(count):
            (folder / name / f"{i:0{digits}d}.png").write_bytes(next(files))
    write_index(content, folder, folders=folders)


def write_index(
    content: Content, folder: Path, *, folders: Sequence[str] = (), normalized_by: Statistics | None = None
) -> None:
    """The values of `export_facts`, and the folders of the classes. The file also marks a folder as an export."""
    facts = export_facts(content, normalized_by)
    write_json(folder / CLASSES_FILE, facts | ({"folders": list(folders)} if folders else {}))
