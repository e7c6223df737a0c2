"""Files of images: the formats that are read, how they are opened, and their headers."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

from ncfm.data.channels import GREY, RGB
from ncfm.data.image_modes import is_grey

# Tried first: nearly all images have one of these formats.
COMMON = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
NO_IMAGES = frozenset(
    {
        "EPS",  # a program in PostScript, which Pillow gives to Ghostscript to run
        "MPEG",  # a film, of which Pillow reads the header only
        "BUFR",  # of this and the following, Pillow knows the signature and decodes nothing by itself
        "GRIB",
        "HDF5",
        "WMF",
    }
)
"""Formats with a suffix in Pillow that are not read. PDF is among those that Pillow only writes."""

STEREO = {".mpo": "JPEG"}  # JPEG files with more pictures behind the first; Pillow has no reader under that suffix
MOST_PIXELS = 2**26  # of one image; 67 million


@cache
def format_of_suffix() -> dict[str, str]:
    """The format by suffix (``.png``) of all files that Pillow can read; asking it imports its plug-ins."""
    Image.init()
    known = Image.registered_extensions().items()
    return {suffix: name for suffix, name in known if name in Image.OPEN and name not in NO_IMAGES} | STEREO


def is_image_name(name: str) -> bool:
    """Whether a file of this name is read as an image."""
    return Path(name).suffix.lower() in format_of_suffix()


@cache
def _formats_with_signature() -> tuple[str, ...]:
    """The formats that are known by the first bytes of a file."""
    others = sorted(set(format_of_suffix().values()) - set(COMMON))
    return (*COMMON, *(name for name in others if Image.OPEN[name][1] is not None))


def _formats(source: bytes | Path) -> tuple[str, ...]:
    """The formats to try. One without a signature, such as TGA, would accept other bytes: the suffix has to say it."""
    known = _formats_with_signature()
    own = format_of_suffix().get(source.suffix.lower()) if isinstance(source, Path) else None
    return known if own is None or own in known else (*known, own)


def open_image(source: bytes | Path) -> Image.Image:
    """Open an image; only its header is read.

    Raises:
        ValueError: if there is none, or one of more than `MOST_PIXELS` pixels: a small file may claim gigabytes.
    """
    if source == b"":
        raise ValueError("it holds no encoded image (null or empty)")
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats(source))
    except UnidentifiedImageError as error:
        raise ValueError("it has no format that Pillow reads, or is damaged") from error
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise ValueError(f"its header says {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
    return image


class Head(NamedTuple):
    """Size and kind of an image, from its header."""

    width: int
    height: int
    channels: int  # grey or RGB, into which files are decoded by default; of arrays any number

    @classmethod
    def of(cls, image: Image.Image) -> Head:
        """The head of an open image; its EXIF rotation may exchange width and height."""
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        width, height = image.size[::-1] if turned else image.size
        return cls(width, height, GREY if is_grey(image) else RGB)


def why_unreadable(error: Exception, source: object) -> str:
    """The cause in words, without the path, which the message has already."""
    if isinstance(error, FileNotFoundError) and isinstance(source, Path) and source.is_symlink():
        return f"a link to {source.readlink()}, which does not exist"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
