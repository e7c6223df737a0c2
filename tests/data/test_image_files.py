"""Files of images: which are read, by suffix and by content, and what is said of the others."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ncfm.data.image_files import NO_IMAGES, Head, format_of_suffix, is_image_name, open_image, why_unreadable

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "suffix", [".png", ".JPG", ".jfif", ".jpe", ".jp2", ".tga", ".mpo", ".webp", ".tif", ".pgm", ".qoi", ".apng"]
)
def test_names_that_pillow_reads(suffix):
    assert is_image_name(f"x{suffix}")


@pytest.mark.parametrize("name", ["a.pdf", "a.eps", "a.mpg", "a.h5", "a.wmf", "a.txt", "a.heic", "png", ".png", "a"])
def test_other_names(name):
    assert not is_image_name(name)


def test_no_format_that_only_knows_its_signature_is_read():
    assert not NO_IMAGES & set(format_of_suffix().values())


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TGA", "TIFF", "SGI", "PCX", "QOI", "ICO", "DDS"])
def test_every_format_gives_the_same_pixels(tmp_path, fmt):
    suffix = next(suffix for suffix, name in format_of_suffix().items() if name == fmt)
    path = tmp_path / f"x{suffix}"
    if fmt == "QOI":
        pytest.importorskip("PIL", minversion="12.0")  # written since
    PICTURE.save(path, fmt)
    with open_image(path) as image:
        assert image.format == fmt
        assert np.array_equal(image.convert("RGB"), PICTURE)


def test_the_content_decides_not_the_suffix(tmp_path):
    PICTURE.save(tmp_path / "x.png", "BMP")
    with open_image(tmp_path / "x.png") as image:
        assert image.format == "BMP"


def test_a_format_without_signature_needs_its_suffix(tmp_path):
    PICTURE.save(tmp_path / "x.tga")
    with open_image(tmp_path / "x.tga") as image:
        assert image.format == "TGA"
    with pytest.raises(ValueError, match="no format that Pillow reads"):
        open_image((tmp_path / "x.tga").read_bytes())


@pytest.mark.parametrize("content", [b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4"])
def test_what_is_no_image_is_refused(content):
    with pytest.raises(ValueError, match=r"no format that Pillow reads|null or empty"):
        open_image(content)


def test_the_head_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    PICTURE.resize((8, 4)).convert("L").save(file, "PNG", exif=exif.tobytes())
    with open_image(file.getvalue()) as image:
        assert Head.of(image) == Head(width=4, height=8, channels=1)


def test_causes_do_not_repeat_the_path(tmp_path):
    (tmp_path / "gone.png").symlink_to("/nowhere/x.png")
    for path, words in (
        (tmp_path / "gone.png", "a link to /nowhere/x.png, which does not exist"),
        (tmp_path / "none.png", "No such file or directory"),
    ):
        with pytest.raises(OSError, match="No such file") as caught:
            open_image(path)
        assert why_unreadable(caught.value, path) == words


def test_the_package_is_imported_without_pillows_plug_ins():
    code = "import sys, ncfm; print([name for name in sys.modules if name.startswith('PIL')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
