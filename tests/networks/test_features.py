"""Feature extraction: chunks, unit norm, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm.networks import create_network
from ncfm.networks.features import FeatureExtractor, in_chunks, kept_bytes_per_image

CHUNK = 5


def network(name="convnet1w8"):
    built = create_network(name, channels=1, num_classes=3, image_size=8, seed=0)
    return built.requires_grad_(False).eval()


def images_of(n):
    return torch.randn(n, 1, 8, 8, generator=generator(0, "images"))


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("n", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 1, 3 * CHUNK + 1])
def test_chunks_change_nothing(n, norm):
    extractor = FeatureExtractor(network(f"convnet1w8-{norm}"), chunk_size=CHUNK)
    x = images_of(n)
    chunked = extractor.without_gradient(x)
    assert chunked.shape == (n, extractor.num_features)
    # Convolutions of another batch size may round differently.
    torch.testing.assert_close(chunked, extractor(x), atol=1e-6, rtol=1e-5)
    assert not chunked.requires_grad


def test_every_pass_without_gradient_has_the_same_shape(monkeypatch):
    """Code is compiled again for every shape."""
    extractor = FeatureExtractor(network(), chunk_size=CHUNK)
    seen, forward = [], extractor._forward
    monkeypatch.setattr(extractor, "_forward", lambda x: (seen.append(len(x)), forward(x))[1])
    extractor.without_gradient(images_of(3 * CHUNK + 2))
    assert seen == [CHUNK] * 4


def test_without_gradient_records_nothing_even_when_images_want_it():
    x = images_of(3).requires_grad_()
    assert not FeatureExtractor(network()).without_gradient(x).requires_grad


@pytest.mark.parametrize("size", [1, 4, 6, 7, 100])
def test_chunks_with_gradient_change_nothing(size):
    results = []
    for chunk in (None, size):
        x = images_of(7).requires_grad_()
        extractor = FeatureExtractor(network(), gradient_chunk_size=chunk)
        out = extractor(x)
        upstream = torch.randn(out.shape, generator=generator(0, "upstream"))
        results.append((out.detach(), *torch.autograd.grad(out, x, upstream)))
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=1e-5)


def test_a_chunk_keeps_only_its_images():
    kept = []
    x = images_of(20).requires_grad_()
    forward = FeatureExtractor(network())._forward
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        out = in_chunks(forward, x, 5)
    assert sum(kept) <= 2 * x.numel()  # the chunks of the input, nothing of the network
    assert out.shape == (20, 128)


def test_bytes_that_an_image_costs_are_in_proportion():
    # One block of a width of 8 at 8 px keeps images of 8 x 8 x 8, 128 features and the input: linear in the width.
    costs = []
    for width in (8, 16, 32):
        forward = network(f"convnet1w{width}").forward_features
        costs.append(kept_bytes_per_image(forward, images_of(1)))
    assert costs[0] >= 4 * 64
    assert costs[1] - costs[0] > 0
    assert costs[2] - costs[1] == pytest.approx(2 * (costs[1] - costs[0]), rel=0.05)


def test_features_have_unit_norm_unless_switched_off():
    x = images_of(6)
    plain = FeatureExtractor(network(), normalize=False)(x)
    assert torch.equal(plain, network().forward_features(x))
    unit = FeatureExtractor(network())(x)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(unit, plain / plain.norm(dim=1, keepdim=True))


def test_a_zero_feature_stays_zero():
    dead = network("convnet1w8-none")
    nn.init.zeros_(dead.blocks[0].weight)
    nn.init.constant_(dead.blocks[0].bias, -1.0)  # the rectifier lets nothing through
    assert torch.equal(FeatureExtractor(dead)(images_of(2)), torch.zeros(2, dead.num_features))


def test_gradients_reach_the_images_alone():
    net = network()
    x = images_of(4).requires_grad_()
    (gradient,) = torch.autograd.grad(FeatureExtractor(net)(x)[:, 0].sum(), x)
    assert (gradient.flatten(1).abs().sum(1) > 0).all()
    assert all(p.grad is None for p in net.parameters())


def test_the_gradient_is_the_slope():
    extractor = FeatureExtractor(network().double())
    x = images_of(1).double()
    direction = torch.randn(x.shape, generator=generator(1), dtype=torch.float64)
    weights = torch.randn(extractor.num_features, generator=generator(2))

    def value(y):
        return (extractor(y) * weights).sum()

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    # Features come back in float32: with a step of 1e-3 the difference keeps 3 or 4 digits.
    step = 1e-3 * direction
    slope = (value(x + step) - value(x - step)) / 2e-3
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=2e-2)


def test_weights_replaced_in_place_are_seen():
    net = network()
    extractor = FeatureExtractor(net)
    before = extractor(images_of(2))
    net.load_state_dict(create_network("convnet1w8", channels=1, num_classes=3, image_size=8, seed=1).state_dict())
    assert not torch.allclose(before, extractor(images_of(2)))


def test_features_come_back_in_float32_from_a_lower_precision():
    x = images_of(4)
    two_blocks = network("convnet2w16")  # kernels compute the first block in float32
    low, full = FeatureExtractor(two_blocks, precision=torch.bfloat16)(x), FeatureExtractor(two_blocks)(x)
    assert low.dtype == torch.float32
    # bfloat16 has 8 bits of mantissa: relative error up to 2 ** -8 a product, here on unit vectors.
    torch.testing.assert_close(low, full, atol=0.02, rtol=0)
    assert not torch.equal(low, full)


class OnlyLogits(nn.Module):
    def forward(self, images):
        return images.flatten(1)


def test_another_network_needs_features():
    with pytest.raises(NcfmError, match=r"OnlyLogits has no forward_features and num_features"):
        FeatureExtractor(OnlyLogits())


class Foreign(nn.Module):
    num_features = 2

    def forward_features(self, images):
        return images.flatten(1)[:, :2]


def test_another_network_with_features_is_accepted():
    x = images_of(3)
    found = FeatureExtractor(Foreign(), normalize=False)(x)
    assert torch.equal(found, x.flatten(1)[:, :2])


# --- the features of all blocks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["convnet2w8", "convnet3w8-batch", "resnet10w8"])
def test_the_last_block_has_the_networks_features(name):
    built, x = network(name), images_of(3)
    blocks = built.block_features(x)
    assert [block.shape[1] for block in blocks] == built.block_widths
    torch.testing.assert_close(blocks[-1], built.forward_features(x))


def test_a_blocks_map_is_averaged_to_the_grid_of_the_last():
    built, x = network("convnet2w8"), images_of(2)
    first = built.blocks[:4](x)  # (2, 8, 4, 4); the last map has 2 pixels per side
    by_hand = torch.stack([first[:, :, i : i + 2, j : j + 2].mean((2, 3)) for i in (0, 2) for j in (0, 2)], dim=2)
    torch.testing.assert_close(built.block_features(x)[0], by_hand.flatten(1), rtol=1e-5, atol=1e-6)


def test_every_block_counts_the_same_and_the_whole_has_norm_one():
    x = images_of(4)
    extractor = FeatureExtractor(network("convnet2w8"), layers="all")
    features = extractor(x)
    assert features.shape == (4, extractor.num_features)
    for part in features.split(extractor.widths, dim=1):
        torch.testing.assert_close(part.square().sum(1), torch.full((4,), 0.5))
    plain = FeatureExtractor(network("convnet2w8"), layers="all", normalize=False)(x)
    torch.testing.assert_close(plain, torch.cat(network("convnet2w8").block_features(x), dim=1))


def test_one_block_is_the_last():
    x = images_of(3)
    found, usual = (FeatureExtractor(network("convnet1w8"), layers=layers)(x) for layers in ("all", "last"))
    torch.testing.assert_close(found, usual)


def test_chunks_of_all_blocks_change_nothing():
    x = images_of(7)
    extractor = FeatureExtractor(network("convnet2w8"), layers="all", chunk_size=3)
    torch.testing.assert_close(extractor.without_gradient(x), extractor(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["mlp1w8", "vgg11w8"])
def test_a_network_without_block_features_is_told(name):
    built = create_network(name, channels=1, num_classes=3, image_size=32, seed=0)
    with pytest.raises(NcfmError, match=r"teachers\.layers=all.*take a convnet or a resnet"):
        FeatureExtractor(built, layers="all")


def test_unknown_layers_are_told():
    with pytest.raises(NcfmError, match="Did you mean 'last'"):
        FeatureExtractor(network(), layers="lst")
