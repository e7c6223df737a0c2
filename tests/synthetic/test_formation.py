import itertools
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm.synthetic.formation import MODES, as_stored, cut, decode, decoded_ipc, edges, stitch
from oracles import cut_loop, decode_loop, tiles_of_each_image_loop
from strategies import formations, normal, properties, rng


def numbered(*shape):
    """Images each of one colour, a number of its own."""
    values = torch.arange(float(shape[0] * shape[1])).view(*shape[:2], 1, 1, 1)
    return values.expand(shape).clone()


@properties
@given(formations())
def test_decode_gives_as_many_as_promised(f):
    groups, ipc, size, factor, mode, bound = f
    decoded = decode(torch.rand(groups, ipc, 2, size, size, generator=rng()), factor, mode, bound)
    assert decoded.shape == (groups, decoded_ipc(ipc, factor, mode, bound), 2, size, size)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((10, 1), 10),
        ((10, 2), 40),  # the usual case: 10 stored, 40 trained on
        ((1, 3), 9),
        ((10, 2, "multi"), 50),  # 10 whole and 40 quarters
        ((2, 3, "multi"), 28),  # 2 (1 + 4 + 9)
        ((50, 2, "bounded", 128), 128),  # 26 cut, 24 whole: 4 * 26 + 24
        ((10, 2, "bounded", 128), 40),  # the bound does not bind
        ((3, 3, "bounded", 12), 11),  # one of 9, then no room for a second of 4
        ((5, 2, "bounded", 5), 5),
    ],
)
def test_decoded_ipc_by_hand(arguments, expected):
    assert decoded_ipc(*arguments) == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("ipc", "factor", "bound"), [(1, 1, 4), (2, 2, 5), (3, 3, 17), (3, 2, 128)])
def test_decode_equals_the_loop(mode, ipc, factor, bound):
    images = normal(0, 2, ipc, 2, 6, 6)
    decoded = decode(images, factor, mode, bound)
    for group, slow in zip(decoded, decode_loop(images, factor, mode, bound), strict=True):
        assert_close(group, torch.stack(slow), atol=1e-12, rtol=0)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])  # the last two do not divide the sides
def test_cut_equals_the_loop(factor):
    images = normal(0, 2, 3, 6, 12)  # higher than wide is seen as well as channels
    slow = [tile for image in images for tile in cut_loop(image, factor)]
    assert_close(cut(images, factor), torch.stack(slow), atol=1e-12, rtol=0)


@properties
@given(formations())
def test_every_class_decodes_its_own_images_only(f):
    groups, ipc, size, factor, mode, bound = f
    decoded = decode(numbered(groups, ipc, 1, size, size), factor, mode, bound)
    # A constant image decodes into constant tiles; bilinear weights of a third need a rounding.
    colours = decoded.mean((2, 3, 4)).round()
    assert_close(decoded, colours[..., None, None, None].expand_as(decoded), atol=1e-5, rtol=0)
    owner = colours.div(ipc, rounding_mode="floor")
    assert torch.equal(owner, torch.arange(float(groups))[:, None].expand_as(owner))
    assert all(set(row.tolist()) == set(range(g * ipc, (g + 1) * ipc)) for g, row in enumerate(colours))


@properties
@given(formations())
def test_gradients_reach_every_stored_pixel(f):
    groups, ipc, size, factor, mode, bound = f
    images = torch.rand(groups, ipc, 2, size, size, generator=rng(), requires_grad=True)
    decode(images, factor, mode, bound).sum().backward()
    assert bool((images.grad > 0).all())
    # Every decoded pixel is a mean with weights of sum 1, so the gradient counts the decoded pixels.
    total = groups * decoded_ipc(ipc, factor, mode, bound) * 2 * size**2
    assert float(images.grad.sum()) == pytest.approx(total, rel=1e-5)


def test_gradients_of_decode():
    images = normal(0, 1, 2, 1, 6, 6).requires_grad_()
    for mode in MODES:
        assert torch.autograd.gradcheck(lambda x, mode=mode: decode(x, 2, mode, 5), images)


@pytest.mark.parametrize(("factor", "atol"), [(1, 0.0), (2, 0.0), (3, 1e-6), (4, 0.0)])
def test_stitch_then_cut_of_constant_images_is_exact(factor, atol):
    # Whole numbers and weights that are powers of two round nowhere; thirds do.
    images = numbered(2 * factor**2, 1, 3, 12, 12).flatten(0, 1)
    mosaic = stitch(images, factor)
    assert mosaic.shape == (2, 3, 12, 12)
    assert_close(cut(mosaic, factor), images, atol=atol, rtol=1e-6 if atol else 0)


@pytest.mark.parametrize(("size", "factor"), [(32, 3), (28, 5), (8, 8), (7, 2)])
def test_tiles_of_any_factor_cover_each_pixel_once_and_differ_by_one(size, factor):
    at = edges(size, factor)
    assert (at[0], at[-1], len(at)) == (0, size, factor + 1)
    assert {b - a for a, b in pairwise(at)} <= {size // factor, -(-size // factor)}


def test_gradients_reach_every_pixel_of_uneven_tiles():
    images = normal(0, 1, 1, 8, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(cut(images, 3).sum(), images)
    assert float(gradient.min()) > 0


def test_uneven_tiles_are_shrunk_by_area_means():
    images = normal(0, 9, 1, 8, 8)
    mosaic = stitch(images, 3)
    assert mosaic.shape == (1, 1, 8, 8)
    # The tile in the middle has rows and columns 2 to 4: 8 pixels shrunk to 3, the means of 0-2, 2-5 and 5-7.
    spans = [slice(0, 3), slice(2, 6), slice(5, 8)]
    expected = torch.stack([torch.stack([images[4, 0, r, s].mean() for s in spans]) for r in spans])
    assert_close(mosaic[0, 0, 2:5, 2:5], expected)


def test_stitch_sets_area_means_row_by_row():
    images = torch.rand(4, 1, 4, 4, generator=rng())
    mosaic = stitch(images, 2)[0, 0]
    for i, (r, s) in enumerate(itertools.product(range(2), range(2))):
        block = images[i, 0, :2, :2].mean()  # upper left quarter of image i
        assert float(mosaic[2 * r, 2 * s]) == pytest.approx(float(block))


# ---------------------------------------------------------------- mode "bounded"


@properties
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 100))
def test_bounded_follows_the_loop_and_keeps_the_bound(ipc, factor, extra):
    bound = ipc + extra
    tiles = tiles_of_each_image_loop(ipc, factor, bound)
    count = decoded_ipc(ipc, factor, "bounded", bound)
    assert count == sum(f**2 for f in tiles)
    assert ipc <= count <= bound
    # Maximal: no stored image could be cut finer within the bound.
    assert all(f == factor or count - f**2 + (f + 1) ** 2 > bound for f in tiles)


@properties
@given(st.integers(1, 8), st.integers(0, 40))
def test_bounded_reaches_the_largest_possible_count_with_factor_2(ipc, extra):
    best = max(c for c in (ipc + 3 * cut_images for cut_images in range(ipc + 1)) if c <= ipc + extra)
    assert decoded_ipc(ipc, 2, "bounded", ipc + extra) == best


@properties
@given(formations())
def test_bounded_with_a_wide_bound_is_single(f):
    groups, ipc, size, factor, _, _ = f
    images = torch.rand(groups, ipc, 1, size, size, generator=rng())
    assert torch.equal(decode(images, factor, "bounded", ipc * factor**2), decode(images, factor, "single"))


# ---------------------------------------------------------------- errors


def test_nearest_takes_every_factor_th_pixel():
    images = torch.arange(4 * 16.0).reshape(4, 1, 4, 4)
    mosaic = stitch(images, 2, "nearest")[0, 0]
    for image, (row, column) in zip(images, [(0, 0), (0, 2), (2, 0), (2, 2)], strict=True):
        assert torch.equal(mosaic[row : row + 2, column : column + 2], image[0, ::2, ::2])


@pytest.mark.parametrize("function", [cut, stitch])
def test_more_tiles_than_pixels(function):
    with pytest.raises(NcfmError, match=r"factor must lie in 1\.\.6, the image size, got 7"):
        function(torch.zeros(49, 1, 8, 6), 7)


@pytest.mark.parametrize("mode", MODES)
def test_decode_with_more_tiles_than_pixels(mode):
    with pytest.raises(NcfmError, match=r"factor must lie in 1\.\.8"):
        decode(torch.zeros(2, 1, 1, 8, 8), 9, mode, 1000)


def test_unknown_mode_names_the_nearest():
    with pytest.raises(NcfmError, match=r"formation mode 'boundd'\. Did you mean 'bounded'\?"):
        decode(torch.zeros(2, 1, 1, 8, 8), 2, "boundd")


def test_no_tiles():
    with pytest.raises(NcfmError, match="factor must be at least 1, got 0"):
        decode(torch.zeros(2, 1, 1, 8, 8), 0)


def test_bound_below_the_stored_images():
    with pytest.raises(NcfmError, match="bound must be at least 5, got 4"):
        decoded_ipc(5, 2, "bounded", 4)


def test_stored_and_cut_out_again():
    x = torch.rand(3, 2, 12, 18, generator=rng(5))
    for factor in (1, 2, 3):
        alone = torch.stack([cut(stitch(image.expand(factor**2, -1, -1, -1), factor), factor)[0] for image in x])
        assert torch.allclose(as_stored(x, factor), alone, atol=1e-6)
