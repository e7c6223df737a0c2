"""ResNet of basic blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncfm._utils.checks import check_at_least
from ncfm.networks.base import FeatureNetwork
from ncfm.networks.convolution import Convolution
from ncfm.networks.norms import make_norm
from ncfm.networks.sizes import LARGE_IMAGE, SMALLEST_MAP, check_depth, check_image_size

STAGES = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # basic blocks of each stage


class ResNet(FeatureNetwork):
    """A stem, four stages of basic blocks, the mean over pixels, one linear layer.

    A basic block is ``ReLU(norm(conv(ReLU(norm(conv(x))))) + shortcut(x))`` with 3x3 convolutions; the shortcut is the
    identity or, where the shape changes, a normalised 1x1 convolution. The stages have 1, 2, 4 and 8 times ``width``
    channels, and the first block of every stage but the first has stride 2, unless that would leave a map below 2 px
    (`ncfm.networks.sizes`; at 8 px the last stage keeps its 2 px). The stem is a 3x3 convolution of stride 1 below
    96 px; from there on a 7x7 convolution of stride 2 and a max-pooling 3x3 of stride 2, as for ImageNet.

    Args:
        channels: image channels c.
        num_classes: classes C.
        image_size: side of the square image in pixels, at least 8.
        depth: 10, 18 or 34.
        width: channels of the first stage.
        norm: "instance" (standard in dataset distillation), "batch", "group", "layer" or "none"; without a norm,
            convolutions have biases.

    Features: ``8 width``, at every size.

    Raises:
        NcfmError: for an image below 8 px, another depth, or an unknown norm.

    Reference:
        He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        image_size: int,
        depth: int = 18,
        width: int = 64,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        check_image_size(image_size)
        check_depth("ResNet", depth, STAGES)
        check_at_least(width, 1, "width")
        self.stem, side = _stem(channels, width, norm, image_size)
        blocks: list[nn.Module] = []
        inside = width
        for stage, number in enumerate(STAGES[depth]):
            halved = -(-side // 2)  # stride 2 keeps the middle of an odd map
            stride = 2 if stage > 0 and halved >= SMALLEST_MAP else 1
            side = halved if stride == 2 else side
            for index in range(number):
                blocks.append(BasicBlock(inside, width << stage, stride if index == 0 else 1, norm))
                inside = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.num_features = inside
        self.block_widths = [width << stage for stage, number in enumerate(STAGES[depth]) for _ in range(number)]
        self.classifier = nn.Linear(inside, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature vectors of normalised images: (n, c, h, w) -> (n, d)."""
        return self.blocks(self.stem(images)).mean((2, 3))

    def block_features(self, images: Tensor) -> list[Tensor]:
        """Feature vectors (n, channels) of every basic block: the means over the pixels of its map."""
        maps, x = [], self.stem(images)
        for block in self.blocks:
            x = block(x)
            maps.append(x.mean((2, 3)))
        return maps


class BasicBlock(nn.Module):
    """``ReLU(residual(x) + shortcut(x))``: (n, c, h, w) -> (n, k, h / stride, w / stride), rounded up."""

    def __init__(self, channels: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        bias = norm == "none"  # a norm would cancel it
        self.residual = nn.Sequential(
            Convolution(channels, width, kernel_size=3, stride=stride, padding=1, bias=bias),
            make_norm(norm, width),
            nn.ReLU(),
            Convolution(width, width, kernel_size=3, padding=1, bias=bias),
            make_norm(norm, width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            projection = Convolution(channels, width, kernel_size=1, stride=stride, bias=bias)
            self.shortcut = nn.Sequential(projection, make_norm(norm, width))

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        return torch.relu(self.residual(x) + self.shortcut(x))


def _stem(channels: int, width: int, norm: str, image_size: int) -> tuple[nn.Sequential, int]:
    """The first layers, (n, c, h, w) -> (n, width, side, side), and the side of their maps."""
    bias = norm == "none"
    if image_size < LARGE_IMAGE:
        small = Convolution(channels, width, kernel_size=3, padding=1, bias=bias)
        return nn.Sequential(small, make_norm(norm, width), nn.ReLU()), image_size
    large = Convolution(channels, width, kernel_size=7, stride=2, padding=3, bias=bias)
    pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    return nn.Sequential(large, make_norm(norm, width), nn.ReLU(), pool), -(-image_size // 4)
