"""A data source: grey images of small and large discs, from a torch dataset.

ncfm distill my_data:discs --ipc 1
"""

import torch
from torch.utils.data import Dataset

import ncfm


class Discs(Dataset):
    """Grey 16 x 16 images of one disc each, class 0 small and class 1 large."""

    classes = ("small", "large")

    def __init__(self, number, seed):
        self.number, self.seed = number, seed

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        """An image (1, 16, 16) in [0, 1] and its class."""
        label = index % 2
        generator = torch.Generator().manual_seed(self.seed + index)
        row, column = (6 + 4 * torch.rand(2, generator=generator)).tolist()
        y, x = torch.arange(16.0)[:, None], torch.arange(16.0)
        inside = (y - row) ** 2 + (x - column) ** 2 < (2 + 3 * label) ** 2
        return inside[None].float(), label


def discs():
    """The dataset: a training and a test split."""
    return ncfm.images_of(Discs(80, seed=0), Discs(40, seed=1000), name="discs")
