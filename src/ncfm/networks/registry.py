"""Networks by name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ncfm._utils.checks import NcfmError, nearest
from ncfm._utils.outside import is_outside
from ncfm._utils.seeding import derive_seed
from ncfm.networks.alexnet import AlexNet
from ncfm.networks.base import Network, as_network
from ncfm.networks.convnet import ConvNet
from ncfm.networks.densenet import DenseNet
from ncfm.networks.external import TIMM, Factory, check_factory, checked_factory, local_factory, timm_factory
from ncfm.networks.mlp import MLP
from ncfm.networks.norms import NORMS
from ncfm.networks.resnet import ResNet
from ncfm.networks.vgg import VGG
from ncfm.networks.vit import ViT

__all__ = [
    "FAMILIES",
    "Family",
    "Network",
    "as_network",
    "create_network",
    "is_own",
    "on_device",
    "register_network",
]


OPTIONS = ("depth", "width", "norm")


@dataclass(frozen=True)
class Family:
    """Networks that share a name up to depth, width and norm."""

    make: Callable[..., nn.Module]  # (channels, num_classes, image_size=...), and those of `OPTIONS` that it takes
    example: str
    description: str  # one line

    @property
    def options(self) -> tuple[str, ...]:
        """Those of `OPTIONS` that ``make`` takes."""
        return tuple(option for option in OPTIONS if option in inspect.signature(self.make).parameters)

    @property
    def grammar(self) -> str:
        """What may follow the family in a name."""
        forms = {"depth": "[depth]", "width": "[w<width>]", "norm": "[-norm]"}
        return "".join(forms[option] for option in self.options)


FAMILIES = {
    "convnet": Family(
        ConvNet, "convnet3", "blocks of 3x3 convolution, norm, ReLU and pooling, of width 128; depth by image size"
    ),
    "alexnet": Family(
        AlexNet, "alexnet", "5x5, 5x5, 3x3, 3x3, 3x3 convolutions with three poolings, the first of width 128; no norm"
    ),
    "vgg": Family(
        VGG, "vgg11", "3x3 convolutions in five pooled stages, the first of width 64; depth 11 (default), 13 or 16"
    ),
    "resnet": Family(
        ResNet, "resnet18-batch", "basic blocks in four stages, the first of width 64; depth 10, 18 (default) or 34"
    ),
    "densenet": Family(
        DenseNet, "densenet40", "DenseNet-BC in three blocks; depth 6 n + 4 (default 40), the width is the growth (12)"
    ),
    "vit": Family(ViT, "vit6w192", "vision transformer on 8x8 (to 14x14) patches; 6 layers of width 192"),
    "mlp": Family(MLP, "mlp2w128", "multilayer perceptron; 2 hidden layers of width 128"),
}

_NAME = re.compile(rf"(?P<family>{'|'.join(FAMILIES)})(?P<depth>[0-9]+)?(?:w(?P<width>[0-9]+))?(?:-(?P<norm>\w+))?")
_OWN_NAME = re.compile(r"[A-Za-z_][\w.-]*")

_registered: dict[str, Factory] = {}


def create_network(name: str, *, channels: int, num_classes: int, image_size: int, seed: int) -> nn.Module:
    """A freshly initialised network.

    Names are ``family[depth][w<width>][-norm]``: ``convnet`` (depth from the image size), ``convnet3``,
    ``convnet3w64-batch``, ``resnet18-batch``, ``vit6w192``. `FAMILIES` says what each family takes; the norms are
    instance, batch, group, layer and none. Beside those:

    - ``timm:NAME`` is timm's model of that name, where timm is installed (`timm_factory`).
    - ``module:callable``, such as ``my_networks:make``, is the user's own code: the current folder's ``my_networks.py``
      has ``def make(*, channels, num_classes, image_size)``, which returns any ``nn.Module`` that gives logits (n, C)
      for images (n, c, h, w) (`local_factory`).
    - a name that the program gave to `register_network`.

    Such a network without ``forward_features`` and ``num_features`` is `Hooked`: its features are the input of its last
    linear layer.

    Args:
        name: one of the names above.
        channels: image channels c.
        num_classes: classes C.
        image_size: side of the square image in pixels.
        seed: fixes the initial weights, whatever else has drawn random numbers (of own code: the weights drawn from
            torch's generator).

    Raises:
        NcfmError: for an unknown name, a depth, width or norm that the family does not take, an image too small for
            the network, timm missing, or own code that is missing or gives no such network.
    """
    with torch.random.fork_rng(devices=[]):
        make = _factory(name)  # may import own code
        # Not torch.manual_seed, which would also reseed the accelerators for good.
        torch.default_generator.manual_seed(derive_seed(seed, "initial weights"))
        network: nn.Module = make(channels=channels, num_classes=num_classes, image_size=image_size)
        return network


def register_network(name: str, factory: Factory) -> None:
    """Make a network of one's own known by a name, for as long as the program runs.

    For what has no module to be named by, such as a function in a notebook. A second factory of the same name takes
    the place of the first.

    Args:
        name: letters, digits, ``_``, ``.`` and ``-``; none that a family of `FAMILIES` has.
        factory: called as ``factory(channels=c, num_classes=C, image_size=side)`` for a fresh ``nn.Module`` that gives
            logits (n, C) for images (n, c, h, w). Its own ``forward_features`` and ``num_features`` are used if it has
            both.

    Raises:
        NcfmError: for another name, or a factory that cannot be called so.

    >>> register_network("linear", lambda channels, num_classes, image_size: nn.Sequential(
    ...     nn.Flatten(), nn.Linear(channels * image_size**2, num_classes)))
    >>> create_network("linear", channels=1, num_classes=10, image_size=8, seed=0).num_features
    64
    """
    if not _OWN_NAME.fullmatch(name) or _NAME.fullmatch(name):
        taken = "it is a network of this package" if _NAME.fullmatch(name) else "it needs letters, digits, _, . or -"
        raise NcfmError(f"A network cannot be registered as {name!r}: {taken}. Choose another name.")
    check_factory(name, factory)
    _registered[name] = factory


def is_own(name: str) -> bool:
    """Whether a name means one of this package's networks, today and tomorrow: only of such is anything remembered."""
    return name not in _registered and _NAME.fullmatch(name) is not None


def _factory(name: str) -> Factory:
    """What makes the networks of a name."""
    if name in _registered:
        return checked_factory(name, _registered[name])
    if name.startswith(TIMM):
        return timm_factory(name.removeprefix(TIMM))
    if is_outside(name):
        return local_factory(name)
    match = _NAME.fullmatch(name)
    if match is None:
        raise NcfmError(_unknown(name))
    family = FAMILIES[match["family"]]
    options = {option: value for option, value in match.groupdict().items() if value and option != "family"}
    refused = [option for option in options if option not in family.options]
    if refused:
        raise NcfmError(
            f"The network {name!r} names a {refused[0]}, which {match['family']} does not take; it takes "
            f"{match['family']}{family.grammar}, for example {family.example} ({family.description})."
        )
    numbers = {option: int(value) for option, value in options.items() if option != "norm"}
    return partial(family.make, **options | numbers)


def _unknown(name: str) -> str:
    """What to say of a name that is none."""
    examples = [family.example for family in FAMILIES.values()]
    families = "".join(f"\n  {key + family.grammar:32}{family.description}" for key, family in FAMILIES.items())
    own = f" Registered: {', '.join(sorted(_registered))}." if _registered else ""
    return (
        f"Unknown network {name!r}.{nearest(name, [*FAMILIES, *examples, *_registered])} Names are "
        "family[depth][w<width>][-norm], for example convnet3 or resnet18-batch; timm:NAME for a model of timm; "
        f"module:callable for code of your own.{own} Families, with norms {', '.join(NORMS)}:{families}"
    )


def on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on a device, weights laid out for channels-last convolutions."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
