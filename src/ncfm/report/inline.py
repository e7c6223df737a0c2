"""Pictures inside a page, as data addresses: images, strips and animations. The page fetches nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import torch
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from ncfm.data.channels import visible

LOSSLESS_SIDE = 64  # pixels; larger images are stored as WebP, which takes a fifth of PNG for photographs
ANIMATION_PIXELS = 2**17  # maximum of pixels per frame of an animation
ANIMATION_SIDE = 32  # minimum side of an image in an animation, in pixels
GAP = 1  # pixels between the images of an animation


def picture(image: Tensor) -> Image.Image:
    """A (c, h, w) uint8 image, its `visible` channels."""
    pixels = visible(image).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def address(image: Image.Image) -> Markup:
    """An image as a ``data:`` address: PNG, or WebP if it is large."""
    buffer = io.BytesIO()
    if max(image.size) <= LOSSLESS_SIDE or image.size[1] <= LOSSLESS_SIDE:
        image.save(buffer, format="PNG", optimize=False)
        return _address("png", buffer)
    image.save(buffer, format="WEBP", quality=85, method=2)
    return _address("webp", buffer)


def strip(frames: Sequence[Tensor]) -> Image.Image:
    """Images (c, h, w) uint8 side by side, their `visible` channels, with transparent gaps."""
    frames = [visible(frame) for frame in frames]
    gap = max(frames[0].shape[-1] // 16, 1)
    rgb = torch.cat([torch.nn.functional.pad(frame, (0, gap)) for frame in frames], dim=2)[..., :-gap]
    seen = torch.nn.functional.pad(torch.full_like(frames[0][:1], 255), (0, gap)).repeat(1, 1, len(frames))[..., :-gap]
    bands = [*rgb.unbind(0), seen[0]]
    return Image.merge("LA" if len(bands) == 2 else "RGBA", [Image.fromarray(band.numpy()) for band in bands])


def still(images: Tensor, background: int = 128) -> Image.Image:
    """One frame of an animation, from images (C, n, c, h, w) uint8, as many as `ANIMATION_PIXELS` allow.

    Each row is a class; with one image per class, up to ten classes share a row.
    """
    if images.shape[1] == 1:
        columns = min(len(images), 10)
        images = images[: len(images) // columns * columns].view(-1, columns, *images.shape[2:])
    scale = -(-ANIMATION_SIDE // images.shape[-1])
    room = max(ANIMATION_PIXELS // (scale**2 * images[0, 0, 0].numel()), 1)
    columns = min(images.shape[1], max(int(room**0.5), 1), 10)
    rows = min(len(images), max(room // columns, 1))
    shown = images[:rows, :columns].repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    padded = torch.nn.functional.pad(shown, (0, GAP, 0, GAP), value=background)
    r, k, c, h, w = padded.shape
    return picture(padded.permute(2, 0, 3, 1, 4).reshape(c, r * h, k * w)[:, :-GAP, :-GAP].contiguous())


def moving(frames: Sequence[Image.Image], milliseconds: int = 350, *, lossless: bool = False) -> Markup:
    """Frames as an animated WebP in an endless loop; the last frame is shown four times as long.

    Lossless compression is smaller for images that are enlarged without smoothing.
    """
    buffer = io.BytesIO()
    first, *others = [frame.convert("RGB") for frame in frames]
    durations = [milliseconds] * len(others) + [4 * milliseconds]
    first.save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        lossless=lossless,
        quality=80,
        method=2,
    )
    return _address("webp", buffer)


def _address(kind: str, buffer: io.BytesIO) -> Markup:
    return Markup("data:image/{};base64,{}").format(kind, base64.b64encode(buffer.getvalue()).decode("ascii"))
