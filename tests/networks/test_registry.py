"""Networks: sizes by hand, normalisations by their properties, seeds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm.networks import ConvNet, create_network, depth_for
from ncfm.networks.convolution import Convolution
from ncfm.networks.norms import NORMS, make_norm
from ncfm.networks.registry import as_network


def build(name, *, channels=3, num_classes=10, image_size=16, seed=0):
    return create_network(name, channels=channels, num_classes=num_classes, image_size=image_size, seed=seed).eval()


def images_of(size, *, n=4, channels=3):
    return torch.randn(n, channels, size, size, generator=generator(0, "images"))


@pytest.mark.parametrize(
    ("size", "depth"),
    [(2, 1), (4, 1), (8, 1), (16, 2), (28, 2), (32, 3), (63, 3), (64, 4), (96, 4), (128, 5), (224, 5)],
)
def test_depth_by_size(size, depth):
    assert depth_for(size) == depth
    if size >= 8:
        assert 4 <= size >> depth <= 7


def test_depth_has_a_limit():
    assert depth_for(1024) == 6


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("convnet", 32, 128 * 4 * 4),
        ("convnet", 28, 128 * 7 * 7),
        ("convnet3", 64, 128 * 8 * 8),
        ("convnet2w8", 16, 8 * 4 * 4),
        ("convnet2w8", 18, 8 * 4 * 4),  # 18 -> 9 -> 4: pooling drops the odd row
        ("convnet4w8", 16, 8),
        ("convnetw8-batch", 16, 8 * 4 * 4),
    ],
)
def test_feature_width(name, size, features):
    network = build(name, image_size=size)
    found = network.forward_features(images_of(size))
    assert found.shape == (4, features)
    assert network.num_features == features


def test_logits_are_the_classifier_of_the_features():
    network = build("convnet1w8", num_classes=7)
    x = images_of(16)
    assert torch.equal(network(x), network.classifier(network.forward_features(x)))
    assert network(x).shape == (4, 7)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 3x3 filters and biases, then scale and shift of the norm, then the classifier.
        (
            "convnet3",
            (3 * 128 * 9 + 128) + 2 * (128 * 128 * 9 + 128) + 3 * 2 * 128 + (2048 * 10 + 10),
        ),  # = 320010, the number papers give for ConvNet-3 on CIFAR-10
        ("convnet3-none", (3 * 128 * 9 + 128) + 2 * (128 * 128 * 9 + 128) + (2048 * 10 + 10)),
        ("convnet1w8-batch", (3 * 8 * 9 + 8) + 2 * 8 + (8 * 256 * 10 + 10)),
    ],
)
def test_number_of_parameters(name, expected):
    assert sum(p.numel() for p in build(name, image_size=32).parameters()) == expected


def test_every_block_is_convolution_norm_rectifier_pooling():
    kinds = [type(m) for m in build("convnet2w8").blocks]
    assert kinds == [Convolution, nn.GroupNorm, nn.ReLU, nn.AvgPool2d] * 2


# --- normalisations ---------------------------------------------------------------------------------------


def affine_change(maps, *, per_channel):
    """Scale and shift feature maps (n, c, h, w), differently for every image and, if asked, every channel."""
    shape = (len(maps), maps.shape[1] if per_channel else 1, 1, 1)
    scale = torch.rand(shape, generator=generator(1, "scale")) + 0.5
    shift = torch.randn(shape, generator=generator(1, "shift"))
    return scale * maps + shift


@pytest.mark.parametrize(
    ("norm", "per_channel", "unchanged"),
    [
        ("instance", False, True),
        ("instance", True, True),
        ("group", False, True),
        ("group", True, False),
        ("layer", False, True),
        ("layer", True, False),
        ("none", False, False),
        ("batch", False, False),
    ],
)
def test_norms_undo_scale_and_shift_of_their_groups(norm, per_channel, unchanged):
    layer = make_norm(norm, 8).eval()
    maps = torch.randn(3, 8, 6, 6, generator=generator(0))
    same = torch.allclose(layer(maps), layer(affine_change(maps, per_channel=per_channel)), atol=1e-4)
    assert same == unchanged


def test_instance_norm_agrees_with_the_formula():
    maps = torch.randn(3, 8, 6, 6, generator=generator(0))
    mean, var = maps.mean((2, 3), keepdim=True), maps.var((2, 3), keepdim=True, correction=0)
    expected = (maps - mean) / (var + 1e-5).sqrt()
    torch.testing.assert_close(make_norm("instance", 8)(maps), expected, atol=1e-5, rtol=1e-5)


def test_features_with_instance_norm_do_not_depend_on_contrast():
    """The first block forgets scale and shift of each image, but at the border (zero padding)."""
    network = build("convnet1w8")
    with torch.no_grad():
        network.blocks[0].bias.zero_()
    x = images_of(16)
    scaled = 3 * x  # a scale alone passes through the padding too
    torch.testing.assert_close(network.forward_features(x), network.forward_features(scaled), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_images_of_a_batch_do_not_touch_each_other_in_evaluation(norm):
    network = build(f"convnet2w8-{norm}")
    x = images_of(16)
    alone = torch.cat([network(x[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(network(x), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_reach_images_and_parameters(norm):
    network = build(f"convnet1w8-{norm}")
    x = images_of(16).requires_grad_()
    network(x).square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("width", [1, 2, 3, 6, 8])
def test_group_norm_takes_any_width(width):
    assert build(f"convnet1w{width}-group")(images_of(16)).isfinite().all()


# --- seeds ------------------------------------------------------------------------------------------------


def weights_of(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_the_seed_fixes_the_weights():
    torch.manual_seed(1)
    first = weights_of(build("convnet1w8", seed=3))
    torch.rand(17)
    assert torch.equal(first, weights_of(build("convnet1w8", seed=3)))
    assert not torch.equal(first, weights_of(build("convnet1w8", seed=4)))


def test_building_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    build("convnet1w8")
    assert torch.equal(before, torch.get_rng_state())


# --- mistakes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["convnot", "convnet-", "convnet3w", "Convnet3", "convnet3-a-b", "", "convnet "])
def test_unknown_names_are_refused(name):
    with pytest.raises(NcfmError, match=r"Unknown network .* for example convnet3"):
        build(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convnet3-instanc", r"Unknown norm 'instanc'\. Did you mean 'instance'\?"),
        ("convnet0", "depth must be at least 1, got 0"),
        ("convnet3w0", "width must be at least 1, got 0"),
        ("convnet5", r"needs at least 32 px, got 16 px; use depth 4 or less"),
    ],
)
def test_impossible_networks_are_refused(name, message):
    with pytest.raises(NcfmError, match=message):
        build(name, image_size=16)


def test_the_smallest_image_of_a_depth_works():
    assert build("convnet4w8", image_size=16)(images_of(16)).shape == (4, 10)
    assert ConvNet(1, 2, image_size=2, width=4)(images_of(2, channels=1)).shape == (4, 2)


def test_a_network_without_features_is_refused():
    with pytest.raises(NcfmError, match=r"Linear has no forward_features and num_features.*add both.*Hooked"):
        as_network(nn.Linear(2, 2))
    network = build("convnet1w8")
    assert as_network(network) is network
