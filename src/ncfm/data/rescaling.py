"""From the normalisation of some images to another one."""

from __future__ import annotations

import torch
from torch import Tensor

from ncfm._utils.types import Statistics


def rescaling(shown: Statistics, wanted: Statistics, device: torch.device) -> tuple[Tensor, Tensor]:
    r"""Factor and shift (c, 1, 1) that turn images normalised by ``shown`` into those normalised by ``wanted``.

    .. math:: (x - m) / s = a \, (x - m_0) / s_0 + b, \qquad a = s_0 / s, \quad b = (m_0 - m) / s

    Args:
        shown: m_0 and s_0, by which the images are normalised; without a ZCA map.
        wanted: m and s.
        device: of the images.

    >>> a, b = rescaling(Statistics((0.5,), (0.2,)), Statistics((0.3,), (0.1,)), torch.device("cpu"))
    >>> round(float(a), 6), round(float(b), 6)
    (2.0, 2.0)
    """
    (mean, std), (own_mean, own_std) = (
        (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in by[:2]) for by in (shown, wanted)
    )
    return (std / own_std).float().to(device), ((mean - own_mean) / own_std).float().to(device)
