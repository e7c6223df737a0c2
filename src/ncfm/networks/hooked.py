"""Features of a network that does not provide any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ncfm._utils.checks import InputError

PROBES = 3  # images of the batch that determines shapes


class Hooked(nn.Module):
    """Any network, with the flattened input of its last linear layer as features.

    ``forward`` is that of the module. ``forward_features`` also runs the module, and returns the input (n, ...) of the
    ``nn.Linear`` that is called last, as (n, d). This layer, ``classifier``, is determined with a batch of zeros in
    evaluation mode, which changes neither buffers nor random number generators. The logits are
    ``classifier(forward_features(images))`` unless the module does something else before or after the layer.

    The ``state_dict`` is that of the module with the prefix ``module.``. Copies and pickles are independent.

    Args:
        module: classifies images (n, c, h, w) -> (n, C).
        image_shape: (c, h, w) of one image.

    Raises:
        NcfmError: if the module does not accept such images, calls no ``nn.Linear``, or its last one does not return
            the logits or mixes images. Such a network must provide ``forward_features`` and ``num_features``.
    """

    def __init__(self, module: nn.Module, image_shape: Sequence[int]) -> None:
        super().__init__()
        self.module = module
        self._path, self.num_features = _last_linear(module, image_shape)
        self._keeping = False
        self._kept: Tensor | None = None
        # A method, not a closure, so that the hook of a deep copy belongs to the copy. It is permanent and switched on
        # by a flag: a compiler handles that without a graph break, but not adding and removing hooks.
        self.classifier.register_forward_pre_hook(self._keep)

    @property
    def classifier(self) -> nn.Linear:
        """The last linear layer; not registered again, which would duplicate its keys in the state dict."""
        layer = self.module.get_submodule(self._path)
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images: (n, c, h, w) -> (n, C)."""
        logits: Tensor = self.module(images)
        return logits

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature vectors of normalised images: (n, c, h, w) -> (n, d)."""
        self._keeping = True
        try:
            self.module(images)
            kept = self._kept
        finally:
            self._keeping, self._kept = False, None  # a stored tensor would keep its graph alive, and prevent copies
        assert kept is not None
        return torch.flatten(kept, 1)

    def _keep(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self._keeping:
            self._kept = inputs[0]


@torch.no_grad()
def probe(
    module: nn.Module,
    image_shape: Sequence[int],
    forward: Callable[[Tensor], object] | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """Output of a module for a batch of zeros, (PROBES, c, h, w), in evaluation mode; the mode is restored.

    ``forward`` is the module itself, or a method of it; ``name`` is that of the network, for messages.

    Raises:
        NcfmError: if it fails, or does not return a tensor.
    """
    like = next(module.parameters(), torch.zeros(()))
    images = torch.zeros((PROBES, *image_shape), dtype=like.dtype, device=like.device)
    training = module.training
    who = f"The network {name!r}: {type(module).__name__}" if name else type(module).__name__
    module.eval()
    try:
        found = (forward or module)(images)
    except Exception as error:  # the user's code may raise anything
        what = f"{type(error).__name__}: {error}"
        raise InputError(f"{who} fails on images of shape {tuple(images.shape)}: {what}") from error
    finally:
        module.train(training)
    if not isinstance(found, Tensor):
        raise InputError(f"{who} must return one tensor, not a {type(found).__name__}.")
    return found


def _last_linear(module: nn.Module, image_shape: Sequence[int]) -> tuple[str, int]:
    """Path of the linear layer that is called last, and the length of its input per image."""
    calls: list[tuple[str, nn.Linear, torch.Size]] = []

    def note(path: str, layer: nn.Linear) -> Any:
        return layer.register_forward_pre_hook(lambda _, inputs: calls.append((path, layer, inputs[0].shape)))

    handles = [note(path, layer) for path, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    try:
        logits = probe(module, image_shape)
    finally:
        for handle in handles:
            handle.remove()
    remedy = "add forward_features and num_features, as in ncfm.networks.ConvNet."
    if not calls:
        raise InputError(f"{type(module).__name__} has no nn.Linear whose input could be its features; {remedy}")
    path, layer, shape = calls[-1]
    if (PROBES, layer.out_features) != (shape[0], *logits.shape[1:]):
        raise InputError(
            f"The last nn.Linear of {type(module).__name__} ({path or 'itself'}) returns {layer.out_features} values "
            f"for an input of shape {tuple(shape)}, the network {tuple(logits.shape)} for {PROBES} images: it is not "
            f"the classifier; {remedy}"
        )
    return path, shape[1:].numel()
