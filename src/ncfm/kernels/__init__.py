"""Own CPU kernels of the networks' two heavy parts; PyTorch's operators serve wherever these do not."""

from ncfm.kernels.library import available, enable
from ncfm.kernels.ops import block, convolve3x3, switched_off, usable

__all__ = ["available", "block", "convolve3x3", "enable", "switched_off", "usable"]
