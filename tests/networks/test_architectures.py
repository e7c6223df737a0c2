"""Networks for evaluation across architectures: sizes and parameters by hand, properties of every family, networks from
elsewhere."""

from __future__ import annotations

import copy
import pickle
import sys
import types

import pytest
import torch
from torch import nn

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm._utils.types import Statistics
from ncfm.networks import FAMILIES, NORMS, Hooked, create_network, on_device, register_network
from ncfm.networks import registry as networks_registry
from ncfm.networks.base import as_network
from ncfm.networks.features import FeatureExtractor
from ncfm.networks.vit import patch_for
from ncfm.training.fit import fit
from ncfm.training.fit_vmapped import fit_side_by_side
from ncfm.training.recipe import TrainingRecipe
from strategies import rng

# One of every family, thin and shallow; what holds of these holds of wide and deep ones.
THIN = {
    "convnet": "convnetw4",  # not 8: the kernels, which each test would compile, have tests of their own
    "alexnet": "alexnetw8",
    "vgg": "vgg11w8",
    "resnet": "resnet10w8",
    "densenet": "densenet10w8",
    "vit": "vit1w8",
    "mlp": "mlp1w8",
}
NORMED = [THIN[family] for family, entry in FAMILIES.items() if "norm" in entry.options]
SIZES = (8, 9, 28, 32, 64, 95, 96, 100, 224)  # the first of all, odd ones, both sides of the large stems, the last


def build(name, *, channels=3, num_classes=10, image_size=16, seed=0):
    return create_network(name, channels=channels, num_classes=num_classes, image_size=image_size, seed=seed).eval()


def on_paper(name, **options):
    """A network without memory for its weights: what is asked is how many there are."""
    with torch.device("meta"):
        return build(name, **options)


def images_of(size, *, n=2, channels=3):
    return torch.randn(n, channels, size, size, generator=generator(0, "images"))


def test_every_family_is_here():
    assert THIN.keys() == FAMILIES.keys()


# --- numbers by hand --------------------------------------------------------------------------------------


def conv(channels, width, side, bias=True):
    return channels * width * side**2 + bias * width


def norm(*widths):
    return 2 * sum(widths)  # scale and shift


def linear(features, classes):
    return (features + 1) * classes


def alexnet(features, first):
    return first + conv(128, 192, 5) + conv(192, 256, 3) + conv(256, 192, 3) + conv(192, 192, 3) + linear(features, 10)


def vgg(convolutions, features):
    """Numbers of convolutions of the five stages."""
    total, channels = linear(features, 10), 3
    for number, width in zip(convolutions, (64, 128, 256, 512, 512), strict=True):
        total += conv(channels, width, 3) + (number - 1) * conv(width, width, 3) + number * norm(width)
        channels = width
    return total


def resnet(blocks, classes, stem, bias=False, normed=True):
    """Numbers of blocks of the four stages; projections at the head of all but the first."""
    total, channels = stem + normed * norm(64) + linear(512, classes), 64
    for number, width in zip(blocks, (64, 128, 256, 512), strict=True):
        total += conv(channels, width, 3, bias) + (2 * number - 1) * conv(width, width, 3, bias)
        total += 2 * number * normed * norm(width)
        if channels != width:
            total += conv(channels, width, 1, bias) + normed * norm(width)
        channels = width
    return total


def densenet(layers, growth, stem):
    total, maps = stem, 2 * growth
    for block in range(3):
        for _ in range(layers):
            total += (
                norm(maps) + conv(maps, 4 * growth, 1, False) + norm(4 * growth) + conv(4 * growth, growth, 3, False)
            )
            maps += growth
        if block < 2:
            total += norm(maps) + conv(maps, maps // 2, 1, False)
            maps //= 2
    return total + norm(maps) + linear(maps, 10)


def vit(depth, width, patch, tokens):
    attention = linear(width, 3 * width) + linear(width, width)
    layer = attention + linear(width, 4 * width) + linear(4 * width, width) + 2 * norm(width)
    return conv(3, width, patch) + tokens * width + depth * layer + norm(width) + linear(width, 10)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("alexnet", 32, alexnet(192 * 4 * 4, conv(3, 128, 5))),
        ("alexnet", 128, alexnet(192 * 4 * 4, conv(3, 128, 11))),
        ("alexnet-batch", 32, alexnet(192 * 4 * 4, conv(3, 128, 5)) + norm(128, 192, 256, 192, 192)),
        ("vgg11-batch", 32, vgg((1, 1, 2, 2, 2), 512)),
        ("vgg13", 32, vgg((2, 2, 2, 2, 2), 512)),
        ("vgg16", 32, vgg((2, 2, 3, 3, 3), 512)),
        ("vgg11", 64, vgg((1, 1, 2, 2, 2), 512 * 2 * 2)),
        ("resnet10", 32, resnet((1, 1, 1, 1), 10, conv(3, 64, 3, False))),
        ("resnet18-batch", 32, resnet((2, 2, 2, 2), 10, conv(3, 64, 3, False))),
        ("resnet18", 8, resnet((2, 2, 2, 2), 10, conv(3, 64, 3, False))),  # sizes change strides, not weights
        ("resnet18-none", 32, resnet((2, 2, 2, 2), 10, conv(3, 64, 3), bias=True, normed=False)),
        ("resnet34", 96, resnet((3, 4, 6, 3), 10, conv(3, 64, 7, False))),
        ("densenet", 32, densenet(6, 12, conv(3, 24, 3, False))),
        ("densenet100w12", 32, densenet(16, 12, conv(3, 24, 3, False))),
        ("densenet", 96, densenet(6, 12, conv(3, 24, 7, False) + norm(24))),
        ("vit", 32, vit(6, 192, 4, 64)),
        ("vit2w64", 28, vit(2, 64, 4, 49)),
        ("vit", 224, vit(6, 192, 16, 196)),
        ("mlp", 32, linear(3 * 32 * 32, 128) + linear(128, 128) + linear(128, 10)),
        ("mlp1w7", 8, linear(3 * 8 * 8, 7) + linear(7, 10)),
    ],
)
def test_number_of_parameters(name, size, expected):
    assert sum(p.numel() for p in on_paper(name, image_size=size).parameters()) == expected


@pytest.mark.parametrize(
    ("name", "size", "classes", "expected"),
    [
        # Numbers that papers and well-known code give for 10 classes of 32 px and 1000 of 224 px.
        ("vgg11", 32, 10, 9_231_114),
        ("vgg16", 32, 10, 14_728_266),
        ("resnet18", 32, 10, 11_173_962),
        ("resnet34", 32, 10, 21_282_122),
        ("resnet18", 224, 1000, 11_689_512),
        ("densenet100", 32, 10, 769_162),
    ],
)
def test_published_numbers_of_parameters(name, size, classes, expected):
    network = on_paper(name, image_size=size, num_classes=classes)
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize(
    ("name", "features"),
    [  # at 8, 28, 32, 64, 128 and 224 px
        ("convnet", [128 * side**2 for side in (4, 7, 4, 4, 4, 7)]),
        ("alexnet", [192 * side**2 for side in (1, 3, 4, 8, 4, 7)]),
        ("vgg", [512 * side**2 for side in (1, 1, 1, 2, 4, 7)]),
        ("resnet", [512] * 6),
        ("densenet", [132] * 6),  # 24 + 72 = 96, halved 48 + 72 = 120, halved 60 + 72
        ("densenet10w4", [9] * 6),  # 8 + 4 = 12, halved 6 + 4 = 10, halved 5 + 4 = 9
        ("vit", [192] * 6),
        ("mlp", [128] * 6),
    ],
)
def test_feature_width_by_size(name, features):
    found = [on_paper(name, image_size=size).num_features for size in (8, 28, 32, 64, 128, 224)]
    assert found == features


@pytest.mark.parametrize(
    ("size", "patch"),
    [(8, 1), (9, 2), (16, 2), (28, 4), (32, 4), (33, 5), (64, 8), (100, 13), (128, 16), (224, 16), (225, 17)],
)
def test_patch_by_size(size, patch):
    assert patch_for(size) == patch


def test_there_are_at_most_8_by_8_and_14_by_14_tokens():
    grids = {size: -(-size // patch_for(size)) for size in range(8, 512)}
    assert all(4 < grid <= 8 for size, grid in grids.items() if size <= 128)
    assert all(7 < grid <= 14 for size, grid in grids.items() if size > 128)


# --- properties of every family ---------------------------------------------------------------------------


# Channels change the first layer alone. Their numbers alternate: every family meets several below and above 96 px,
# where its stem changes, and every size meets all.
CHANNELS = (1, 3, 2, 4, 13)
EVERY_SIZE = [
    (name, size, CHANNELS[(i + j) % len(CHANNELS)])
    for i, name in enumerate(THIN.values())
    for j, size in enumerate(SIZES)
]


@pytest.mark.parametrize(("name", "size", "channels"), EVERY_SIZE)
def test_every_size_has_features_that_differ_between_images(name, size, channels):
    network = build(name, channels=channels, num_classes=2, image_size=size)
    x = images_of(size, channels=channels)
    with torch.no_grad():
        features, logits = network.forward_features(x), network(x)
    assert features.shape == (2, network.num_features)
    assert torch.equal(logits, network.classifier(features))
    assert logits.shape == (2, 2)
    # A norm of one-pixel maps would make all images alike but for rounding.
    assert (features[0] - features[1]).norm() > 1e-3 * features.norm() > 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NORMED)
def test_every_norm_keeps_images_apart_and_to_themselves(name, norm):
    network, x = build(f"{name}-{norm}", image_size=8), images_of(8)
    with torch.no_grad():
        features = network.forward_features(x)
        alone = torch.cat([network.forward_features(x[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(features, alone, atol=1e-5, rtol=1e-4)
    assert (features[0] - features[1]).norm() > 1e-3 * features.norm()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NORMED)
def test_norms_are_what_the_name_says(name, norm):
    kinds = [type(m) for m in on_paper(f"{name}-{norm}").modules()]
    assert (nn.BatchNorm2d in kinds) == (norm == "batch")
    assert (nn.GroupNorm in kinds) == (norm in ("instance", "group", "layer"))


@pytest.mark.parametrize(("family", "norm"), [("alexnet", "none"), ("vgg", "instance"), ("resnet", "instance")])
def test_default_norms(family, norm):
    assert str(on_paper(THIN[family])) == str(on_paper(f"{THIN[family]}-{norm}"))
    assert str(on_paper(THIN[family])) != str(on_paper(f"{THIN[family]}-layer"))


@pytest.mark.parametrize("name", [*THIN.values(), *(f"{name}-batch" for name in NORMED)])
def test_gradients_reach_images_and_parameters(name):
    network = build(name, image_size=8).train()  # two images are the smallest batch of a BatchNorm
    x = images_of(8).requires_grad_()
    network(x)[:, 0].sum().backward()
    assert (x.grad.flatten(1).norm(dim=1) > 0).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    # Biases under a norm, or of an attention's keys, are without effect; matrices and filters are not.
    assert all(p.grad.abs().sum() > 0 for p in network.parameters() if p.ndim > 1)


@pytest.mark.parametrize("name", THIN.values())
def test_the_seed_fixes_the_weights_and_nothing_else(name):
    before = torch.get_rng_state()
    first, again, other = (
        torch.cat([p.detach().flatten() for p in build(name, image_size=8, seed=seed).parameters()])
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_layers_of_a_transformer_begin_differently():
    first, second = build("vit2w8").layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert not torch.equal(first.self_attn.in_proj_weight, second.self_attn.in_proj_weight)


@pytest.mark.parametrize(("width", "heads"), [(8, 1), (64, 1), (100, 1), (128, 2), (192, 3), (200, 2), (193, 1)])
def test_heads_by_width(width, heads):
    assert on_paper(f"vit1w{width}").layers[0].self_attn.num_heads == heads


def test_a_transformer_loses_no_pixel():
    network = build("vit1w8", image_size=13)  # patches of 2: the last row and column stand alone
    x = images_of(13).requires_grad_()
    network(x)[:, 0].sum().backward()
    assert (x.grad != 0).all()


@pytest.mark.parametrize("name", [*THIN.values(), "hooked"])
def test_features_are_those_of_the_extractor_whole_and_in_chunks(name):
    network = Hooked(plain(), (3, 8, 8)) if name == "hooked" else build(name, image_size=8)
    expected = network.forward_features(images_of(8, n=6))
    network = on_device(network.eval(), torch.device("cpu")).requires_grad_(False)  # as the teachers are
    gradients = []
    for chunk in (None, 4):
        extract = FeatureExtractor(network, normalize=False, chunk_size=4, gradient_chunk_size=chunk)
        x = images_of(8, n=6).requires_grad_()
        features = extract(x)
        features.square().sum().backward()
        gradients.append(x.grad)
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(extract.without_gradient(x), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


# --- students side by side --------------------------------------------------------------------------------

RECIPE = TrainingRecipe(epochs=1, optimizer="sgd", lr=0.01, batch_size=4, schedule="constant", momentum=0.0)


@pytest.mark.parametrize("name", [*THIN.values(), *(f"{name}-batch" for name in NORMED), "hooked"])
def test_students_of_every_family_train_side_by_side(name, monkeypatch):
    monkeypatch.setitem(networks_registry._registered, "hooked", plain_for)
    # In double precision: over maps of 2 px an instance norm makes much of rounding.
    images = torch.rand(8, 3, 16, 16, generator=rng(0), dtype=torch.float64)
    labels = torch.arange(8) % 3
    options = {"recipe": RECIPE, "statistics": Statistics((0.5,) * 3, (0.3,) * 3)}

    def students():
        made = [build(name, num_classes=3, image_size=16, seed=seed).double() for seed in range(2)]
        return [on_device(network, torch.device("cpu")) for network in made]  # as an evaluation lays them out

    together, alone, untrained = students(), students(), students()
    fit_side_by_side(together, images, labels, generators=[rng(i) for i in range(2)], **options)
    for i in range(2):
        fit(alone[i], images, labels, generator=rng(i), **options)
        logits, expected, before = (group[i].eval()(images).detach() for group in (together, alone, untrained))
        torch.testing.assert_close(logits, expected, atol=1e-8, rtol=1e-8)
        assert not torch.allclose(logits, before, atol=1e-4, rtol=1e-3)


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnt18", r"Unknown network 'resnt18'\. Did you mean 'resnet'\?"),
        ("ResNet18", "Unknown network 'ResNet18'"),
        ("vgg11w", r"Unknown network 'vgg11w'\. Did you mean 'vgg11'\?"),
        ("vit6-", "Unknown network 'vit6-'"),
        ("resnet-18", r"Unknown norm '18'.*Known: batch, group, instance, layer, none"),
        ("vgg11-instanc", r"Unknown norm 'instanc'\. Did you mean 'instance'\?"),
        (
            "vit-batch",
            r"names a norm, which vit does not support; it supports vit\[depth\]\[w<width>\], for example vit6w192",
        ),
        ("mlp-instance", r"names a norm, which mlp does not support; it supports mlp\[depth\]\[w<width>\]"),
        ("alexnet5", r"names a depth, which alexnet does not support; it supports alexnet\[w<width>\]\[-norm\]"),
        ("vgg12", "The depth of a VGG is 11, 13 or 16, got 12"),
        ("resnet50", "The depth of a ResNet is 10, 18 or 34, got 50"),
        ("densenet41", r"The depth of a DenseNet is 6 n \+ 4 .* got 41; the nearest are 40 and 46"),
        ("densenet4", "got 4; the nearest are 10 and 16"),
        ("vit0", "depth must be at least 1, got 0"),
        ("mlp0", "depth must be at least 1, got 0"),
        ("convnet7", "needs at least 128 px, got 16 px"),
        ("vgg11w0", "width must be at least 1, got 0"),
        ("resnet18w0", "width must be at least 1, got 0"),
        ("densenetw0", "width must be at least 1, got 0"),
        ("vitw0", "width must be at least 1, got 0"),
        ("mlpw0", "width must be at least 1, got 0"),
        ("alexnetw7", "width of an AlexNet must be even .* got 7"),
        ("my networks:make", "Unknown network 'my networks:make'"),
    ],
)
def test_impossible_names_are_refused(name, message):
    with pytest.raises(NcfmError, match=message):
        build(name)


def test_an_unknown_name_lists_every_family():
    with pytest.raises(NcfmError) as caught:
        build("perceptron")
    for family, entry in FAMILIES.items():
        assert family + entry.grammar in str(caught.value)
        assert entry.description in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_examples_and_bare_families_are_networks(family):
    for name in (family, FAMILIES[family].example):
        assert on_paper(name, image_size=32).num_features > 0


@pytest.mark.parametrize("name", ["alexnet", "vgg", "resnet", "densenet", "vit"])
def test_images_below_8_px_are_refused(name):
    with pytest.raises(NcfmError, match="at least 8 px, got 7 px; convnet and mlp accept smaller ones"):
        build(name, image_size=7)


# --- features by a hook -----------------------------------------------------------------------------------


def plain(classes=10):
    """A network without features, whose classifier is not the last of its attributes but the last to be called."""
    torch.manual_seed(0)
    return Plain(3 * 8 * 8, classes)


def plain_for(*, channels, num_classes, image_size):
    return Plain(channels * image_size**2, num_classes)


class Plain(nn.Module):
    def __init__(self, pixels, classes):
        super().__init__()
        self.head = nn.Linear(6, classes)
        self.body = nn.Linear(pixels, 6)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x.flatten(1))))


@pytest.fixture(autouse=True)
def own_random_numbers():
    with torch.random.fork_rng(devices=[]):
        yield


def test_hooked_features_by_hand():
    module, x = plain(), images_of(8)
    network = Hooked(module, (3, 8, 8))
    assert network.num_features == 6
    assert torch.equal(network.forward_features(x), torch.tanh(module.body(x.flatten(1))))
    assert torch.equal(network(x), module(x))
    assert torch.equal(network(x), network.classifier(network.forward_features(x)))
    assert network.classifier is module.head


def test_hooked_features_of_tokens_are_flattened():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)  # its own linear layer is never called
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            return self.head(self.attention(x[:, 0], x[:, 0], x[:, 0])[0]).mean(1)

    network, x = Hooked(Tokens(), (1, 8, 8)), images_of(8, channels=1)
    features = network.forward_features(x)
    assert features.shape == (2, network.num_features) == (2, 64)
    torch.testing.assert_close(network.classifier(features.view(2, 8, 8)).mean(1), network(x))


def test_hooked_gives_gradients_and_none_where_none_are_wanted():
    network, x = Hooked(plain(), (3, 8, 8)), images_of(8).requires_grad_()
    network.forward_features(x).sum().backward()
    assert x.grad.abs().sum() > 0
    with torch.no_grad():
        assert not network.forward_features(x).requires_grad


def test_hooked_state_is_that_of_the_module():
    module = plain()
    state = Hooked(module, (3, 8, 8)).state_dict()
    assert state.keys() == {f"module.{key}" for key in module.state_dict()}
    assert len(list(Hooked(module, (3, 8, 8)).named_parameters())) == 4


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_of_a_hooked_network_is_its_own(duplicate):
    network, x = Hooked(plain(), (3, 8, 8)), images_of(8)
    before, _ = network.forward_features(x), network(x)  # with graphs, which must not be in the way of copying
    other = duplicate(network)
    with torch.no_grad():
        other.module.body.weight.zero_()
        other.module.body.bias.fill_(1)
    torch.testing.assert_close(other.forward_features(x), torch.tanh(torch.ones(2, 6)))
    assert torch.equal(network.forward_features(x), before)


def test_hooking_changes_neither_mode_nor_buffers_nor_random_numbers():
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 64, 2)).train()
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    state = torch.get_rng_state()
    Hooked(module, (3, 8, 8))
    assert all(m.training for m in module.modules())
    assert all(torch.equal(value, buffers[name]) for name, value in module.named_buffers())
    assert torch.equal(torch.get_rng_state(), state)


def test_hooked_networks_compile_whole():
    network, x = Hooked(plain(), (3, 8, 8)), images_of(8)
    compiled = torch.compile(network.forward_features, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), network.forward_features(x))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 10, 8), nn.Flatten()), "has no nn.Linear whose input could be its features"),
        (nn.Sequential(nn.Linear(8, 4), nn.Flatten()), r"\(0\) returns 4 values .* it is not the classifier"),
        (nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), r"Sequential fails on images of shape \(3, 3, 8, 8\)"),
        (nn.Sequential(nn.Flatten(0, 1), nn.Flatten(), nn.Linear(64, 2)), "it is not the classifier"),
    ],
    ids=["no linear", "not the classifier", "does not fit", "images mixed"],
)
def test_what_cannot_be_hooked_is_reported(module, message):
    with pytest.raises(NcfmError, match=message):
        Hooked(module, (3, 8, 8))


# --- own code ---------------------------------------------------------------------------------------------

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    num_features = 4
    def __init__(self, channels, num_classes, image_size):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, image_size)
        self.classifier = nn.Linear(4, num_classes)
    def forward_features(self, images):
        return self.conv(images).flatten(1)
    def forward(self, images):
        return self.classifier(self.forward_features(images))

class Maps(Net):
    def forward_features(self, images):
        return self.conv(images)
    def forward(self, images):
        return self.classifier(self.forward_features(images).flatten(1))

def make(*, channels, num_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, num_classes))

def too_few(channels, num_classes, image_size):
    return make(channels=channels, num_classes=num_classes - 1, image_size=image_size)

def failing(channels, num_classes, image_size):
    return nn.Linear(1000, num_classes)

def pair(channels, num_classes, image_size):
    class Pair(nn.Linear):
        def forward(self, x):
            return x, x
    return Pair(2, 2)

def raising(**sizes):
    raise KeyError("depth")

def without_linear(channels, num_classes, image_size):
    return nn.Sequential(nn.Conv2d(channels, num_classes, image_size), nn.Flatten())

def nothing(**sizes): ...
def other(width): ...
number = 3
"""


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    (tmp_path / "own_networks.py").write_text(OWN)
    (tmp_path / "needs_more.py").write_text("import surely_not_installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield
    for name in ("own_networks", "needs_more"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("own_code")
def test_own_code_is_found_in_the_current_folder():
    path, state, x = list(sys.path), torch.get_rng_state(), images_of(8)
    hooked = build("own_networks:make", image_size=8)
    assert isinstance(hooked, Hooked)
    assert hooked.forward_features(x).shape == (2, hooked.num_features) == (2, 5)
    own = build("own_networks:Net", image_size=8)
    assert type(own).__name__ == "Net"
    assert own.forward_features(x).shape == (2, 4)
    again, other = (build("own_networks:make", image_size=8, seed=seed) for seed in (0, 1))
    assert torch.equal(hooked(x), again(x))
    assert not torch.equal(hooked(x), other(x))
    assert sys.path == path
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_network:make", r"There is no module 'own_network', neither in the current folder \(.*\) nor installed"),
        ("own_networks.py:make", "There is no module 'own_networks.py'.*is named mine:make"),
        ("own_networks:mak", r"'own_networks' has no 'mak', which .* names\. Nearest: make"),
        ("own_networks:number", "'own_networks:number' must be callable"),
        ("own_networks:other", r"created by calling other\(channels=.*which it does not accept: missing"),
        ("own_networks:nothing", "'own_networks:nothing' must be a torch.nn.Module, got a NoneType"),
        ("own_networks:too_few", r"returns \(3, 9\) for 3 images of shape \(3, 8, 8\); expected .* \(3, 10\)"),
        (
            "own_networks:failing",
            r"'own_networks:failing': Linear fails on images of shape \(3, 3, 8, 8\): RuntimeError",
        ),
        ("own_networks:pair", "Pair must return one tensor, not a tuple"),
        ("own_networks:Maps", r"returns \(3, 4, 1, 1\) for 3 images; expected \(n, num_features\) = \(3, 4\)"),
    ],
)
def test_mistakes_of_own_code_are_reported(name, message):
    with pytest.raises(NcfmError, match=message):
        build(name, image_size=8)


@pytest.mark.usefixtures("own_code")
def test_what_own_code_lacks_is_reported_with_its_traceback():
    message = "module of the network 'needs_more:make' could not be imported: ModuleNotFoundError: No module named 's"
    with pytest.raises(NcfmError, match=message) as caught:
        build("needs_more:make")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.usefixtures("own_code")
def test_a_factory_that_fails_is_named():
    with pytest.raises(NcfmError, match=r"The network 'own_networks:raising' failed: KeyError: 'depth'"):
        build("own_networks:raising")


@pytest.mark.usefixtures("own_code")
def test_a_network_without_linear_layer_is_a_student_but_no_extractor():
    network = build("own_networks:without_linear", image_size=8)
    assert network(images_of(8)).shape == (2, 10)
    with pytest.raises(NcfmError, match=r"Sequential has no forward_features .* and no last nn\.Linear"):
        as_network(network)


def test_a_registered_network(monkeypatch):
    monkeypatch.setattr(networks_registry, "_registered", {})
    register_network("my-net", plain_for)
    assert build("my-net", image_size=8).num_features == 6
    assert torch.equal(build("my-net", seed=1)(images_of(16)), build("my-net", seed=1)(images_of(16)))
    with pytest.raises(NcfmError, match=r"Did you mean 'my-net'\?.*Registered: my-net"):
        build("my-nte")
    register_network("my-net", lambda channels, num_classes, image_size: nn.Linear(2, 2))
    with pytest.raises(NcfmError, match="Linear fails on images"):
        build("my-net")


@pytest.mark.parametrize(
    ("name", "factory", "message"),
    [
        ("resnet50", plain_for, "it is a network of this package"),
        ("a:b", plain_for, "it needs letters, digits"),
        ("", plain_for, "it needs letters, digits"),
        ("mine", lambda width: None, "which it does not accept"),
        ("mine", 3, "which it does not accept"),
    ],
)
def test_what_cannot_be_registered(name, factory, message, monkeypatch):
    monkeypatch.setattr(networks_registry, "_registered", {})
    with pytest.raises(NcfmError, match=message):
        register_network(name, factory)
    assert networks_registry._registered == {}


# --- timm, by a stand-in: it is no dependency of ours -------------------------------------------------------


class Unpooled(Plain):
    """As timm's models: forward_features gives maps, and num_features is their number of channels."""

    num_features = 3

    def forward_features(self, x):
        return x


@pytest.fixture
def timm(monkeypatch):
    calls = []

    def create_model(name, *, pretrained, num_classes, in_chans, **options):
        calls.append((name, pretrained, num_classes, in_chans, options))
        if name.startswith("resnet") and options:
            raise TypeError("unexpected keyword argument 'img_size'")
        if name == "stubborn":
            raise AssertionError("patches do not divide the image")
        return Unpooled(in_chans * 64, num_classes)

    module = types.SimpleNamespace(
        create_model=create_model,
        list_models=lambda: ["resnet18", "resnet50", "vit_tiny", "stubborn"],
    )
    monkeypatch.setitem(sys.modules, "timm", module)
    return calls


def test_a_model_of_timm_that_takes_a_size(timm):
    network, x = build("timm:vit_tiny", image_size=8), images_of(8)
    assert timm == [("vit_tiny", False, 10, 3, {"img_size": 8})]
    assert isinstance(network, Hooked)  # though it has forward_features and num_features
    assert network.forward_features(x).shape == (2, network.num_features) == (2, 6)
    assert torch.equal(network(x), build("timm:vit_tiny", image_size=8)(x))


def test_a_model_of_timm_that_takes_any_size(timm):
    assert build("timm:resnet50.a1_in1k", channels=1, num_classes=4, image_size=8).num_features == 6
    assert timm == [
        ("resnet50.a1_in1k", False, 4, 1, {"img_size": 8}),
        ("resnet50.a1_in1k", False, 4, 1, {}),
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet5", r"timm has no model 'resnet5'\. Nearest: resnet50, resnet18"),
        ("timm:hf-hub:somebody/model", r"timm has no model 'hf-hub:somebody/model'\. timm.list_models\(\) lists them"),
        ("timm:stubborn", "cannot create 'stubborn' for images of 8 px and 3 channels: patches do not divide"),
    ],
)
@pytest.mark.usefixtures("timm")
def test_what_timm_does_not_have_is_reported(name, message):
    with pytest.raises(NcfmError, match=message):
        build(name, image_size=8)


def test_without_timm_its_models_are_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(NcfmError, match=r"'timm:resnet18' needs the package timm; install it: pip install timm"):
        build("timm:resnet18")
