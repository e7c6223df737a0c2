"""The interface of networks, and the base class of those in this package: a linear classifier of flat features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, cast

from torch import Tensor, nn

from ncfm._utils.checks import InputError


class Network(Protocol):
    """What the package requires of a network, in addition to being an ``nn.Module``."""

    num_features: int

    def forward_features(self, images: Tensor) -> Tensor:
        """Flat feature vectors, (n, c, h, w) -> (n, d)."""
        ...


class FeatureNetwork(nn.Module, ABC):
    """A network whose logits are ``classifier(forward_features(images))``."""

    num_features: int  # d
    classifier: nn.Linear  # its last layer, (n, d) -> (n, C)

    @abstractmethod
    def forward_features(self, images: Tensor) -> Tensor:
        """Feature vectors of normalised images: (n, c, h, w) -> (n, d)."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images: (n, c, h, w) -> (n, C)."""
        logits: Tensor = self.classifier(self.forward_features(images))
        return logits


class BlockNetwork(Network, Protocol):
    """A network whose blocks have features of their own."""

    block_widths: list[int]
    """Number of features of every block."""

    def block_features(self, images: Tensor) -> list[Tensor]:
        """Flat feature vectors (n, d) of every block, (n, c, h, w) -> a list; the last are `forward_features`."""
        ...


def as_block_network(module: nn.Module) -> BlockNetwork:
    """View a module as a `BlockNetwork`.

    Raises:
        NcfmError: if it lacks ``block_features``.
    """
    has_blocks = callable(getattr(module, "block_features", None)) and hasattr(module, "block_widths")
    if not (offers_features(module) and has_blocks):
        raise InputError(
            "The features of all blocks (teachers.layers=all) need a network with block_features and block_widths, and "
            f"{type(module).__name__} has none; take a convnet or a resnet (teachers.network), or teachers.layers=last."
        )
    return cast("BlockNetwork", module)


def offers_features(module: nn.Module) -> bool:
    """Whether a module has ``forward_features`` and ``num_features``."""
    return callable(getattr(module, "forward_features", None)) and hasattr(module, "num_features")


def as_network(module: nn.Module, name: str | None = None) -> Network:
    """View a module as a `Network`; ``name`` is that of the network, for messages.

    Raises:
        NcfmError: if it lacks ``forward_features`` or ``num_features``.
    """
    if not offers_features(module):
        who = f"The network {name!r}: {type(module).__name__}" if name else type(module).__name__
        raise InputError(
            f"{who} has no forward_features and num_features, which feature extractors need, and no "
            "last nn.Linear whose input could be its features; add both, as in ncfm.networks.ConvNet, or end it with "
            "an nn.Linear (ncfm.networks.Hooked)."
        )
    return cast("Network", module)
