"""Networks of one architecture as one: their weights stacked, all of them run in one pass."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from ncfm._utils.device import available_memory
from ncfm.networks.features import kept_bytes_per_image
from ncfm.training.fit import training_mode

MEMORY_SHARE = 0.5  # of the free memory, for what a stacked pass keeps for its gradients


class Stack(nn.Module):
    """S networks whose weights and buffers are stacked (S, ...), run by ``torch.func.vmap``.

    A convolution becomes one with S groups. The stacked tensors are the module's own parameters and buffers, so that an
    optimizer updates all networks and a checkpoint holds them.

    Args:
        networks: S networks of one architecture, on one device; `unstack` writes back into them.
        compile_networks: compile the stacked pass.
    """

    def __init__(self, networks: Sequence[nn.Module], *, compile_networks: bool = False) -> None:
        super().__init__()
        self._networks = tuple(networks)  # of a tuple, so that they are not submodules
        weights, buffers = stack_module_state(list(networks))
        for name, weight in weights.items():
            # Channels first, also for 1x1 filters, which are contiguous in both formats: vmap has no rule for the norm
            # of channels-last images.
            stacked = weight.detach().clone(memory_format=torch.contiguous_format)
            self.register_parameter(_key(name), nn.Parameter(stacked))
        for name, buffer in buffers.items():
            self.register_buffer(_key(name), buffer)
        self._names = [tuple(names) for names in (weights, buffers)]
        # On the meta device tied weights would not be tied. In a tuple, as above.
        self._skeleton = (copy.deepcopy(networks[0]),)
        forward = torch.func.vmap(self._one, randomness="different")
        self._forward = torch.compile(forward) if compile_networks else forward

    def forward(self, x: Tensor) -> Tensor:
        """Logits (S, n, C) of each network's own batch, (S, n, c, h, w), in training mode."""
        training_mode(self._skeleton[0], batch_size=x.shape[1])
        weights, buffers = ({name: getattr(self, _key(name)) for name in names} for names in self._names)
        logits: Tensor = self._forward(weights, buffers, x)
        return logits

    def _one(self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(self._skeleton[0], (dict(weights), dict(buffers)), (x,))
        return logits

    @torch.no_grad()
    def unstack(self) -> None:
        """Write the stacked weights and buffers back into the networks."""
        for i, network in enumerate(self._networks):
            for name, value in _own_tensors(network):
                value.copy_(getattr(self, _key(name))[i])


def _key(name: str) -> str:
    """The name of a stacked tensor: PyTorch allows no dots in it."""
    return name.replace(".", "/")


def _own_tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name. Not of state_dict: tied weights have two names there, but are stacked once."""
    yield from network.named_parameters()
    yield from network.named_buffers()


def fitting_stack(network: nn.Module, image: Tensor, batch_size: int) -> int | None:
    """How many networks fit into memory side by side; None where its size is not known. At least 1.

    Args:
        network: one of them, in training mode, on its device.
        image: one network input (1, c, h, w).
        batch_size: of each.
    """
    available = available_memory(image.device)
    if available is None:
        return None
    return max(int(MEMORY_SHARE * available / (batch_size * kept_bytes_per_image(network, image))), 1)
