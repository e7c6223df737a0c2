"""Networks by name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ncfm._utils.checks import InputError, nearest
from ncfm._utils.outside import check_given, is_outside
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
    "check_network",
    "create_network",
    "is_own",
    "is_user_code",
    "on_device",
    "register_network",
]


OPTIONS = ("depth", "width", "norm")
WIDEST = 4096  # a larger width is a typing error, and would fill the memory


@dataclass(frozen=True)
class Family:
    """Networks whose names differ in depth, width and norm only."""

    make: Callable[..., nn.Module]  # (channels, num_classes, image_size=...) and some of `OPTIONS`
    example: str
    description: str  # one line
    deepest: int | None = None  # of published networks of the family; None: the constructor or the image size limits it

    @property
    def options(self) -> tuple[str, ...]:
        """The `OPTIONS` that ``make`` accepts."""
        return tuple(option for option in OPTIONS if option in inspect.signature(self.make).parameters)

    @property
    def grammar(self) -> str:
        """What may follow the family in a name, for messages."""
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
        DenseNet,
        "densenet40",
        "DenseNet-BC in three blocks; depth 6 n + 4 (default 40), the width is the growth (12)",
        250,
    ),
    "vit": Family(ViT, "vit6w192", "vision transformer on 8x8 (to 14x14) patches; 6 layers of width 192", 48),
    "mlp": Family(MLP, "mlp2w128", "multilayer perceptron; 2 hidden layers of width 128", 64),
}

_NAME = re.compile(rf"(?P<family>{'|'.join(FAMILIES)})(?P<depth>[0-9]+)?(?:w(?P<width>[0-9]+))?(?:-(?P<norm>\w+))?")
_OWN_NAME = re.compile(r"[A-Za-z_][\w.-]*")

_registered: dict[str, Factory] = {}


def create_network(name: str, *, channels: int, num_classes: int, image_size: int, seed: int) -> nn.Module:
    """A freshly initialised network.

    Names are ``family[depth][w<width>][-norm]``: ``convnet`` (depth from the image size), ``convnet3``,
    ``convnet3w64-batch``, ``resnet18-batch``, ``vit6w192``. `FAMILIES` has the options of each family; the norms are
    instance, batch, group, layer and none. In addition:

    - ``timm:NAME`` is the timm model of that name, if timm is installed (`timm_factory`).
    - ``module:callable``, such as ``my_networks:make``, is the user's own code: the current folder's ``my_networks.py``
      has ``def make(*, channels, num_classes, image_size)``, which returns any ``nn.Module`` that maps images
      (n, c, h, w) to logits (n, C) (`local_factory`).
    - a name that was given to `register_network`.

    Such a network without ``forward_features`` and ``num_features`` is `Hooked`: its features are the input of its last
    linear layer.

    Args:
        name: one of the names above.
        channels: image channels c.
        num_classes: classes C.
        image_size: side of the square image in pixels.
        seed: determines the initial weights; in the user's own code those that are drawn from torch's generator.

    Raises:
        NcfmError: for an unknown name, a depth, width or norm that the family does not support, an image too small for
            the network, a missing timm, or own code that is missing or returns no such network.
    """
    with torch.random.fork_rng(devices=[]):
        make = _factory(name)  # may import the user's code
        # Not torch.manual_seed, which would also reseed the accelerators.
        torch.default_generator.manual_seed(derive_seed(seed, "initial weights"))
        network: nn.Module = make(channels=channels, num_classes=num_classes, image_size=image_size)
        return network


def register_network(name: str, factory: Factory) -> None:
    """Register the user's own network under a name for the current process.

    For code that has no module to name, such as a function in a notebook. A second factory replaces the first one of
    the same name.

    Args:
        name: letters, digits, ``_``, ``.`` and ``-``; not a name of a family of `FAMILIES`.
        factory: called as ``factory(channels=c, num_classes=C, image_size=side)`` for a new ``nn.Module`` that maps
            images (n, c, h, w) to logits (n, C). Its ``forward_features`` and ``num_features`` are used if it has both.

    Raises:
        NcfmError: for another name, or a factory that does not accept these keywords.

    >>> register_network("linear", lambda channels, num_classes, image_size: nn.Sequential(
    ...     nn.Flatten(), nn.Linear(channels * image_size**2, num_classes)))
    >>> create_network("linear", channels=1, num_classes=10, image_size=8, seed=0).num_features
    64
    """
    if not _OWN_NAME.fullmatch(name) or _NAME.fullmatch(name):
        taken = "it is a network of this package" if _NAME.fullmatch(name) else "it needs letters, digits, _, . or -"
        raise InputError(f"A network cannot be registered as {name!r}: {taken}. Choose another name.")
    check_factory(name, factory)
    _registered[name] = factory


def check_network(name: str) -> None:
    """Check the name of a network before the images are known that it is for; a module of the user's is imported.

    Raises:
        NcfmError: as `create_network`, but for what depends on the images.
    """
    with torch.random.fork_rng(devices=[]):
        _factory(name)


def is_own(name: str) -> bool:
    """Whether a name always stands for a network of this package: only their results are cached."""
    return name not in _registered and _NAME.fullmatch(name) is not None


def runs_in_kernels(name: str, image_size: int) -> bool:
    """Whether CPU kernels compute all blocks of the network of this name, for images of this size.

    >>> runs_in_kernels("convnet", 32), runs_in_kernels("convnet3-batch", 32), runs_in_kernels("resnet18", 32)
    (True, False, False)
    """
    match = _NAME.fullmatch(name)
    if match is None or not is_own(name) or FAMILIES[match["family"]].make is not ConvNet:
        return False
    try:
        network = create_network(name, channels=3, num_classes=2, image_size=image_size, seed=0)
    except InputError:  # refused where the network is needed
        return False
    return isinstance(network, ConvNet) and network.is_all_kernels


def is_user_code(name: str) -> bool:
    """Whether creating the network of this name imports a module of the user's: ``module:callable``.

    >>> is_user_code("my_networks:make"), is_user_code("timm:resnet18"), is_user_code("convnet3")
    (True, False, False)
    """
    return not name.startswith(TIMM) and is_outside(name)


def _factory(name: str) -> Factory:
    """The factory of a name."""
    check_given(name, "network")
    if name in _registered:
        return checked_factory(name, _registered[name])
    if name.startswith(TIMM):
        return timm_factory(name.removeprefix(TIMM))
    if is_user_code(name):
        return local_factory(name)
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(_unknown(name))
    family = FAMILIES[match["family"]]
    options = {option: value for option, value in match.groupdict().items() if value and option != "family"}
    refused = [option for option in options if option not in family.options]
    if refused:
        raise InputError(
            f"The network {name!r} names a {refused[0]}, which {match['family']} does not support; it supports "
            f"{match['family']}{family.grammar}, for example {family.example} ({family.description})."
        )
    numbers = {option: int(value) for option, value in options.items() if option != "norm"}
    _check_numbers(name, family, numbers)
    return partial(family.make, **options | numbers)


def _check_numbers(name: str, family: Family, numbers: Mapping[str, int]) -> None:
    """Check that the depth and the width of a name are those of a network that can be trained."""
    for option, most in (("depth", family.deepest), ("width", WIDEST)):
        if most is not None and numbers.get(option, 0) > most:
            raise InputError(
                f"The network {name!r} has a {option} of {numbers[option]}; expected at most {most}, "
                f"for example {family.example}."
            )


def _unknown(name: str) -> str:
    """Error message for an unknown name."""
    examples = [family.example for family in FAMILIES.values()]
    families = "".join(f"\n  {key + family.grammar:32}{family.description}" for key, family in FAMILIES.items())
    own = f" Registered: {', '.join(sorted(_registered))}." if _registered else ""
    return (
        f"Unknown network {name!r}.{nearest(name, [*FAMILIES, *examples, *_registered])} Names are "
        "family[depth][w<width>][-norm], for example convnet3 or resnet18-batch; timm:NAME for a model of timm; "
        f"module:callable for your own code.{own} Families, with norms {', '.join(NORMS)}:{families}"
    )


def on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on a device, with weights in channels-last memory format."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
