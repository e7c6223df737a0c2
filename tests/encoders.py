"""Encoded images for tests."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def encoded(array, fmt="PNG", **options):
    """The bytes of an array or of a Pillow image in a file format."""
    file = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(file, fmt, **options)
    return file.getvalue()


def png_of_16_bits(values):
    """A PNG file of RGB colours of 16 bits, which Pillow cannot write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
