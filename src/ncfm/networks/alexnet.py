"""AlexNet as the dataset-distillation literature uses it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncfm._utils.checks import InputError
from ncfm.networks.base import FeatureNetwork
from ncfm.networks.convolution import Convolution
from ncfm.networks.norms import make_norm
from ncfm.networks.sizes import LARGE_IMAGE, check_image_size


class AlexNet(FeatureNetwork):
    """Five convolutions, three poolings and one linear layer.

    Convolution 5x5 of 128 channels - pooling - 5x5 of 192 - pooling - 3x3 of 256, 192 and 192 - pooling - linear, with
    ReLU after every convolution and max-pooling 2x2. From 96 px on the first convolution is that of the original, 11x11
    with stride 4, which leads to maps of 3 px (96 px), 4 px (128 px) and 7 px (224 px).

    At 8 px, the smallest image, the last three convolutions have maps of 2 px: no norm is applied to a map of one pixel
    (`ncfm.networks.sizes`).

    Args:
        channels: image channels c.
        num_classes: classes C.
        image_size: side of the square image in pixels, at least 8.
        width: channels w of the first convolution, even; the others have 3w/2, 2w, 3w/2 and 3w/2.
        norm: a norm after each convolution: "none" (as in the literature), "instance", "batch", "group", "layer".

    Features: ``3 width / 2 * side ** 2``, where the last map has ``side = image_size // 8`` below 96 px.

    Raises:
        NcfmError: for an image below 8 px, an odd width, or an unknown norm.

    Reference:
        Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NeurIPS
        2012; in this form since Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021.
    """

    def __init__(
        self, channels: int, num_classes: int, *, image_size: int, width: int = 128, norm: str = "none"
    ) -> None:
        super().__init__()
        check_image_size(image_size)
        if width < 2 or width % 2:
            raise InputError(
                f"The width of an AlexNet must be even (its layers have 1, 3/2 and 2 times it), got {width}."
            )
        narrow, wide = 3 * width // 2, 2 * width
        if image_size < LARGE_IMAGE:
            first, side = Convolution(channels, width, kernel_size=5, padding=2), image_size
        else:
            first = Convolution(channels, width, kernel_size=11, stride=4, padding=5)
            side = -(-image_size // 4)  # rounded up: the padding completes the last window
        self.blocks = nn.Sequential(
            *_rectified(first, norm),
            nn.MaxPool2d(2),
            *_rectified(Convolution(width, narrow, kernel_size=5, padding=2), norm),
            nn.MaxPool2d(2),
            *_rectified(Convolution(narrow, wide, kernel_size=3, padding=1), norm),
            *_rectified(Convolution(wide, narrow, kernel_size=3, padding=1), norm),
            *_rectified(Convolution(narrow, narrow, kernel_size=3, padding=1), norm),
            nn.MaxPool2d(2),
        )
        self.num_features = narrow * (side // 8) ** 2
        self.classifier = nn.Linear(self.num_features, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature vectors of normalised images: (n, c, h, w) -> (n, d)."""
        return torch.flatten(self.blocks(images), 1)


def _rectified(convolution: Convolution, norm: str) -> tuple[nn.Module, nn.Module, nn.Module]:
    return convolution, make_norm(norm, convolution.out_channels), nn.ReLU()
