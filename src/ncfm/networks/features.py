"""Feature extraction by a network: the space in which real and synthetic images are compared."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ncfm._utils.accelerator import autocast
from ncfm._utils.checks import check_known
from ncfm._utils.device import compiled
from ncfm._utils.types import Features
from ncfm.networks.base import as_block_network
from ncfm.networks.layout import channels_last
from ncfm.networks.registry import as_network

LAYERS = ("last", "all")


class FeatureExtractor:
    """Flat features of normalised images, on the unit sphere unless switched off.

    Args:
        network: offers ``forward_features`` and ``num_features``. Its weights may be replaced in place between calls.
        normalize: divide every feature vector by its Euclidean norm.
        layers: "last" - the network's features; "all" - those of its L blocks, one after the other. Each block's vector
            is normalised by itself and divided by sqrt(L): every block counts the same, and the whole has norm 1.
        precision: of the forward pass; the features come back in float32, or in the double precision of the network.
        chunk_size: images per pass without gradient. Bounds memory, and on a CPU keeps the activations of a pass in
            cache.
        gradient_chunk_size: images per pass with gradient; more images are processed in chunks, whose activations are
            recomputed in the backward pass (activation checkpointing). None: one pass.
        compile_network: whether to compile the forward pass.

    Raises:
        NcfmError: if the network lacks ``forward_features`` or ``num_features``, or ``block_features`` for "all".
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        normalize: bool = True,
        layers: str = "last",
        precision: torch.dtype = torch.float32,
        chunk_size: int = 64,
        gradient_chunk_size: int | None = None,
        compile_network: bool = False,
    ) -> None:
        self.widths = feature_widths(network, layers)
        self.num_features = sum(self.widths)
        self.gradient_chunk_size = gradient_chunk_size
        self.normalize, self.precision, self.chunk_size = normalize, precision, chunk_size
        self._plain: Callable[..., Any] = _FeaturesOnly(network) if layers == "last" else _AllBlocks(network)
        self._forward = compiled(self._plain, compile_network)

    def uncompiled(self) -> FeatureExtractor:
        """The same extractor of the same network, not compiled."""
        found = copy.copy(self)
        found._forward = self._plain
        return found

    def __call__(self, images: Tensor) -> Features:
        """Features (n, d) of images (n, c, h, w), with gradients to the images."""
        with autocast(images.device, self.precision):
            features = in_chunks(self._forward, channels_last(images), self.gradient_chunk_size)
        features = at_least_single(features)
        if not self.normalize:
            return features
        if len(self.widths) == 1:
            return F.normalize(features, dim=-1)
        parts = [F.normalize(part, dim=-1) for part in features.split(self.widths, dim=-1)]
        return torch.cat(parts, dim=-1) / len(parts) ** 0.5

    @torch.no_grad()
    def without_gradient(self, images: Tensor) -> Features:
        """Features (n, d) of any number of images, in chunks of one size: the last one is padded."""
        if len(images) <= self.chunk_size:
            return self(images)
        size = -(-len(images) // -(-len(images) // self.chunk_size))  # as little padding as possible
        parts = list(images.split(size))
        missing = size - len(parts[-1])
        if missing:
            parts[-1] = torch.cat([parts[-1], images[:missing]])
        features = torch.cat([self(part) for part in parts])
        return features[: len(images)]


def at_least_single(values: Tensor) -> Tensor:
    """The values in float32, or as they are in double precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def in_chunks(forward: Callable[..., Any], images: Tensor, chunk_size: int | None) -> Tensor:
    """``forward(images)`` for a network without state, storing the activations of at most ``chunk_size`` images.

    The activations of a chunk are recomputed for its gradient, at the cost of one more forward pass.
    """
    if chunk_size is None or len(images) <= chunk_size or not torch.is_grad_enabled():
        whole: Tensor = forward(images)
        return whole
    parts = images.split(chunk_size)
    return torch.cat([checkpoint(forward, part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def kept_bytes_per_image(forward: Callable[..., Any], image: Tensor) -> int:
    """Bytes that autograd stores per additional image (1, c, h, w) of a pass, measured with one and two images."""

    def kept(images: Tensor) -> int:
        sizes: dict[int, int] = {}  # by address: a tensor that is stored twice counts once

        def note(saved: Tensor) -> Tensor:
            sizes[saved.data_ptr()] = saved.numel() * saved.element_size()
            return saved

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
            result = forward(images.detach().requires_grad_())  # kept alive, so that no address is reused
        del result
        return sum(sizes.values())

    return max(kept(torch.cat([image, image])) - kept(image), 1)


def feature_widths(network: nn.Module, layers: str) -> list[int]:
    """Number of features of each block that is matched: of the last one, or of all; see `FeatureExtractor`.

    Raises:
        NcfmError: for unknown layers, or a network without features, or without those of its blocks for "all".
    """
    check_known(layers, LAYERS, "layers")
    return [as_network(network).num_features] if layers == "last" else list(as_block_network(network).block_widths)


class _AllBlocks(nn.Module):
    """A module whose forward pass is ``block_features``, one block after the other, for the compiler."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat(as_block_network(self.network).block_features(images), dim=1)


class _FeaturesOnly(nn.Module):
    """A module whose forward pass is ``forward_features``, for the compiler."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = as_network(self.network).forward_features(images)
        return features
