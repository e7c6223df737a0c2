"""A network: two convolutions and a linear layer.

ncfm distill digits --ipc 1 --set teachers.network=my_network:make
ncfm evaluate runs/digits-ipc1 --networks convnet2,my_network:make
"""

from torch import nn


def make(*, channels, num_classes, image_size):
    """Any `nn.Module` from images (n, channels, image_size, image_size) to logits."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, num_classes),  # its input is the matched feature vector
    )
