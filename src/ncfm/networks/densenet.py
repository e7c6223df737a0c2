"""DenseNet-BC: bottlenecks and compression."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncfm._utils.checks import InputError, check_at_least
from ncfm.networks.base import FeatureNetwork
from ncfm.networks.convolution import Convolution
from ncfm.networks.norms import make_norm
from ncfm.networks.sizes import LARGE_IMAGE, SMALLEST_MAP, check_image_size

BLOCKS = 3
BOTTLENECK = 4  # channels of the 1x1 convolution, in multiples of the growth


class DenseNet(FeatureNetwork):
    """Three blocks in which every layer gets the maps of all earlier layers.

    A layer appends ``width`` maps to its input: norm - ReLU - 1x1 convolution to ``4 width`` maps - norm - ReLU - 3x3
    convolution. A block of depth ``6 n + 4`` has n layers; between two blocks a transition (norm - ReLU - 1x1
    convolution) halves the number of maps and an average pooling 2x2 their side, unless that would leave less than
    2 px (`ncfm.networks.sizes`). The last layers are norm - ReLU - mean over pixels - linear. The first convolution is
    3x3 to ``2 width`` maps; from 96 px on it is 7x7 of stride 2, with norm, ReLU and a max-pooling 3x3 of stride 2, as
    for ImageNet.

    Args:
        channels: image channels c.
        num_classes: classes C.
        image_size: side of the square image in pixels, at least 8.
        depth: 6 n + 4, at least 10.
        width: the growth, that is the number of maps that a layer appends.
        norm: "instance" (standard in dataset distillation), "batch", "group", "layer" or "none"; without a norm,
            convolutions have biases.

    Features: all maps of the last block, 132 at depth 40 and width 12; at every image size.

    Raises:
        NcfmError: for an image below 8 px, another depth, or an unknown norm.

    Reference:
        Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", CVPR 2017.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        image_size: int,
        depth: int = 40,
        width: int = 12,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        check_image_size(image_size)
        check_at_least(width, 1, "width")
        layers = (depth - 4) // 6
        if layers < 1 or depth != 6 * layers + 4:
            low = max(6 * layers + 4, 10)
            raise InputError(
                f"The depth of a DenseNet is 6 n + 4 (10, 16, ... 40, ... 100), got {depth}; "
                f"the nearest are {low} and {low + 6}."
            )
        maps = 2 * width
        blocks, side = _stem(channels, maps, norm, image_size)
        for block in range(BLOCKS):
            for _ in range(layers):
                blocks.append(DenseLayer(maps, width, norm))
                maps += width
            if block < BLOCKS - 1:
                blocks += [*_normalised(maps, maps // 2, 1, norm)]
                maps //= 2
                if side // 2 >= SMALLEST_MAP:
                    blocks.append(nn.AvgPool2d(2))
                    side //= 2
        self.blocks = nn.Sequential(*blocks, make_norm(norm, maps), nn.ReLU())
        self.num_features = maps
        self.classifier = nn.Linear(maps, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature vectors of normalised images: (n, c, h, w) -> (n, d)."""
        return self.blocks(images).mean((2, 3))


class DenseLayer(nn.Module):
    """The input with ``growth`` maps appended: (n, c, h, w) -> (n, c + growth, h, w)."""

    def __init__(self, channels: int, growth: int, norm: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_normalised(channels, BOTTLENECK * growth, 1, norm), *_normalised(BOTTLENECK * growth, growth, 3, norm)
        )

    def forward(self, x: Tensor) -> Tensor:
        """One layer."""
        return torch.cat([x, self.layers(x)], dim=1)


def _normalised(channels: int, width: int, kernel_size: int, norm: str) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Norm - ReLU - convolution (pre-activation)."""
    return make_norm(norm, channels), nn.ReLU(), _convolution(channels, width, kernel_size, norm)


def _convolution(channels: int, width: int, kernel_size: int, norm: str, stride: int = 1) -> Convolution:
    return Convolution(channels, width, kernel_size, stride, padding=kernel_size // 2, bias=norm == "none")


def _stem(channels: int, width: int, norm: str, image_size: int) -> tuple[list[nn.Module], int]:
    """The first layers, (n, c, h, w) -> (n, width, side, side), and the side of their maps."""
    if image_size < LARGE_IMAGE:
        return [_convolution(channels, width, 3, norm)], image_size
    pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    large = _convolution(channels, width, 7, norm, stride=2)
    return [large, make_norm(norm, width), nn.ReLU(), pool], -(-image_size // 4)
