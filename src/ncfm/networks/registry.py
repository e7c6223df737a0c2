"""Networks by name."""

from __future__ import annotations

import re
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ncfm._checks import NcfmError
from ncfm._seeding import derive_seed
from ncfm.networks.convnet import ConvNet

_CONVNET = re.compile(r"convnet(?P<depth>\d+)?(?:w(?P<width>\d+))?(?:-(?P<norm>\w+))?")


class Network(Protocol):
    """What the package asks of a network beside being an ``nn.Module``."""

    num_features: int

    def forward_features(self, images: Tensor) -> Tensor:
        """Flat feature vectors, (n, c, h, w) -> (n, d)."""
        ...


def create_network(name: str, *, channels: int, num_classes: int, image_size: int, seed: int) -> nn.Module:
    """A freshly initialised network.

    Names: ``convnet`` (depth from the image size), ``convnet3``, ``convnet3w64`` (width 64), ``convnet4-batch``
    (norm).

    Args:
        name: one of the names above.
        channels: image channels c.
        num_classes: classes C.
        image_size: side of the square image in pixels.
        seed: fixes the initial weights, whatever else has drawn random numbers.

    Raises:
        NcfmError: for an unknown name, or an image too small for the network.
    """
    match = _CONVNET.fullmatch(name)
    if match is None:
        raise NcfmError(
            f"Unknown network {name!r}. Known: convnet, convnet<depth>, convnet<depth>w<width>, each with an "
            "optional -instance, -batch, -group, -layer or -none; for example convnet3 or convnet4w64-batch."
        )
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also reseed the accelerators for good.
        torch.default_generator.manual_seed(derive_seed(seed, "initial weights"))
        return ConvNet(
            channels,
            num_classes,
            image_size=image_size,
            depth=int(match["depth"]) if match["depth"] else None,
            width=int(match["width"] or 128),
            norm=match["norm"] or "instance",
        )


def on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on a device, weights laid out for channels-last convolutions."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def as_network(module: nn.Module) -> Network:
    """View a module as a `Network`.

    Raises:
        NcfmError: if it lacks ``forward_features`` or ``num_features``.
    """
    if not callable(getattr(module, "forward_features", None)) or not hasattr(module, "num_features"):
        raise NcfmError(
            f"{type(module).__name__} has no forward_features and num_features, which feature extractors need; "
            "add both, as in ncfm.networks.ConvNet."
        )
    return cast("Network", module)
