"""Own CPU kernels: equal to PyTorch's operators in value and gradient, and never in the way where they cannot serve."""

from __future__ import annotations

import subprocess

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from blocks import (
    SHAPES,
    assert_near,
    assert_same_bits_for_any_number_of_threads,
    assert_within_the_rounding_of_bfloat16,
    problem,
    reference_block,
    reference_convolution,
    values_and_gradients,
)
from ncfm import kernels
from ncfm._utils.files import cache_dir
from ncfm._utils.seeding import generator
from ncfm.kernels import library, ops
from ncfm.networks import create_network
from ncfm.networks.convolution import Convolution

needs_kernels = pytest.mark.usefixtures("compiled")  # asks when a test begins: nothing is compiled to collect them


@pytest.fixture(scope="session")
def compiled(built_kernels):
    if not kernels.available():
        pytest.skip("no C++ compiler here")


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
def test_convolution_is_the_definition_in_value_and_gradient(shape):
    tensors = problem(*shape)[:3]
    found = values_and_gradients(kernels.convolve3x3, tensors, torch.float32)
    assert_near(found, values_and_gradients(reference_convolution, tensors, torch.float64), 2e-5)


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
def test_block_is_its_four_layers_in_value_and_gradient(shape):
    tensors = problem(*shape)
    found = values_and_gradients(kernels.block, tensors, torch.float32)
    expected = values_and_gradients(reference_block, tensors, torch.float64)
    bias = 3
    assert torch.equal(found[bias], torch.zeros_like(found[bias]))  # the norm takes a bias away: exactly, here
    assert expected.pop(bias).norm() < 1e-9
    del found[bias]
    # A rectifier input within rounding of 0 may fall on either side, which moves single gradients by their size.
    assert_near(found, expected, 2e-3)
    assert_near(found[:1], expected[:1], 2e-5)


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_is_its_images_one_by_one(shape):
    tensors = problem(*shape)
    out, dx, *gradients = values_and_gradients(kernels.block, tensors, torch.float32)
    upstream = torch.randn(out.shape, generator=generator(1, "upstream"), dtype=torch.float64).float()
    totals = [torch.zeros_like(g) for g in gradients]
    for i in range(shape[0]):
        leaves = [t.clone().requires_grad_() for t in (tensors[0][i : i + 1], *tensors[1:])]
        alone = kernels.block(*leaves)
        own, *others = torch.autograd.grad(alone, leaves, upstream[i : i + 1])
        assert torch.equal(alone[0], out[i])
        assert torch.equal(own[0], dx[i])
        totals = [total + other for total, other in zip(totals, others, strict=True)]
    for a, b in zip(totals, gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max() + 1e-6))


@needs_kernels
@pytest.mark.parametrize("frozen", ["images", "weights"])
def test_only_the_gradients_that_are_asked_for(frozen):
    x, *parameters = problem(4, 8, 8, 16, 8)
    expected = values_and_gradients(kernels.block, [x, *parameters], torch.float32)[1:]
    leaves = parameters if frozen == "images" else [x]
    for leaf in leaves:
        leaf.requires_grad_()
    out = kernels.block(x, *parameters)
    upstream = torch.randn(out.shape, generator=generator(1, "upstream"), dtype=torch.float64).float()
    found = torch.autograd.grad(out, leaves, upstream)
    for a, b in zip(found, expected[1:] if frozen == "images" else expected[:1], strict=True):
        assert torch.equal(a, b)


@needs_kernels
@given(
    n=st.integers(1, 3),
    h=st.integers(4, 13),
    w=st.integers(4, 13),
    c=st.sampled_from([1, 2, 3, 8, 16, 24]),
    k=st.sampled_from([8, 16, 40]),
)
def test_any_size_is_the_definition(n, h, w, c, k):
    tensors = problem(n, h, w, c, k)[:3]
    found = values_and_gradients(kernels.convolve3x3, tensors, torch.float32)
    assert_near(found, values_and_gradients(reference_convolution, tensors, torch.float64), 2e-5)


@needs_kernels
@pytest.mark.parametrize(("c", "k"), [(3, 8), (2, 40), (16, 8), (24, 40)])
def test_a_filter_of_one_tap_moves_a_channel(c, k):
    x = torch.randn(2, 6, 9, c, generator=generator(0, "move", c))
    border = F.pad(x, (0, 0, 1, 1, 1, 1))
    for i, j, source, target in [(0, 0, 0, 0), (1, 2, c - 1, k - 1), (2, 1, c // 2, k // 2), (1, 1, 0, k - 1)]:
        weight = torch.zeros(k, c, 3, 3)
        weight[target, source, i, j] = 1
        expected = torch.zeros(2, 6, 9, k)
        expected[..., target] = border[:, i : i + 6, j : j + 9, source]
        torch.testing.assert_close(kernels.convolve3x3(x, weight), expected, rtol=0, atol=5e-6)


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradients_of_the_convolution_are_its_transposes(shape):
    x, weight = problem(*shape)[:2]
    g = torch.randn(*shape[:3], shape[4], generator=generator(1, "transposes"))
    product = (ops._Convolve.apply(x, weight).double() * g).sum()
    torch.testing.assert_close((ops._ToInput.apply(g, weight).double() * x).sum(), product, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close((ops._ToWeight.apply(x, g).double() * weight).sum(), product, rtol=1e-5, atol=1e-4)


@needs_kernels
def test_a_constant_image_stays_constant_under_a_mean_filter():
    # Away from the border: 9 taps of 1/9 over 8 channels of value 2 make 16.
    x = torch.full((1, 12, 12, 8), 2.0)
    out = kernels.convolve3x3(x, torch.full((8, 8, 3, 3), 1 / 9), torch.zeros(8))
    torch.testing.assert_close(out[:, 1:-1, 1:-1], torch.full((1, 10, 10, 8), 16.0))
    torch.testing.assert_close(out[0, 0, 0], torch.full((8,), 16 * 4 / 9))  # a corner sees 4 of 9


@needs_kernels
@pytest.mark.parametrize("c", [3, 16])
def test_large_offsets_do_not_cancel_in_the_variance(c):
    x, weight, bias, gamma, beta = problem(2, 8, 8, c, 8)
    expected = reference_block(*(t.double() for t in (x + 50, weight, bias, gamma, beta)))
    assert_near([kernels.block(x + 50, weight, bias, gamma, beta)], [expected], 1e-3)


@needs_kernels
@pytest.mark.parametrize("c", [3, 16])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(c, value):
    x, *parameters = problem(2, 8, 8, c, 8)
    x[0, 3, 3, 0] = value
    out = kernels.block(x, *parameters)
    assert not out[0].isfinite().any()
    assert out[1].isfinite().all()


@needs_kernels
def test_same_bits_twice():
    tensors = problem(6, 16, 16, 16, 24)
    first = values_and_gradients(kernels.block, tensors, torch.float32)
    again = values_and_gradients(kernels.block, tensors, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@needs_kernels
@pytest.mark.parametrize("shape", [(7, 16, 16, 3, 24), (37, 16, 16, 16, 24), (67, 4, 4, 24, 16), (3, 9, 13, 40, 8)])
def test_the_same_bits_for_any_number_of_threads(shape):
    assert_same_bits_for_any_number_of_threads(shape)


@pytest.fixture
def in_bfloat16():
    if not kernels.multiplies_in(torch.bfloat16):
        pytest.skip("no products of bfloat16 numbers here")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield


@pytest.mark.parametrize("shape", [*SHAPES, (5, 6, 6, 16, 40)])
def test_bfloat16_products_are_within_their_rounding(shape, in_bfloat16):
    assert_within_the_rounding_of_bfloat16(shape)


@pytest.mark.parametrize("shape", [(8, 16, 16, 128, 128), (8, 32, 32, 3, 128)])
def test_bfloat16_errs_at_most_three_times_as_much_as_direct_convolution(shape, in_bfloat16):
    tensors = problem(*shape)
    expected = values_and_gradients(reference_block, tensors, torch.float64)
    direct = values_and_gradients(reference_block, tensors, torch.float32)  # in the autocast
    found = values_and_gradients(kernels.block, tensors, torch.float32)
    for i, (a, b, c) in enumerate(zip(found, direct, expected, strict=True)):
        assert i == 3 or (a.double() - c).norm() < 3 * (b.double() - c).norm()


@pytest.mark.parametrize("shape", [(7, 16, 16, 3, 24), (37, 16, 16, 16, 24), (67, 4, 4, 24, 16), (3, 9, 13, 40, 8)])
def test_bfloat16_gives_the_same_bits_for_any_number_of_threads(shape, in_bfloat16):
    assert_same_bits_for_any_number_of_threads(shape)


@needs_kernels
def test_any_memory_layout_gives_the_same():
    x, *parameters = problem(2, 8, 8, 16, 8)
    strided = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)  # channels first in memory
    assert not strided.is_contiguous()
    assert torch.equal(kernels.block(strided, *parameters), kernels.block(x, *parameters))


@needs_kernels
def test_where_they_serve():
    x = torch.zeros(2, 16, 8, 8)
    assert kernels.usable(x, 8)
    assert kernels.usable(torch.zeros(2, 3, 8, 8), 8)
    assert not kernels.usable(x, 12)  # a width that does not fill the registers
    assert not kernels.usable(torch.zeros(2, 12, 8, 8), 8)
    assert not kernels.usable(x.double(), 8)
    assert not kernels.usable(x[..., :3], 8)  # smaller than a tile
    assert not kernels.usable(torch.zeros(2, 16, 8, 8, device="meta"), 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not kernels.usable(x, 8)
        assert kernels.block_usable(x, 8) == kernels.multiplies_in(torch.bfloat16)
    assert kernels.multiplies_in(torch.float32)
    assert not kernels.multiplies_in(torch.float16)
    assert kernels.block_usable(x, 8)
    with kernels.differentiated_twice():
        assert kernels.usable(x, 8)
        assert not kernels.block_usable(x, 8)
    with kernels.switched_off():
        assert not kernels.usable(x, 8)
        assert not kernels.block_usable(x, 8)
    kernels.enable(False)
    assert not kernels.usable(x, 8)
    assert not kernels.available()
    kernels.enable(True)
    assert kernels.usable(x, 8)
    inside = []
    torch.func.vmap(lambda image: inside.append(kernels.usable(image[None], 8)) or image)(x)
    assert inside == [False]


@needs_kernels
@pytest.mark.parametrize(
    ("norm", "channels"), [*((norm, 3) for norm in ("instance", "batch", "group", "layer", "none")), ("instance", 4)]
)
def test_a_network_is_the_same_with_and_without(norm, channels, monkeypatch):
    network = create_network(f"convnet2w16-{norm}", channels=channels, num_classes=5, image_size=16, seed=0)
    x = torch.randn(6, channels, 16, 16, generator=generator(0, "images"))

    def outcome():
        network.zero_grad()
        logits = network(x)
        logits.square().sum().backward()
        biases = {id(network.blocks[0].bias), id(network.blocks[4].bias)}  # rounding only, under a norm
        return [logits.detach(), *(p.grad.clone() for p in network.parameters() if id(p) not in biases)]

    fast = outcome()
    monkeypatch.setattr(library, "load", lambda: None)
    for a, b in zip(fast, outcome(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


@needs_kernels
@pytest.mark.parametrize("name", ["resnet10w8", "resnet10w8-batch", "resnet10w8-none", "vgg11w8", "alexnetw16"])
def test_other_networks_use_the_convolution_and_are_the_same_in_double(name, monkeypatch):
    network = create_network(name, channels=3, num_classes=5, image_size=32, seed=0)
    x = torch.randn(4, 3, 32, 32, generator=generator(0, "images"))
    calls = []
    convolve = kernels.convolve3x3
    monkeypatch.setattr(kernels, "convolve3x3", lambda *tensors: calls.append(1) or convolve(*tensors))

    def outcome(network, x):
        x = x.clone().requires_grad_()
        logits = network(x)
        weights = [p for p in network.parameters() if p.ndim > 1]
        return [logits.detach(), *torch.autograd.grad(logits.square().sum(), [x, *weights])]

    found = outcome(network, x)
    assert calls
    calls.clear()
    expected = outcome(network.double(), x.double())
    assert not calls
    assert_near(found, expected, 2e-3)


@pytest.mark.parametrize("change", [{"stride": 2}, {"padding": 0}, {"dilation": 2}, {"groups": 8}, {"kernel_size": 1}])
def test_another_convolution_than_3x3_is_pytorchs(change, monkeypatch):
    monkeypatch.setattr(kernels, "convolve3x3", None)  # to call it would be an error
    options = {"kernel_size": 3, "padding": 1, "bias": False} | change
    layer, reference = Convolution(8, 8, **options), nn.Conv2d(8, 8, **options)
    reference.load_state_dict(layer.state_dict())
    x = torch.randn(2, 8, 8, 8, generator=generator(0, "images"))
    assert torch.equal(layer(x), reference(x))


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
def test_second_derivatives_of_the_convolution_are_those_of_the_definition(shape):
    *tensors, bias = problem(*shape)[:3]
    draw = generator(2, "directions")
    directions = [torch.randn(t.shape, generator=draw) for t in tensors]
    upstream = torch.randn(*shape[:3], shape[4], generator=draw)

    def twice(function, dtype):
        leaves = [t.to(dtype).requires_grad_() for t in tensors]
        g = upstream.to(dtype).requires_grad_()
        first = torch.autograd.grad(function(*leaves, bias.to(dtype)), leaves, g, create_graph=True)
        product = sum((a * d.to(dtype)).sum() for a, d in zip(first, directions, strict=True))
        return torch.autograd.grad(product, [*leaves, g])

    assert_near(twice(kernels.convolve3x3, torch.float32), twice(reference_convolution, torch.float64), 2e-5)


@needs_kernels
def test_gradients_through_steps_use_the_convolution_and_agree(monkeypatch):
    """A student's step: the gradient of a product with the gradient in the weights, through a whole ConvNet."""
    network = create_network("convnet2w16", channels=3, num_classes=5, image_size=16, seed=0)
    x = torch.randn(6, 3, 16, 16, generator=generator(0, "images"))
    weights = [p for p in network.parameters() if p.ndim > 1]

    def second(network, x):
        x = x.clone().requires_grad_()
        weights = [p for p in network.parameters() if p.ndim > 1]
        gradients = torch.autograd.grad(F.cross_entropy(network(x), torch.arange(6) % 5), weights, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in gradients), [x, *weights])

    calls, convolve = [], kernels.convolve3x3
    monkeypatch.setattr(kernels, "convolve3x3", lambda *tensors: calls.append(1) or convolve(*tensors))
    monkeypatch.setattr(kernels, "block", None)  # to call it would be an error
    with kernels.differentiated_twice():
        found = second(network, x)
    assert len(calls) == 2
    assert len(found) == 1 + len(weights)
    assert_near(found, second(network.double(), x.double()), 5e-3)


def test_the_second_derivative_is_refused_not_wrong():
    if not kernels.available():
        pytest.skip("no C++ compiler here")
    x, *parameters = problem(1, 8, 8, 8, 8)
    (gradient,) = torch.autograd.grad(
        kernels.block(x.requires_grad_(), *parameters).square().sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.fixture
def anew(monkeypatch):
    """`load` as in a new process."""
    monkeypatch.delenv("NCFM_KERNELS", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    library.load.cache_clear()
    yield library.load
    library.load.cache_clear()


@pytest.fixture
def quickly_built(anew, monkeypatch, tmp_path):
    """An empty cache, and a compiler that does not optimise."""
    monkeypatch.setenv("NCFM_CACHE", str(tmp_path))
    monkeypatch.setattr(library, "FLAGS", tuple("-O0" if flag == "-O3" else flag for flag in library.FLAGS))
    return anew


@needs_kernels
def test_built_once_and_found_again(quickly_built, monkeypatch):
    anew = quickly_built
    assert anew() is not None
    (built,) = (cache_dir() / "kernels").iterdir()
    monkeypatch.setattr(library, "_compile", lambda *_: pytest.fail("built twice"))
    library.load.cache_clear()
    assert anew() is not None
    assert [built] == list((cache_dir() / "kernels").iterdir())


@needs_kernels
def test_another_source_or_processor_is_built_again(quickly_built, monkeypatch):
    anew = quickly_built
    anew()
    monkeypatch.setattr(library, "_processor", lambda: "another")
    library.load.cache_clear()
    anew()
    assert len(list((cache_dir() / "kernels").iterdir())) == 2


@pytest.mark.parametrize("value", ["off", "OFF", "0", "no"])
def test_switched_off_by_the_environment(anew, monkeypatch, value, capsys):
    monkeypatch.setenv("NCFM_KERNELS", value)
    assert anew() is None
    assert capsys.readouterr().err == ""


def test_without_a_compiler_the_user_is_reported_once(anew, monkeypatch, capsys):
    monkeypatch.setattr(library, "cpp_compiler", lambda: None)
    monkeypatch.setattr(library.sys, "platform", "linux")
    assert anew() is None
    assert anew() is None
    assert capsys.readouterr().err.count("no C++ compiler found") == 1


def test_a_failing_compiler_is_survived(anew, monkeypatch, capsys):
    def fail(*_, **__):
        raise subprocess.CalledProcessError(1, "g++", stderr="internal error")

    monkeypatch.setattr(library, "cpp_compiler", lambda: ["g++"])
    monkeypatch.setattr(library.subprocess, "run", fail)
    monkeypatch.setattr(library.sys, "platform", "linux")
    assert anew() is None
    assert "internal error" in capsys.readouterr().err
    assert not kernels.available()


def test_a_cache_that_cannot_be_written_is_survived(anew, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NCFM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(library, "cpp_compiler", lambda: ["true"])
    monkeypatch.setattr(library.sys, "platform", "linux")
    assert anew() is None
    assert "could not be built" in capsys.readouterr().err


def test_other_systems_run_without(anew, monkeypatch):
    monkeypatch.setattr(library.sys, "platform", "darwin")
    assert anew() is None
