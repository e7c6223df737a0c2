"""The convolution of this package's networks."""

from __future__ import annotations

from torch import Tensor, nn

from ncfm import kernels


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` that runs 3x3 filters of stride 1 by `ncfm.kernels` where these support the case.

    Weights have the same names, shapes and initial values as in ``nn.Conv2d``; results agree up to rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, k, h', w')."""
        if self._is_3x3() and kernels.usable(x, self.out_channels):
            return kernels.convolve3x3(x.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)
        return super().forward(x)

    def _is_3x3(self) -> bool:
        """Whether this is the convolution of `ncfm.kernels.convolve3x3`."""
        return (
            self.kernel_size == (3, 3)
            and self.stride == self.padding == self.dilation == (1, 1)
            and self.groups == 1
            and self.padding_mode == "zeros"
        )
