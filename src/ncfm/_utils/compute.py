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
    chunk_size: Count = 64
    """Images per pass without gradient."""
    gradient_chunk_size: Count | None = None
    """Synthetic images per pass with gradient; None: as many as memory allows."""
    side_by_side: bool = False
    """Train the students of an evaluation in one stacked pass."""
    teachers_side_by_side: bool = False
    """Train the teachers of a pool in stacked passes."""
    ranks: Ranks = ALONE
    """The processes that share the work."""
