"""Networks by name: feature extractors, teachers and students.

Every network offers ``forward`` (logits), ``forward_features`` (the flat vector before the classifier) and
``num_features`` (its length).
"""

from ncfm.networks.convnet import ConvNet, depth_for
from ncfm.networks.registry import Network, create_network, on_device

__all__ = ["ConvNet", "Network", "create_network", "depth_for", "on_device"]
