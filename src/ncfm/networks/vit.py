"""A small vision transformer."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ncfm._utils.checks import check_at_least
from ncfm.networks.base import FeatureNetwork
from ncfm.networks.sizes import check_image_size

GRID = 8  # tokens per side, up to images of GRID * LARGEST_PATCH = 128 px
LARGEST_PATCH = 16  # pixels per side, up to images of LARGEST_GRID * LARGEST_PATCH = 224 px
LARGEST_GRID = 14
HEAD_WIDTH = 64


def patch_for(image_size: int) -> int:
    """Side of a patch in pixels: 1 at 8 px, 4 at 28 and 32 px, 8 at 64 px, 16 from 121 to 224 px.

    The smallest side with at most 8 x 8 tokens, but at most 16 as long as there are at most 14 x 14 tokens.
    """
    return max(min(-(-image_size // GRID), LARGEST_PATCH), -(-image_size // LARGEST_GRID))


class ViT(FeatureNetwork):
    """Patches as tokens, learned positions, ``depth`` pre-norm transformer layers, mean over tokens, one linear layer.

    A layer is ``x + attention(norm(x))``, then ``x + mlp(norm(x))`` with GELU and 4 times the width; a norm follows the
    last one. Patches have `patch_for` pixels per side: 64 tokens at 8, 32, 64 and 128 px, 49 at 28 px, 196 at 224 px.
    If the patch does not divide the image, the image is padded on the right and below with zeros, the mean colour of
    normalised images. There is no dropout, no class token and no choice of norm.

    Args:
        channels: image channels c.
        num_classes: classes C.
        image_size: side of the square image in pixels, at least 8.
        depth: number of layers.
        width: of a token. A layer has ``width / 64`` heads, or the next smaller number that divides the width, at least
            one.

    Features: ``width``, at every size.

    Raises:
        NcfmError: for an image below 8 px, or a depth or width below 1.

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021;
        mean over tokens: Beyer, Zhai and Kolesnikov, "Better plain ViT baselines for ImageNet-1k", arXiv 2205.01580.
    """

    def __init__(self, channels: int, num_classes: int, *, image_size: int, depth: int = 6, width: int = 192) -> None:
        super().__init__()
        check_image_size(image_size)
        check_at_least(depth, 1, "depth")
        check_at_least(width, 1, "width")
        patch = patch_for(image_size)
        self.missing = -image_size % patch  # pixels to whole patches
        grid = (image_size + self.missing) // patch
        heads = next(number for number in range(max(width // HEAD_WIDTH, 1), 0, -1) if width % number == 0)
        self.embedding = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(grid**2, width), std=0.02))
        # Separately: nn.TransformerEncoder would give all layers the weights of the first.
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.num_features = width
        self.classifier = nn.Linear(width, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature vectors of normalised images: (n, c, h, w) -> (n, d)."""
        patches: Tensor = self.embedding(F.pad(images, (0, self.missing, 0, self.missing)))  # (n, width, grid, grid)
        tokens = patches.flatten(2).transpose(1, 2) + self.positions  # (n, tokens, width)
        with _attention_for(images):
            features: Tensor = self.norm(self.layers(tokens)).mean(1)
        return features


def _attention_for(images: Tensor) -> AbstractContextManager[None]:
    """On a CPU and inside a torch.func transform, attention by its definition: the fused one has no batching rule."""
    # A compiler cannot see the transforms; among compiled passes only the stacked one of students needs this.
    transformed = torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None
    return sdpa_kernel(SDPBackend.MATH) if images.device.type == "cpu" and transformed else nullcontext()
