"""A frequency sampler: frequencies along the axes, which compare the marginals.

ncfm distill digits --ipc 1 --set frequencies.family=my_sampler:AxisFrequencies
"""

import torch
from torch import nn


class AxisFrequencies(nn.Module):
    """Frequencies t = scale * z * e_i with z ~ N(0, 1) and a random coordinate i.

    Args:
        num_features: width d of the features.
        num_frequencies: k.
        scale: standard deviation of the one coordinate that is not 0.
    """

    def __init__(self, *, num_features, num_frequencies, scale):
        super().__init__()
        self.num_features = num_features
        self.num_frequencies = num_frequencies
        self.scale = scale
        # An empty tensor that .to(device) moves along.
        self.register_buffer("device_of", torch.empty(0), persistent=False)

    def sample(self, generator):
        """Draw t of shape (k, d)."""
        k, d = self.num_frequencies, self.num_features
        z = torch.randn(k, generator=generator)
        axis = torch.randint(d, (k,), generator=generator)
        t = torch.zeros(k, d)
        t[torch.arange(k), axis] = self.scale * z
        return t.to(self.device_of.device)
