"""CPU kernels for convolutions and blocks of the networks; PyTorch's operators are used where they do not apply."""

from ncfm.kernels.library import available, enable, use_amx
from ncfm.kernels.ops import (
    TILE,
    block,
    block_usable,
    convolve3x3,
    differentiated_twice,
    multiplies_in,
    switched_off,
    takes_channels,
    usable,
)

__all__ = [
    "TILE",
    "available",
    "block",
    "block_usable",
    "convolve3x3",
    "differentiated_twice",
    "enable",
    "multiplies_in",
    "switched_off",
    "takes_channels",
    "usable",
    "use_amx",
]
