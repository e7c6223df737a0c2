"""Draw the pictures of the gallery's sets again, and those on the pages: ``python -m tools.gallery_pictures``."""

from __future__ import annotations

import shutil
from pathlib import Path

import ncfm
from ncfm.synthetic.image_grid import save_image_grid
from tools.site_gallery import PICTURE, sets

IMAGES = Path(__file__).parents[1] / "docs" / "images"
ON_PAGES = ("cifar10-ipc10", "digits-ipc1", "imagenette-ipc1")


def main() -> None:
    """Draw all of them."""
    for folder, _ in sets():
        synthetic = ncfm.load(folder)
        picture = folder / PICTURE
        save_image_grid(picture, synthetic.images, synthetic.class_names, counts=synthetic.counts)
        if folder.name in ON_PAGES:
            shutil.copyfile(picture, IMAGES / f"{folder.name}.png")


if __name__ == "__main__":
    main()
