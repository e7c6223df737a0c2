"""Hashes of single images, by which equal pixels are known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ncfm._utils.files import ROWS_AT_ONCE, release_pages
from ncfm._utils.types import StoredImages


def image_digests(images: StoredImages, key: bytes = b"") -> Iterator[bytes]:
    """The SHA-256 of the pixels of each image, 32 bytes; mapped images are read in parts.

    Args:
        images: (n, c, h, w) uint8.
        key: hashed before the pixels, so that each use has hashes of its own.
    """
    keyed = hashlib.sha256(key)
    for part in images.split(ROWS_AT_ONCE):
        for pixels in part.flatten(1).cpu().numpy():
            digest = keyed.copy()
            digest.update(pixels)
            yield digest.digest()
        release_pages()
