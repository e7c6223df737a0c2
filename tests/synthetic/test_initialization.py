"""The start of the images: noise, real images, mosaics, and the images of an earlier set."""

import pytest
import torch
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm._utils.types import Statistics
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.levels import to_float
from ncfm.synthetic.formation import cut
from ncfm.synthetic.initialization import INITS, choose_random, extended, start_images
from ncfm.synthetic.synthetic_set import SyntheticSet
from sets import NAMES
from strategies import rng


def real_set(per_class=(20, 20, 20), size=8):
    """Each image of one colour: class c holds the levels 80 c, 80 c + 1, ... in the order of the file."""
    levels = torch.cat([80 * c + torch.arange(n) for c, n in enumerate(per_class)]).to(torch.uint8)
    labels = torch.arange(3).repeat_interleave(torch.tensor(per_class))
    images = levels[:, None, None, None].expand(-1, 3, size, size).contiguous()
    return ImageSet("levels", ImageSplit.of(images, labels, 3), None, NAMES)


def levels(images):
    """The level of every image of one colour (to rounding: enlarging takes means of equal numbers)."""
    value = images.amax((-3, -2, -1))
    assert_close(value, images.amin((-3, -2, -1)), atol=1e-6, rtol=0)
    return value.mul(255).round().long()


# ---------------------------------------------------------------- the start


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("factor", [1, 2])
def test_start_shape_range_and_repeatability(init, factor):
    first, same, other = (
        start_images(real_set(), ipc=3, factor=factor, init=init, generator=rng(s)) for s in (1, 1, 2)
    )
    assert first.shape == (3, 3, 3, 8, 8)
    assert first.dtype == torch.float32
    assert first.is_contiguous()
    assert 0 <= float(first.min()) <= float(first.max()) <= 1
    assert torch.equal(first, same)
    assert torch.equal(first, other) == (init == "first")


def test_start_from_noise_is_uniform():
    images = start_images(real_set(), ipc=50, factor=2, init="noise", generator=rng())
    # 28,800 uniform numbers: the mean is off by 0.0017, the variance of 1/12 by 0.0004; four times that.
    assert float(images.mean()) == pytest.approx(0.5, abs=0.007)
    assert float(images.var()) == pytest.approx(1 / 12, abs=0.002)


@pytest.mark.parametrize("factor", [1, 2])
def test_start_from_real_takes_images_of_the_class_once(factor):
    real = real_set((20, 25, 9))
    chosen = levels(start_images(real, ipc=9, factor=factor, init="real", generator=rng()))
    for c in range(3):
        assert len(set(chosen[c].tolist())) == 9
        assert set(chosen[c].tolist()) <= set(levels(to_float(real.train.of_class(c))).tolist())


def test_start_from_real_keeps_the_pixels():
    pixels = torch.randint(0, 256, (30, 3, 8, 8), generator=rng(), dtype=torch.uint8)
    real = ImageSet("random", ImageSplit.of(pixels, torch.arange(30) % 3, 3), None, NAMES)
    images = start_images(real, ipc=2, factor=1, init="real", generator=rng(1))
    for c in range(3):
        members = to_float(pixels[c::3])
        assert all(any(torch.equal(image, member) for member in members) for image in images[c])


def test_start_from_a_mosaic_holds_factor_squared_images_of_the_class():
    real = real_set((20, 20, 25))
    images = start_images(real, ipc=3, factor=2, init="mosaic", generator=rng())
    tiles = levels(cut(images.flatten(0, 1), 2)).view(3, 12)
    for c in range(3):
        assert len(set(tiles[c].tolist())) == 12  # every tile another image
        assert 80 * c <= int(tiles[c].min()) <= int(tiles[c].max()) < 80 * c + real.train.counts[c]


def test_a_mosaic_of_factor_one_is_a_real_start():
    mosaic, real = (
        start_images(real_set(), ipc=3, factor=1, init=init, generator=rng(1)) for init in ("mosaic", "real")
    )
    assert torch.equal(mosaic, real)


def test_a_start_from_the_first_images_takes_them_in_order_and_draws_nothing():
    generator = rng(1)
    before = generator.get_state()
    with pytest.warns(UserWarning, match="fewest 9"):
        images = start_images(real_set((20, 9, 25)), ipc=3, factor=2, init="first", generator=generator)
    tiles = levels(cut(images.flatten(0, 1), 2)).view(3, 12)
    assert tiles[0].tolist() == list(range(12))
    assert tiles[1].tolist() == [80 + i % 9 for i in range(12)]  # again from the first
    assert tiles[2].tolist() == [160 + i for i in range(12)]
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("init", ["real", "mosaic"])
def test_draws_spread_over_the_class(init):
    # Four images of 20 a draw: how often each of a class comes is binomial, 60 of 300 with standard deviation 7.
    counts = torch.zeros(3, 20)
    ipc = {"real": 4, "mosaic": 1}[init]
    for seed in range(300):
        images = start_images(real_set(), ipc=ipc, factor=2, init=init, generator=rng(seed))
        tiles = cut(images.flatten(0, 1), 2) if init == "mosaic" else images.flatten(0, 1)
        places = levels(tiles).view(3, 4) - 80 * torch.arange(3)[:, None]
        counts.scatter_add_(1, places, torch.ones(3, 4))
    assert float(counts.sum()) == 3 * 4 * 300
    assert_close(counts, torch.full((3, 20), 60.0), atol=28, rtol=0)  # four standard deviations


def test_classes_draw_independently():
    places = levels(choose_random(real_set(), 5, rng())) - 80 * torch.arange(3)[:, None]
    assert places[0].tolist() != places[1].tolist() != places[2].tolist()


def test_more_images_than_a_class_has():
    # A rare class gives what it has more than once; where every class is too small, so is the data set.
    real = real_set((20, 5, 20))
    with pytest.warns(UserWarning, match=r"1 of 3 classes have fewer than the 12 .*\(dog; fewest 5\)"):
        images = start_images(real, ipc=12, factor=1, init="real", generator=rng())
    places = levels(images) - 80 * torch.arange(3)[:, None]
    assert len(set(places[0].tolist())) == 12  # without replacement where there are enough
    assert sorted(places[1].bincount(minlength=5).tolist()) == [2, 2, 2, 3, 3]  # all of it, as evenly as 12 allows
    with pytest.warns(UserWarning, match="dog"):
        start_images(real, ipc=2, factor=2, init="mosaic", generator=rng())
    with pytest.raises(NcfmError, match=r"at least 21 real images .* class 'dog' has 5; lower --ipc"):
        start_images(real, ipc=21, factor=1, init="real", generator=rng())
    assert start_images(real, ipc=5, factor=2, init="real", generator=rng()).shape[:2] == (3, 5)
    assert start_images(real, ipc=100, factor=2, init="noise", generator=rng()).shape[:2] == (3, 100)


@pytest.mark.parametrize("init", INITS)
def test_no_images_per_class(init):
    with pytest.raises(NcfmError, match=r"ipc \(images per class\) must be at least 1, got 0"):
        start_images(real_set(), ipc=0, factor=1, init=init, generator=rng())


def test_unknown_init_names_the_nearest():
    with pytest.raises(NcfmError, match=r"Unknown init 'mosiac'\. Did you mean 'mosaic'\?"):
        start_images(real_set(), ipc=1, factor=2, init="mosiac", generator=rng())


def test_a_mosaic_of_a_factor_that_does_not_divide_the_image_covers_it():
    start = start_images(real_set(), ipc=1, factor=3, init="mosaic", generator=rng())
    assert start.shape == (3, 1, *real_set().train.images.shape[1:])
    assert 0 <= float(start.min()) <= float(start.max()) <= 1


# --- sets that grow -----------------------------------------------------------------------------------------


def of_classes(names, ipc=2, side=8, **options):
    images = torch.rand(len(names), ipc, 1, side, side, generator=rng(len(names)))
    return SyntheticSet(images, names, Statistics((0.5,), (0.2,)), **options)


def test_an_extended_start_has_the_earlier_images_first_in_their_classes():
    earlier, start = of_classes(("b", "a")), of_classes(("a", "new", "b"), ipc=3)
    grown = extended(start, earlier)
    assert torch.equal(grown.images[0, :2], earlier.images[1])  # by name, not by place
    assert torch.equal(grown.images[2, :2], earlier.images[0])
    assert torch.equal(grown.images[:, 2], start.images[:, 2])
    assert torch.equal(grown.images[1], start.images[1])
    assert not torch.equal(start.images[0, :2], grown.images[0, :2])  # the start itself is as it was


@pytest.mark.parametrize(
    ("earlier", "message"),
    [
        (of_classes(("a", "x")), "classes that are missing from the data: x"),
        (of_classes(("a",), ipc=4), "4 images per class, more than the requested 3"),
        (of_classes(("a",), side=16), r"\(1, 16, 16\), the data of \(1, 8, 8\)"),
        (of_classes(("a",), factor=2), r"factor 2, this run 1; give distill\.factor=2"),
        (of_classes(("a",), mode="multi"), "mode multi"),
    ],
)
def test_what_cannot_be_extended_is_reported(earlier, message):
    with pytest.raises(NcfmError, match=message):
        extended(of_classes(("a", "b"), ipc=3), earlier)


def test_the_bound_matters_only_where_there_is_one():
    start, earlier = of_classes(("a",), bound=4), of_classes(("a",), bound=5)
    assert torch.equal(extended(start, earlier).images, earlier.images)
    with pytest.raises(NcfmError, match="bound 5, this run 4"):
        extended(of_classes(("a",), bound=4, mode="bounded"), of_classes(("a",), bound=5, mode="bounded"))
