"""How a GPU is used: precision, TF32, graphs, streams, and what waits for it. The policy is stated and coded here.

**Precision.** Forward passes run in `torch.autocast` (`autocast`): bfloat16 where the GPU multiplies it natively, else
float32 (`ncfm._utils.device.choose_precision`). Weights, gradients, optimizers, losses and discrepancies are float32.

**TF32.** float32 products round their factors to 10 bits of mantissa (`use`), unless ``machine.tf32=false``. This holds
for the projections onto frequencies and for networks in float32. Nothing that is compared by the bit runs on a GPU.

**Algorithms.** Shapes never change within a stage, so cuDNN measures its convolutions once per shape and keeps the
fastest (`use`). It may choose another one in the next process, and some kernels add in any order: two runs on a GPU
agree up to rounding, not bit for bit.

**Graphs.** Networks are compiled as they are. With ``machine.compile=step`` the compiled parts of an iteration run as
CUDA graphs (`graph_mode`): everything that they read is on the GPU before, random draws included.

**Streams.** Everything runs on the default stream, and the host queues work ahead of it. Files are written by a thread
from copies on the host, never from the GPU.

**Random draws.** Generators are on the CPU, so that every device gets the same numbers; draws travel by `to_device`
through pinned memory, without waiting. Frequencies are the exception: millions of numbers in an iteration, drawn on the
GPU from a stream of its own.

**Waits.** `to_host` is the only way back in a training loop or an iteration. It is called after an epoch (is the loss
finite?), for logged metrics (one iteration late, when the GPU has computed them) and for checkpoints. Prediction reads
its logits batch by batch, early stopping its value in every iteration, and the objective *entropic* waits in its
eigendecomposition. ``tests/training/test_on_meta.py`` and ``tests/distillation/test_on_meta.py`` check that nothing
else waits; the tests marked ``cuda`` check it on a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import torch
from torch import Tensor


def use(device: torch.device, *, tf32: bool) -> None:
    """Set what the policy says for this process; nothing on other devices than CUDA."""
    if device.type == "cuda":
        allow_tf32(tf32)
        torch.backends.cudnn.benchmark = True


def allow_tf32(allowed: bool) -> None:
    """Allow or forbid that CUDA multiplies float32 numbers in TF32: 10 bits of mantissa, several times faster.

    The rounding error of a projection <t, x> of about 1 is some 1e-3: far less than samples of a few images differ.
    """
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """The context of a forward pass in ``precision``; none for float32."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


def graph_mode(device: torch.device) -> str:
    """The mode of ``torch.compile`` for a whole iteration: with CUDA graphs on a GPU."""
    return "reduce-overhead" if device.type == "cuda" else "default"


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A draw or a batch on its device. Nothing waits: on a GPU it goes through pinned memory, which stays untouched
    until it has arrived.

    Not for whole sets of images, whose pinned copy would be kept.
    """
    if tensor.device.type == device.type:
        return tensor.to(device)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type != "mps")


def to_host(tensor: Tensor) -> Tensor:
    """A copy on the CPU, without gradient. It waits until the device has computed the tensor."""
    return torch.empty_like(tensor, device="cpu").copy_(tensor.detach())


def fill(weights: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Overwrite tensors in place with those of the same names, from any device, without waiting."""
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(to_device(source[name], weight.device), non_blocking=True)
