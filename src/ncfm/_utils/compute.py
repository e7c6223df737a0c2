"""Where and how a stage computes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ncfm._utils.distributed import ALONE, Ranks
from ncfm._utils.options import Count, Options


@dataclass(frozen=True)
class Compute(Options):
    """Device, precision, compilation and passes. They change time and rounding, not the method."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: torch.dtype = torch.float32
    """Of forward passes (autocast); parameters and updates stay in float32."""
    compile_networks: bool = False
    """Compile the networks with ``torch.compile``."""
    compile_step: bool = False
    """Compile everything from the stored images to the losses as one; random draws stay outside."""
    chunk_size: Count | None = None
    """Images per pass without gradient; None: as many as suit the device and fit into memory."""
    gradient_chunk_size: Count | None = None
    """Synthetic images per pass with gradient; None: by memory."""
    memory_mb: Count | None = None
    """Memory of an iteration in MiB, above what the process holds before; None: see `distillation.pass_sizes`."""
    side_by_side: bool = False
    """Train the students of an evaluation in one stacked pass."""
    teachers_side_by_side: bool = False
    """Train the teachers of a pool in stacked passes."""
    ranks: Ranks = ALONE
    """The processes that share the work."""
