"""Features of a network that offers none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ncfm._utils.checks import NcfmError

PROBES = 3  # images of the batch that finds out shapes


class Hooked(nn.Module):
    """Any network, with features: what its last linear layer is given, flattened.

    ``forward`` is the module's own. ``forward_features`` runs the module too, and returns the input (n, ...) of the
    ``nn.Linear`` that is called last, as (n, d). Which one that is, is found with a batch of zeros in evaluation mode,
    which changes neither buffers nor random numbers. ``classifier`` is this layer; the logits are
    ``classifier(forward_features(images))`` where the module does nothing more before or after it.

    Its ``state_dict`` is that of the module, every key behind ``module.``; copies and pickles are whole ones.

    Args:
        module: classifies images (n, c, h, w) -> (n, C).
        image_shape: (c, h, w) of one image.

    Raises:
        NcfmError: if the module does not take such images, calls no ``nn.Linear``, or its last one gives something else
            than the logits or mixes images; such a network must bring ``forward_features`` and ``num_features``.
    """

    def __init__(self, module: nn.Module, image_shape: Sequence[int]) -> None:
        super().__init__()
        self.module = module
        self._path, self.num_features = _last_linear(module, image_shape)
        self._keeping = False
        self._kept: Tensor | None = None
        # A method and not a closure, so that in a deep copy it belongs to the copy. It stays, and is switched on by a
        # flag: a compiler follows that without a break, but not the coming and going of hooks.
        self.classifier.register_forward_pre_hook(self._keep)

    @property
    def classifier(self) -> nn.Linear:
        """The last linear layer; not registered a second time, which would double its keys in the state."""
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
            self._keeping, self._kept = False, None  # a kept tensor would hold its graph, and could not be copied
        assert kept is not None
        return torch.flatten(kept, 1)

    def _keep(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self._keeping:
            self._kept = inputs[0]


@torch.no_grad()
def probe(module: nn.Module, image_shape: Sequence[int], forward: Callable[[Tensor], object] | None = None) -> Tensor:
    """What a module gives for a batch of zeros, (PROBES, c, h, w), in evaluation mode; the mode is put back.

    ``forward`` is the module itself, or a method of it.

    Raises:
        NcfmError: if it fails, or gives something else than a tensor.
    """
    like = next(module.parameters(), torch.zeros(()))
    images = torch.zeros((PROBES, *image_shape), dtype=like.dtype, device=like.device)
    training = module.training
    module.eval()
    try:
        found = (forward or module)(images)
    except Exception as error:  # whatever somebody else's code raises
        what = f"{type(error).__name__}: {error}"
        raise NcfmError(f"{type(module).__name__} fails on images of shape {tuple(images.shape)}: {what}") from error
    finally:
        module.train(training)
    if not isinstance(found, Tensor):
        raise NcfmError(f"{type(module).__name__} must return one tensor, not a {type(found).__name__}.")
    return found


def _last_linear(module: nn.Module, image_shape: Sequence[int]) -> tuple[str, int]:
    """Path of the linear layer that is called last, and the length of its input for one image."""
    calls: list[tuple[str, nn.Linear, torch.Size]] = []

    def note(path: str, layer: nn.Linear) -> Any:
        return layer.register_forward_pre_hook(lambda _, inputs: calls.append((path, layer, inputs[0].shape)))

    handles = [note(path, layer) for path, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    try:
        logits = probe(module, image_shape)
    finally:
        for handle in handles:
            handle.remove()
    mend = "give it forward_features and num_features, as ncfm.networks.ConvNet has."
    if not calls:
        raise NcfmError(f"{type(module).__name__} has no nn.Linear whose input could be its features; {mend}")
    path, layer, shape = calls[-1]
    if (PROBES, layer.out_features) != (shape[0], *logits.shape[1:]):
        raise NcfmError(
            f"The last nn.Linear of {type(module).__name__} ({path or 'itself'}) gives {layer.out_features} values for "
            f"an input of shape {tuple(shape)}, the network {tuple(logits.shape)} for {PROBES} images: it is not the "
            f"classifier; {mend}"
        )
    return path, shape[1:].numel()
