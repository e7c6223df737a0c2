"""Networks from outside this package: models of timm, and the user's own code.

Nothing is downloaded: models of timm have random weights, and the user's code is imported from this machine.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

from ncfm._utils.checks import InputError, NcfmError, RunError
from ncfm._utils.outside import load_callable, mismatch_of
from ncfm._utils.progress import counted
from ncfm.networks.base import as_network, offers_features
from ncfm.networks.hooked import PROBES, Hooked, probe

# Called with keywords as make(channels=c, num_classes=C, image_size=side); returns an nn.Module.
Factory = Callable[..., Any]

TIMM = "timm:"


def timm_factory(model: str) -> Factory:
    """Factory for the timm model of this name, with random weights; always `Hooked`, as timm's own features are maps.

    ``img_size`` is passed to the models that take it. The name may end with a tag of pretrained weights
    (``resnet50.a1_in1k``), which are not loaded.

    Raises:
        NcfmError: without timm, for an unknown model, or, when called, for images that the model does not accept.
    """
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError as error:
        raise InputError(
            f"The network {TIMM + model!r} needs the package timm; install it: pip install timm"
        ) from error
    known = timm.list_models()
    if model.split(".")[0] not in known:
        near = difflib.get_close_matches(model, known, n=5, cutoff=0.5)
        hint = f"Nearest: {', '.join(near)}." if near else "timm.list_models() lists them."
        raise InputError(f"timm has no model {model!r}. {hint}")

    def make(*, channels: int, num_classes: int, image_size: int) -> nn.Module:
        options = {"pretrained": False, "num_classes": num_classes, "in_chans": channels}
        try:
            try:
                module = timm.create_model(model, img_size=image_size, **options)
            except TypeError:  # most convolutional models take any size, and no such argument
                module = timm.create_model(model, **options)
        except Exception as error:  # timm raises various errors for unsupported sizes
            raise InputError(
                f"timm cannot create {model!r} for images of {image_size} px and {counted(channels, 'channel')}: "
                f"{error}"
            ) from error
        _check(module, TIMM + model, channels, num_classes, image_size)
        return _with_features(module, (channels, image_size, image_size))

    return make


def local_factory(name: str) -> Factory:
    """Factory for the user's ``module:callable``, such as ``my_networks:make`` for ``def make`` in ``my_networks.py``.

    The module is imported with the current folder first on Python's path. Networks without ``forward_features`` and
    ``num_features`` are `Hooked`, if they have a last linear layer.

    Raises:
        NcfmError: if there is no such module or callable, or, when called, if it returns no network for these images.
    """
    return checked_factory(name, load_callable(name, "network"))


def checked_factory(name: str, factory: Factory) -> Factory:
    """A user's factory with checks of the networks that it returns, which are `Hooked` if they have no features.

    A network that cannot be hooked is returned as it is: students need no features.

    Raises:
        NcfmError: if it is not callable with the three keywords, or, when called, if it returns no network.
    """
    check_factory(name, factory)

    def make(*, channels: int, num_classes: int, image_size: int) -> nn.Module:
        try:
            module = factory(channels=channels, num_classes=num_classes, image_size=image_size)
        except NcfmError:
            raise
        except Exception as error:  # the user's code may raise anything
            raise RunError(f"The network {name!r} failed: {type(error).__name__}: {error}") from error
        _check(module, name, channels, num_classes, image_size)
        image_shape = (channels, image_size, image_size)
        if not offers_features(module):
            return _with_features(module, image_shape)
        _check_features(module, name, image_shape)
        return module

    return make


def _with_features(module: nn.Module, image_shape: tuple[int, ...]) -> nn.Module:
    """The network with features if it can be `Hooked`. If not, it can be a student, and `as_network` refuses it."""
    try:
        return Hooked(module, image_shape)
    except InputError:  # without a last linear layer
        return module


def check_factory(name: str, factory: Factory) -> None:
    """Raise NcfmError unless ``factory`` can be called with the keywords channels, num_classes and image_size."""
    mismatch = mismatch_of(factory, {"channels": 1, "num_classes": 2, "image_size": 8})
    if mismatch is not None:
        raise InputError(
            f"The network {name!r} is created by calling {getattr(factory, '__name__', factory)}"
            f"(channels=..., num_classes=..., image_size=...), which it does not accept: {mismatch}"
        ) from mismatch


def _check(module: object, name: str, channels: int, num_classes: int, image_size: int) -> None:
    if not isinstance(module, nn.Module):
        raise InputError(f"The network {name!r} must be a torch.nn.Module, got a {type(module).__name__}.")
    image_shape = (channels, image_size, image_size)
    shape = tuple(probe(module, image_shape, name=name).shape)
    if shape != (PROBES, num_classes):
        raise InputError(
            f"The network {name!r} returns {shape} for {PROBES} images of shape {image_shape}; "
            f"expected logits of shape {(PROBES, num_classes)}."
        )


def _check_features(module: nn.Module, name: str, image_shape: tuple[int, ...]) -> None:
    network = as_network(module)
    shape = tuple(probe(module, image_shape, network.forward_features, name=name).shape)
    if shape != (PROBES, network.num_features):
        raise InputError(
            f"forward_features of the network {name!r} returns {shape} for {PROBES} images; expected "
            f"(n, num_features) = {(PROBES, network.num_features)}. Flatten it, or return ncfm.networks.Hooked(module, "
            f"{image_shape}), whose features are the input of the last linear layer."
        )
