"""The ConvNet of the dataset-distillation literature."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncfm import kernels
from ncfm._utils.checks import InputError, check_at_least
from ncfm.networks.base import FeatureNetwork
from ncfm.networks.convolution import Convolution
from ncfm.networks.norms import make_norm

MAX_DEPTH = 6
LAYERS_OF_BLOCK = 4


def depth_for(image_size: int) -> int:
    """Depth whose last feature map has 4 to 7 pixels per side: 3 at 32 px, 4 at 64 px, 5 at 128 px; between 1 and 6.

    The choice of Zhao and Bilen, "Dataset Condensation with Distribution Matching", WACV 2023, extended to other sizes.
    """
    return min(max(int(math.log2(image_size)) - 2, 1), MAX_DEPTH)


class ConvNet(FeatureNetwork):
    """``depth`` blocks of convolution 3x3 - norm - ReLU - average pooling 2x2, then one linear layer.

    Args:
        channels: image channels c.
        num_classes: classes C.
        image_size: side of the square image in pixels, at least ``2 ** depth``.
        depth: number of blocks; chosen from the image size by `depth_for` if None.
        width: channels of every block.
        norm: "instance" (standard in dataset distillation), "batch", "group" (4 groups), "layer" or "none".

    Raises:
        NcfmError: if the image is too small for the depth, or the norm is unknown.

    Reference:
        Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting", CVPR 2018; used since Zhao et
        al., "Dataset Condensation with Gradient Matching", ICLR 2021.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        image_size: int,
        depth: int | None = None,
        width: int = 128,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        depth = depth_for(image_size) if depth is None else depth
        check_at_least(depth, 1, "depth")
        check_at_least(width, 1, "width")
        if image_size < 2**depth:
            raise InputError(
                f"A ConvNet of depth {depth} halves the image {depth} times and needs at least {2**depth} px, "
                f"got {image_size} px; use depth {max(int(math.log2(max(image_size, 2))), 1)} or less."
            )
        blocks: list[nn.Module] = []
        for index in range(depth):
            blocks += [
                Convolution(channels if index == 0 else width, width, kernel_size=3, padding=1),
                make_norm(norm, width),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.num_features = width * (image_size >> depth) ** 2
        self._smallest = image_size >> (depth - 1)  # side of the last block's input
        self.block_widths = [self.num_features] * depth
        self.classifier = nn.Linear(self.num_features, num_classes)

    @property
    def is_all_kernels(self) -> bool:
        """Whether a CPU kernel computes each block whole, as far as that depends on the network."""
        convolutions = (layer for layer in self.blocks if isinstance(layer, Convolution))
        widths = all(kernels.takes_channels(c.in_channels, c.out_channels) for c in convolutions)
        norms = all(_is_by_instance(norm) for norm in list(self.blocks)[1::LAYERS_OF_BLOCK])
        return widths and norms and self._smallest >= kernels.TILE

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature vectors of normalised images: (n, c, h, w) -> (n, d)."""
        for at in range(0, len(self.blocks), LAYERS_OF_BLOCK):
            images = self._block(images, at)
        return torch.flatten(images, 1)

    def block_features(self, images: Tensor) -> list[Tensor]:
        """Feature vectors (n, d) of every block, its map averaged to the grid of the last one's; that comes last."""
        maps = []
        for at in range(0, len(self.blocks), LAYERS_OF_BLOCK):
            images = self._block(images, at)
            maps.append(images)
        return [torch.flatten(F.adaptive_avg_pool2d(found, (images.shape[2], images.shape[3])), 1) for found in maps]

    def _block(self, x: Tensor, at: int) -> Tensor:
        """The block whose first layer is number ``at``."""
        convolution, norm, relu, pool = (self.blocks[at + i] for i in range(LAYERS_OF_BLOCK))
        return _block(x, convolution, norm, relu, pool)


def _is_by_instance(norm: nn.Module) -> bool:
    return isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels


def _block(x: Tensor, convolution: nn.Module, norm: nn.Module, relu: nn.Module, pool: nn.Module) -> Tensor:
    """One block, (n, c, h, w) -> (n, width, h / 2, w / 2), by a single CPU kernel if it supports the case."""
    if isinstance(convolution, Convolution) and isinstance(norm, nn.GroupNorm):
        usable = _is_by_instance(norm) and kernels.block_usable(x, convolution.out_channels)
        if usable and convolution.bias is not None:
            x = x.permute(0, 2, 3, 1)  # channels last
            x = kernels.block(x, convolution.weight, convolution.bias, norm.weight, norm.bias, norm.eps)
            return x.permute(0, 3, 1, 2)
    out: Tensor = pool(relu(norm(convolution(x))))
    return out
