"""An export: one NumPy file of images per class, and a text file with the class names.

ncfm export runs/digits-ipc1 --to my_export:write --out digits-npy
"""

from pathlib import Path

import numpy as np


def write(content, path):
    """Fill the empty folder ``path`` with the images of a distilled dataset.

    Args:
        content: has `pixels` (n, c, h, w) as uint8, `labels` (n,), `class_names` (C,).
        path: the folder.
    """
    path = Path(path)
    for label, _ in enumerate(content.class_names):
        images = content.pixels[content.labels == label]
        np.save(path / f"{label}.npy", images.numpy())
    names = "\n".join(content.class_names) + "\n"
    (path / "classes.txt").write_text(names, encoding="utf-8")
