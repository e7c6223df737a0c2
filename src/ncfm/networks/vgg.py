"""VGG with one linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncfm._utils.checks import check_at_least
from ncfm.networks.base import FeatureNetwork
from ncfm.networks.convolution import Convolution
from ncfm.networks.norms import make_norm
from ncfm.networks.sizes import SMALLEST_MAP, check_depth, check_image_size

# Convolutions of each of the five stages; the depth counts them and the three linear layers of the original.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
MULTIPLES = (1, 2, 4, 8, 8)  # of the width, by stage


class VGG(FeatureNetwork):
    """Five stages of 3x3 convolutions (norm, ReLU), a max-pooling 2x2 after each, then one linear layer.

    One linear layer replaces the three of the original, as usual in dataset distillation. A pooling that would leave
    less than 2 px before a further norm is omitted (`ncfm.networks.sizes`): two of the first four at 8 px, one at
    28 px, none from 32 px on.

    Args:
        channels: image channels c.
        num_classes: classes C.
        image_size: side of the square image in pixels, at least 8.
        depth: 11, 13 or 16.
        width: channels of the first stage; the others have 2, 4, 8 and 8 times as many.
        norm: "instance" (standard in dataset distillation), "batch", "group", "layer" or "none".

    Features: ``8 width`` up to 63 px, ``8 width * (image_size // 32) ** 2`` from 32 px on.

    Raises:
        NcfmError: for an image below 8 px, another depth, or an unknown norm.

    Reference:
        Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        image_size: int,
        depth: int = 11,
        width: int = 64,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        check_image_size(image_size)
        check_depth("VGG", depth, STAGES)
        check_at_least(width, 1, "width")
        blocks: list[nn.Module] = []
        side = image_size
        for stage, (convolutions, multiple) in enumerate(zip(STAGES[depth], MULTIPLES, strict=True), start=1):
            for _ in range(convolutions):
                blocks += [
                    Convolution(channels, multiple * width, kernel_size=3, padding=1),
                    make_norm(norm, multiple * width),
                    nn.ReLU(),
                ]
                channels = multiple * width
            if side // 2 >= SMALLEST_MAP or stage == len(MULTIPLES):
                blocks.append(nn.MaxPool2d(2))
                side //= 2
        self.blocks = nn.Sequential(*blocks)
        self.num_features = channels * side**2
        self.classifier = nn.Linear(self.num_features, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature vectors of normalised images: (n, c, h, w) -> (n, d)."""
        return torch.flatten(self.blocks(images), 1)
