"""Images that can be read only once, kept until they are decoded."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Sequence

from PIL import Image

from ncfm._utils.checks import RunError
from ncfm._utils.files import cache_dir
from ncfm.data import store
from ncfm.data.raw import Encoded


class Spool:
    """Encoded images in memory, or in an unnamed file beyond `store.HELD_BYTES`. It is closed as a context.

    Raises:
        RunError: if the disk is full or the folder of the cache cannot be written.
    """

    def __init__(self) -> None:
        folder = cache_dir() / "images"
        with contextlib.suppress(OSError):  # not needed if the images are few
            folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.SpooledTemporaryFile(max_size=store.HELD_BYTES, dir=str(folder))  # noqa: SIM115
        self._starts: list[int] = []  # position of every image

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts)

    def append(self, image: Encoded) -> None:
        """Keep one more image."""
        if isinstance(image, Image.Image):
            image = image.copy()  # without its open file
        try:
            self._file.seek(0, 2)
            self._starts.append(self._file.tell())
            pickle.dump(image, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        except OSError as error:
            raise RunError(f"Could not keep the images in {cache_dir()}: {error}.") from error

    def read(self, start: int, stop: int) -> Sequence[Encoded]:
        """The images from ``start`` to ``stop``."""
        return [self._read(position) for position in self._starts[start:stop]]

    def _read(self, position: int) -> Encoded:
        self._file.seek(position)
        image: Encoded = pickle.load(self._file)
        return image
