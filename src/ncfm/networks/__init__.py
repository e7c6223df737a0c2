"""Networks by name: feature extractors, teachers, evaluation networks.

Every network offers ``forward`` (logits), ``forward_features`` (the flat vector before the classifier) and
``num_features`` (its length); those of this package are ``classifier(forward_features(images))``.

A name is ``family[depth][w<width>][-norm]`` with a family of `FAMILIES`, ``timm:NAME``, ``module:callable`` for the
user's own code, or a name given to `register_network`, see `create_network`.
"""

from ncfm.networks.alexnet import AlexNet
from ncfm.networks.convnet import ConvNet, depth_for
from ncfm.networks.densenet import DenseNet
from ncfm.networks.hooked import Hooked
from ncfm.networks.mlp import MLP
from ncfm.networks.norms import NORMS
from ncfm.networks.registry import FAMILIES, Network, create_network, on_device, register_network
from ncfm.networks.resnet import ResNet
from ncfm.networks.vgg import VGG
from ncfm.networks.vit import ViT

__all__ = [
    "FAMILIES",
    "MLP",
    "NORMS",
    "VGG",
    "AlexNet",
    "ConvNet",
    "DenseNet",
    "Hooked",
    "Network",
    "ResNet",
    "ViT",
    "create_network",
    "depth_for",
    "on_device",
    "register_network",
]
