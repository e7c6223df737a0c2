import math

import pytest
import torch
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm.data.augment import (
    BRIGHTNESS,
    CONTRAST,
    CROP,
    OPERATIONS,
    ROTATE,
    SATURATION,
    SCALE,
    AugmentParameters,
    SiameseAugment,
)
from oracles import shift_loop
from strategies import rng

ALL = "_".join(OPERATIONS)
STRATEGIES = [*OPERATIONS, "color_crop", ALL, f"dsa:{ALL}"]
# Coordinates are rounded to about 1e-6 of a pixel, so a resampled value takes that share from its neighbour.
RESAMPLED = 5e-5
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def pictures(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed))


def augmented(strategy, images, seed=1):
    augment = SiameseAugment(strategy)
    return augment.apply(images, augment.draw(len(images), images.shape[-1], rng(seed)))


def without(name):
    return "_".join(o for o in OPERATIONS if o != name)


def draws(strategy, groups=6, size=32, seed=1):
    return SiameseAugment(strategy).draw(groups, size, rng(seed))


# ---------------------------------------------------------------- every strategy


@every_strategy
def test_both_halves_of_a_class_see_one_augmentation(strategy):
    # The same image lies in the real half (n = 5) at 3 and in the synthetic half (m = 2) at 0.
    augment = SiameseAugment(strategy)
    parameters = augment.draw(3, 16, rng(1))
    real, synthetic = pictures(3, 5, 3, 16, 16), pictures(3, 2, 3, 16, 16, seed=5)
    synthetic[:, 0] = real[:, 3]
    real, synthetic = augment.apply(real, parameters), augment.apply(synthetic, parameters)
    assert torch.equal(synthetic[:, 0], real[:, 3])


@every_strategy
def test_groups_differ(strategy):
    same = pictures(1, 1, 3, 32, 32).expand(8, 1, 3, 32, 32)
    result = augmented(strategy, same)
    # Eight draws of their own, of which chance may repeat some: a flip has 2 outcomes, a crop has 81.
    assert len(result.flatten(1).unique(dim=0)) >= (2 if strategy == "flip" else 7)


@every_strategy
def test_same_generator_state_gives_the_same_bits(strategy):
    images = pictures(4, 2, 3, 16, 16)
    assert torch.equal(augmented(strategy, images, seed=3), augmented(strategy, images, seed=3))
    assert not torch.equal(augmented(strategy, images, seed=3), augmented(strategy, images, seed=4))


@every_strategy
def test_shape_and_type_stay(strategy):
    for dtype in (torch.float32, torch.float64):
        images = pictures(2, 3, 1, 16, 16).to(dtype)
        result = augmented(strategy, images)
        assert result.shape == images.shape
        assert result.dtype == dtype


@every_strategy
def test_gradients_flow(strategy):
    augment = SiameseAugment(strategy)
    parameters = augment.draw(2, 6, rng(1))
    images = pictures(2, 1, 2, 6, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment.apply(x, parameters), images)


@every_strategy
def test_each_image_of_a_batch_has_a_draw_of_its_own(strategy):
    augment, images = SiameseAugment(strategy), pictures(5, 3, 16, 16)
    one_group_each = augmented(strategy, images[:, None], seed=2)[:, 0]
    assert torch.equal(augment.apply_each(images, rng(2)), one_group_each)


@pytest.mark.parametrize("strategy", ["none", ""])
def test_none_changes_nothing(strategy):
    images = pictures(2, 3, 3, 16, 16)
    assert torch.equal(augmented(strategy, images), images)
    assert torch.equal(SiameseAugment(strategy).apply_each(images[0], rng()), images[0])


def test_input_is_left_as_it_was():
    images = pictures(2, 3, 3, 16, 16)
    copy = images.clone()
    augmented(ALL, images)
    assert torch.equal(images, copy)


# ---------------------------------------------------------------- draws


@pytest.mark.parametrize("off", OPERATIONS)
def test_switching_one_operation_off_leaves_the_other_draws(off):
    whole, part = draws(ALL), draws(without(off))
    for name in ("brightness", "saturation", "contrast"):
        assert torch.equal(getattr(whole, name), getattr(part, name)) == (off != "color")
    assert torch.equal(whole.cutout, part.cutout) == (off != "cutout")
    assert torch.equal(whole.affine[..., 2], part.affine[..., 2]) == (off != "crop")
    linear = off in ("flip", "scale", "rotate")
    assert torch.equal(whole.affine[..., :2], part.affine[..., :2]) == (not linear)


def test_the_affine_map_is_made_of_the_single_draws():
    linear = {name: draws(name).affine[..., :2] for name in ("flip", "scale", "rotate")}
    composed = linear["flip"] @ linear["scale"] @ linear["rotate"]
    assert_close(draws(ALL).affine[..., :2], composed)
    assert_close(draws(without("flip")).affine[..., :2], linear["scale"] @ linear["rotate"])
    assert torch.equal(draws(ALL).affine[..., 2], draws("crop").affine[..., 2])


@pytest.mark.parametrize("strategy", ["none", *STRATEGIES])
def test_every_strategy_takes_as_many_numbers(strategy):
    reference, generator = rng(1), rng(1)
    SiameseAugment(ALL).draw(6, 32, reference)
    SiameseAugment(strategy).draw(6, 32, generator)
    assert torch.equal(generator.get_state(), reference.get_state())


def test_operations_that_are_off_are_the_identity():
    p = draws("none", groups=2)
    assert torch.equal(p.affine, torch.eye(2, 3).expand(2, 2, 3))
    assert p.brightness.tolist() == [0, 0]
    assert p.saturation.tolist() == p.contrast.tolist() == [1, 1]
    assert p.cutout.tolist() == [[-1, -1]] * 2


def test_ranges_are_kept_and_filled():
    p = draws(ALL, groups=20_000)
    shift = draws("crop", groups=20_000).affine[..., 2] * 32 / 2  # half sides to pixels
    zoom = draws("scale", groups=20_000).affine
    rotation = draws("rotate", groups=20_000).affine
    angle = torch.rad2deg(torch.atan2(rotation[:, 1, 0], rotation[:, 0, 0]))
    for values, low, high in [
        (p.brightness, -BRIGHTNESS / 2, BRIGHTNESS / 2),
        (p.saturation, 0, SATURATION),
        (p.contrast, 1 - CONTRAST, 1 + CONTRAST),
        (shift[:, 0], -CROP * 32, CROP * 32),
        (shift[:, 1], -CROP * 32, CROP * 32),
        (zoom[:, 0, 0], 1 / SCALE, SCALE),
        (zoom[:, 1, 1], 1 / SCALE, SCALE),
        (angle, -ROTATE, ROTATE),
        (p.cutout[:, 0], 0, 32),
        (p.cutout[:, 1], 0, 32),
    ]:
        # 20,000 uniform numbers come within a thousandth of their range to both of its ends.
        assert float(values.min()) == pytest.approx(low, abs=1e-3 * (high - low))
        assert float(values.max()) == pytest.approx(high, abs=1e-3 * (high - low))
    # Both axes have a draw of their own.
    for pair in (shift, zoom[:, [0, 1], [0, 1]], p.cutout):
        assert abs(float(torch.corrcoef(pair.T)[0, 1])) < 0.05


# ---------------------------------------------------------------- alternatives and the published distributions

ONE_OF_SIX = "|".join(OPERATIONS)


def test_of_alternatives_one_is_drawn_for_all_groups_and_each_as_often():
    augment, generator = SiameseAugment(f"dsa:{ONE_OF_SIX}"), rng(3)
    found = [augment.draw(2, 32, generator).operations for _ in range(1200)]
    assert {len(one) for one in found} == {1}
    for name in OPERATIONS:  # binomial(1200, 1/6): 200 +- 13, so 60 are almost five standard deviations
        assert abs(found.count(frozenset({name})) - 200) < 60


@pytest.mark.parametrize("prefix", ["", "dsa:"])
def test_a_drawn_alternative_is_that_operation_alone(prefix):
    images, augment = pictures(3, 2, 3, 16, 16), SiameseAugment(f"{prefix}{ONE_OF_SIX}")
    seen = set()
    for seed in range(40):
        (name,) = augment.draw(3, 16, rng(seed)).operations
        alone = SiameseAugment(prefix + name)
        assert torch.equal(
            augment.apply(images, augment.draw(3, 16, rng(seed))), alone.apply(images, alone.draw(3, 16, rng(seed)))
        )
        seen.add(name)
    assert seen == set(OPERATIONS)


def test_groups_can_draw_alternatives_of_their_own():
    augment, generator = SiameseAugment("dsa:flip_crop|scale|rotate"), rng(3)
    draw = augment.draw(3000, 32, generator, choose_each=True)
    shifted = (draw.affine[:, :, 2] != 0).any(1)
    rotated = draw.affine[:, 0, 1] != 0
    zoomed = ~rotated & ((draw.affine[:, 0, 0].abs() - 1).abs() > 1e-6)
    assert int((shifted.int() + rotated.int() + zoomed.int()).max()) == 1  # one at most; a shift can be of 0 pixels
    for name, one in (("crop", shifted), ("scale", zoomed), ("rotate", rotated)):  # 1000 +- 26, of crops 80 of 81
        assert abs(int(one.sum()) - 1000) < 130, name
    assert (draw.affine[:, 0, 0] < 0).any()  # and some are mirrored
    assert draw.operations == {"flip", "crop", "scale", "rotate"}


def test_a_groups_own_alternative_is_that_operation_alone():
    images, augment = pictures(40, 1, 3, 16, 16), SiameseAugment("color|cutout|flip")
    draw = augment.draw(40, 16, rng(0), choose_each=True)
    found = augment.apply(images, draw)
    for index in range(40):
        own = draw.of(slice(index, index + 1))
        name = "cutout" if float(own.cutout[0, 0]) >= 0 else "color" if float(own.contrast) != 1 else "flip"
        alone = AugmentParameters(
            frozenset({name}), own.brightness, own.saturation, own.contrast, own.affine, own.cutout
        )
        expected = augment.apply(images[index : index + 1], alone)
        torch.testing.assert_close(found[index : index + 1], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strategy", ["color_crop_cutout_flip_scale_rotate", "dsa:color_crop_cutout", "none"])
def test_without_alternatives_each_group_draws_as_ever(strategy):
    draws = [SiameseAugment(strategy).draw(5, 32, rng(1), choose_each=each) for each in (False, True)]
    for name in ("brightness", "saturation", "contrast", "affine", "cutout"):
        assert torch.equal(getattr(draws[0], name), getattr(draws[1], name))
    assert draws[0].operations == draws[1].operations


def test_what_has_no_alternative_is_always_drawn():
    augment, generator = SiameseAugment("color_flip_crop|scale|rotate"), rng(0)
    found = {augment.draw(1, 32, generator).operations for _ in range(60)}
    assert found == {frozenset({"color", "flip", name}) for name in ("crop", "scale", "rotate")}


def test_draws_of_other_operations_are_joined():
    images, augment = pictures(2, 1, 3, 16, 16), SiameseAugment("color|flip")
    seeds = {next(iter(augment.draw(1, 16, rng(seed)).operations)): seed for seed in range(20)}
    draws = [augment.draw(1, 16, rng(seed)) for seed in seeds.values()]
    joined = augment.apply(images, AugmentParameters.cat(draws))
    each = torch.cat([augment.apply(images[i : i + 1], draw) for i, draw in enumerate(draws)])
    assert_close(joined, each, atol=RESAMPLED, rtol=RESAMPLED)


def test_published_shifts_are_uniform_over_whole_pixels():
    p = draws("dsa:crop", groups=9000)
    shifts = (p.affine[..., 2] * 16).round()
    assert_close(shifts, p.affine[..., 2] * 16)
    values, counts = shifts.unique(return_counts=True)
    assert values.tolist() == list(range(-4, 5))
    assert ((counts - 2000).abs() < 200).all()  # binomial(18000, 1/9): 2000 +- 42
    rounded = (draws("crop", groups=9000).affine[..., 2] * 16).round().abs()
    assert abs(int((rounded == 4).sum()) - 18000 / 8) < 200  # half as many on each side


def test_published_zooms_are_uniform():
    zoom = draws("dsa:scale", groups=20_000).affine[:, [0, 1], [0, 1]]
    uniform = (zoom - 1 / SCALE) / (SCALE - 1 / SCALE)
    for quantile in (0.1, 0.25, 0.5, 0.9):
        assert float((uniform < quantile).double().mean()) == pytest.approx(quantile, abs=0.01)


# ---------------------------------------------------------------- each operation by hand


def test_flip_mirrors_or_does_nothing():
    images = pictures(64, 2, 3, 16, 16)
    result = augmented("flip", images)
    flipped = [torch.allclose(r, i.flip(-1), atol=RESAMPLED) for r, i in zip(result, images, strict=True)]
    kept = [torch.allclose(r, i, atol=RESAMPLED) for r, i in zip(result, images, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 16 < sum(flipped) < 48  # half of 64, four standard deviations wide


def test_crop_shifts_by_whole_pixels_and_fills_with_zeros():
    images = pictures(16, 1, 2, 16, 16) + 5  # no pixel is 0
    result = augmented("crop", images)
    pixels = draws("crop", groups=16, size=16).affine[..., 2] * 16 / 2
    assert torch.equal(pixels, pixels.round())
    assert float(pixels.abs().max()) == CROP * 16
    for before, after, (right, down) in zip(images, result, pixels.int().tolist(), strict=True):
        expected = shift_loop(before, down, right)
        assert_close(after, expected, atol=RESAMPLED, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_color_by_hand(channels):
    images = pictures(3, 2, channels, 8, 8).double()
    p = draws("color", groups=3, size=8)
    result = augmented("color", images)
    for g in range(3):
        for i in range(2):
            x = images[g, i] + p.brightness[g]
            x = x.mean(0) + p.saturation[g] * (x - x.mean(0))
            x = x.mean() + p.contrast[g] * (x - x.mean())
            assert_close(result[g, i], x)


@pytest.mark.parametrize("size", [16, 32])
def test_cutout_removes_a_square_of_half_the_side(size):
    mask = augmented("cutout", torch.ones(200, 2, 3, size, size))
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(mask, mask[:, :1, :1].expand_as(mask))  # one hole for all images and channels
    hole = mask[:, 0, 0] == 0
    centres = draws("cutout", groups=200, size=size).cutout
    inner = ((centres >= size // 4) & (centres <= size - size // 4)).all(-1)
    assert 20 < int(inner.sum()) < 100  # a quarter of 200 lies away from the border
    assert hole[inner].sum((1, 2)).tolist() == [(size // 2) ** 2] * int(inner.sum())
    for row, column in [(-1, -2), (-2, -1)]:  # rectangles: each row of the hole has the same columns
        sides = hole.any(row).sum(-1), hole.any(column).sum(-1)
        assert torch.equal(hole.sum((1, 2)), sides[0] * sides[1])


def test_cutout_lies_where_it_is_drawn():
    centre = torch.tensor([[8.0, 4.0]])  # row, column
    one = torch.ones(1)
    p = AugmentParameters(frozenset({"cutout"}), 0 * one, one, one, torch.eye(2, 3)[None], centre)
    mask = SiameseAugment("cutout").apply(torch.ones(1, 1, 1, 16, 16), p)[0, 0, 0]
    expected = torch.ones(16, 16)
    expected[4:12, 0:8] = 0
    assert torch.equal(mask, expected)


@pytest.mark.parametrize("strategy", ["scale", "rotate", "crop_flip_scale_rotate"])
def test_warp_of_a_ramp_is_the_affine_map(strategy):
    # Bilinear sampling reproduces a linear picture, so the two channels (x, y), in half sides, come out as
    # the source coordinates of every pixel, wherever these lie between pixel centres.
    size, groups = 16, 5
    at = (2 * torch.arange(size).double() + 1) / size - 1
    x, y = at.expand(size, size), at[:, None].expand(size, size)
    ramp = torch.stack([x, y]).expand(groups, 1, 2, size, size)
    places = torch.stack([x, y, torch.ones_like(x)]).flatten(1)  # (3, h * w)
    source = draws(strategy, groups, size).affine.double() @ places
    source = source.unflatten(-1, (size, size))  # (G, 2, h, w)
    inside = (source.abs() <= 1 - 1 / size).all(1)
    result = augmented(strategy, ramp)[:, 0]
    assert float(inside.double().mean()) > 0.5
    assert_close(result.movedim(1, -1)[inside], source.movedim(1, -1)[inside], atol=1e-6, rtol=0)


def test_scale_and_rotation_by_their_definition():
    zoom, rotation = draws("scale").affine, draws("rotate").affine
    assert torch.equal(zoom[:, 0, 1], torch.zeros(6))
    assert torch.equal(zoom[:, 1, 0], torch.zeros(6))
    assert_close(rotation[..., :2] @ rotation[..., :2].mT, torch.eye(2).expand(6, 2, 2))
    assert_close(torch.linalg.det(rotation[..., :2]), torch.ones(6))


def test_what_comes_from_outside_is_zero():
    augment = SiameseAugment("scale")
    p = augment.draw(1, 16, rng(1))
    p.affine[:] = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])  # the image at half size
    result = augment.apply(torch.ones(1, 1, 1, 16, 16), p)[0, 0, 0]
    expected = torch.zeros(16, 16)
    expected[4:12, 4:12] = 1
    assert torch.equal(result, expected)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(("name", "near"), [("colour", "color"), ("flp", "flip"), ("rotat", "rotate")])
def test_unknown_operation_names_the_nearest(name, near):
    with pytest.raises(NcfmError, match=rf"Unknown augmentation '{name}'\. Did you mean '{near}'\? Known: color"):
        SiameseAugment(f"crop_{name}")


@pytest.mark.parametrize("shape", [(3, 1, 1, 8, 8), (2, 1, 8, 8)])
def test_images_that_do_not_fit_the_draw(shape):
    augment = SiameseAugment("flip")
    with pytest.raises(NcfmError, match=r"with G = 2 as drawn, got \("):
        augment.apply(torch.zeros(shape), augment.draw(2, 8, rng()))


def test_parameters_move_to_a_device():
    p = draws(ALL)
    moved = p.to(torch.device("meta"))
    assert moved.affine.device.type == moved.cutout.device.type == "meta"
    assert math.prod(moved.affine.shape) == 6 * 2 * 3
