"""Mosaics of realistic crops: the crop that is realistic by construction, a slow double loop, chunks, the cache."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import read_tensors, write_tensors
from ncfm._utils.seeding import generator
from ncfm._utils.types import Statistics
from ncfm.baselines import choose, select
from ncfm.baselines import rded as mosaics
from ncfm.baselines.rded import AREA, NUM_CROPS, Crops, choose_crops, crop, draw_crops, most_realistic, rded, realism
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalize
from ncfm.synthetic.formation import cut, stitch
from ncfm.synthetic.storage import load, save
from ncfm.training.teachers import Teacher, TeacherPool
from strategies import interval, properties, rng, seeds
from tiny import random_pool

N = 8  # training images a class


@pytest.fixture
def asked(pool, monkeypatch):
    """How many images each question to the teachers had."""
    sizes = []
    original = pool.log_probabilities
    monkeypatch.setattr(pool, "log_probabilities", lambda x: (sizes.append(len(x)), original(x))[1])
    return sizes


def without(images, kept):
    """The set with those training images alone that ``kept`` (n,) marks."""
    train = ImageSplit.of(images.train.images[kept], images.train.labels[kept], images.num_classes)
    return dataclasses.replace(images, train=train)


# --- crops --------------------------------------------------------------------------------------------------


@properties
@given(seeds, st.integers(2, 12), st.data())
def test_a_crop_is_a_part_enlarged(seed, size, data):
    side = data.draw(st.integers(1, size))
    top, left = (data.draw(st.integers(0, size - side)) for _ in range(2))
    image = torch.rand(1, 3, size, size, generator=rng(seed), dtype=torch.float64)
    part = image[:, :, top : top + side, left : left + side]
    expected = F.interpolate(part, size=(size, size), mode="bilinear", align_corners=False)
    torch.testing.assert_close(crop(image, torch.tensor([[top, left, side]])), expected, atol=1e-5, rtol=0)


def test_a_crop_by_hand():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    # Rows 1 and 2, columns 2 and 3: 6 7 / 10 11, at a quarter, three quarters, and the rim repeated.
    steps = torch.tensor([0.0, 0.25, 0.75, 1.0])
    expected = 6 + 4 * steps[:, None] + steps[None, :]
    torch.testing.assert_close(crop(image, torch.tensor([[1, 2, 2]]))[0, 0], expected)


def test_every_image_has_its_own_crop():
    images = torch.rand(3, 2, 6, 6, generator=rng(0))
    boxes = torch.tensor([[0, 0, 6], [1, 2, 3], [5, 0, 1]])
    found = crop(images, boxes)
    assert found.shape == images.shape
    torch.testing.assert_close(found[0], images[0])  # all of it
    torch.testing.assert_close(found[2], images[2, :, 5:6, 0:1].expand(2, 6, 6))  # one pixel
    for i in range(3):
        torch.testing.assert_close(found[i : i + 1], crop(images[i : i + 1], boxes[i : i + 1]))


@pytest.mark.parametrize("area", [(0.08, 1.0), (0.25, 0.25), (1.0, 1.0), (1e-9, 1e-9)])
def test_crops_lie_within_their_image_and_area(images, area):
    crops = draw_crops(images, 3, 50, pool_per_class=None, area=area, generator=rng(0))
    assert torch.equal(crops.positions, torch.arange(3 * N, 4 * N)[:, None].expand(N, 50))
    top, left, side = crops.boxes.unbind(-1)
    assert crops.boxes.dtype == torch.int64
    assert crops.boxes.shape == (N, 50, 3)
    assert int(top.min()) >= 0
    assert int(left.min()) >= 0
    assert int((top + side).max()) <= 8
    assert int((left + side).max()) <= 8
    assert int(side.min()) == max(round(8 * area[0] ** 0.5), 1)
    assert int(side.max()) == max(round(8 * area[1] ** 0.5), 1)


def blank(size, per_class=1):
    """Two classes of black images."""
    images = torch.zeros(2 * per_class, 1, size, size, dtype=torch.uint8)
    train = ImageSplit.of(images, torch.arange(2).repeat_interleave(per_class), 2)
    return ImageSet("blank", train, None, ("a", "b"))


def test_shares_and_places_are_uniform():
    boxes = draw_crops(blank(1000), 1, 20_000, pool_per_class=None, area=(0.2, 0.6), generator=rng(0)).boxes[0].double()
    share, place = (boxes[:, 2] / 1000) ** 2, boxes[:, :2] / (1000 - boxes[:, 2:])
    # A uniform number in [a, b] has mean (a + b) / 2 and standard deviation (b - a) / sqrt(12).
    for values, low, high in ((share, 0.2, 0.6), (place[:, 0], 0.0, 1.0), (place[:, 1], 0.0, 1.0)):
        mean, within = interval(values)
        assert abs(float(mean) - (low + high) / 2) < float(within)
        assert float(values.std()) == pytest.approx((high - low) / 12**0.5, rel=0.02)
    # They are independent: the correlation of 20,000 pairs has standard deviation 0.007.
    assert float(torch.corrcoef(torch.stack([share, *place.T])).triu(1).abs().max()) < 0.03


def test_every_place_is_drawn_up_to_the_last():
    boxes = draw_crops(blank(8), 0, 2000, pool_per_class=None, area=(0.25, 0.25), generator=rng(0)).boxes[0]
    places = {tuple(box) for box in boxes.tolist()}
    assert places == {(top, left, 4) for top in range(5) for left in range(5)}


def test_a_pool_is_a_random_part_of_the_class(images):
    drawn = [
        draw_crops(images, 2, 3, pool_per_class=5, area=AREA, generator=rng(seed)).positions[:, 0] for seed in range(40)
    ]
    for at in drawn:
        assert at.tolist() == sorted(set(at.tolist()))
        assert len(at) == 5
        assert set(at.tolist()) <= set(range(2 * N, 3 * N))
    counts = torch.bincount(torch.cat(drawn) - 2 * N, minlength=N)  # each in 5 of 8 draws, 25 of 40: std 3.1
    assert int(counts.min()) > 12
    assert int(counts.max()) < 38
    whole = draw_crops(images, 2, 3, pool_per_class=100, area=AREA, generator=rng(0))
    everything = draw_crops(images, 2, 3, pool_per_class=None, area=AREA, generator=rng(0))
    assert torch.equal(whole.boxes, everything.boxes)  # where it is all of the class, it draws nothing


# --- what is realistic by construction ----------------------------------------------------------------------


class Colours(nn.Module):
    """A teacher of colours: the logit of a class is the mean of its channel."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([4.0]))

    def forward(self, x):
        return self.scale * x.mean((2, 3))


def colour_pool(scales=(4.0,)):
    weights = [{"scale": torch.tensor([scale])} for scale in scales]
    statistics = Statistics((0.0,) * 3, (1.0,) * 3)
    return TeacherPool(
        [Teacher(w, w, 0.0) for w in weights], lambda seed: Colours(), statistics=statistics, device=torch.device("cpu")
    )


@pytest.fixture(scope="module")
def coloured():
    """Red, green and blue: of every image a square of 4 x 4 pixels has the colour of its class, the rest is grey.

    Its place is image by image another one, and so is how bright it is.
    """
    size, per_class = 8, 6
    images = torch.full((3, per_class, 3, size, size), 100, dtype=torch.uint8)
    corners = torch.randint(5, (3, per_class, 2), generator=rng(1))
    levels = torch.stack([torch.randperm(per_class, generator=rng(i)) for i in range(3)])  # the brightest is 5
    for label in range(3):
        for i in range(per_class):
            top, left = corners[label, i].tolist()
            square = images[label, i, :, top : top + 4, left : left + 4]
            square[:] = 0
            square[label] = 150 + 20 * levels[label, i]
    train = ImageSplit.of(images.flatten(0, 1), torch.arange(3).repeat_interleave(per_class), 3)
    return ImageSet("coloured", train, None, ("red", "green", "blue")), corners, levels


def test_the_coloured_square_is_found(coloured):
    real, corners, levels = coloured
    chosen = choose_crops(
        real, colour_pool(), ipc=1, factor=2, generator=rng(0), num_crops=300, area=(0.25, 0.25)
    )  # 25 places of a square of a quarter: 300 draws hit each but for one time in 10,000
    order = levels.argsort(dim=1, descending=True)[:, :4]  # the brightest squares first
    assert torch.equal(chosen.positions, order + 6 * torch.arange(3)[:, None])
    assert torch.equal(chosen.boxes[..., :2], corners.gather(1, order[..., None].expand(-1, -1, 2)))
    assert bool((chosen.boxes[..., 2] == 4).all())


def test_the_mosaic_is_made_of_coloured_squares(coloured):
    real, _, levels = coloured
    made = rded(real, colour_pool(), ipc=1, factor=2, generator=rng(0), num_crops=300, area=(0.25, 0.25))
    assert made.images.shape == (3, 1, 3, 8, 8)
    for label in range(3):
        bright = (150 + 20 * levels[label].sort(descending=True).values[:4]) / 255
        expected = torch.zeros(3, 8, 8)
        expected[label] = bright.view(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1)  # row by row
        torch.testing.assert_close(made.images[label, 0], expected, atol=1e-5, rtol=0)


def test_realism_is_the_cross_entropy_to_the_mean_of_the_teachers(coloured):
    real, *_ = coloured
    crops = draw_crops(real, 1, 4, pool_per_class=None, area=AREA, generator=rng(0))
    found = realism(crops, 1, real, colour_pool((1.0, 9.0)), chunk_size=256)
    for i in range(6):
        for j in range(4):
            top, left, side = crops.boxes[i, j].tolist()
            part = to_float(real.train.of_class(1)[i])[:, top : top + side, left : left + side]
            enlarged = F.interpolate(part[None], size=(8, 8), mode="bilinear", align_corners=False)[0]
            means = enlarged.mean((1, 2))
            p = (torch.softmax(means, 0) + torch.softmax(9 * means, 0)) / 2
            assert float(found[i, j]) == pytest.approx(float(p[1].log()), abs=1e-5)


# --- the choice ---------------------------------------------------------------------------------------------


def test_the_best_of_each_row_then_the_best_rows():
    scores = torch.tensor([[-3.0, -1.0], [-0.5, -0.2], [-4.0, -2.0], [-9.0, -0.9]])
    at = torch.arange(10, 14)[:, None].expand(4, 2)
    boxes = torch.arange(24).view(4, 2, 3)
    chosen = most_realistic(Crops(at, boxes), scores, 3)
    assert chosen.positions.tolist() == [11, 13, 10]
    assert torch.equal(chosen.boxes, boxes[[1, 3, 0], [1, 1, 1]])


def test_of_equals_the_first_counts():
    crops = Crops(torch.arange(6)[:, None].expand(6, 3), torch.arange(54).view(6, 3, 3))
    chosen = most_realistic(crops, torch.zeros(6, 3), 4)
    assert chosen.positions.tolist() == [0, 1, 2, 3]
    assert torch.equal(chosen.boxes, crops.boxes[:4, 0])


def double_loop(images, pool, count, num_crops, seed, pool_per_class=None):
    """Crop by crop, cut and enlarged alone, one network at a time; plain lists."""
    class_seeds = torch.randint(2**32, (10,), generator=generator(seed)).tolist()
    chosen = []
    for label in range(10):
        crops = draw_crops(
            images, label, num_crops, pool_per_class=pool_per_class, area=AREA, generator=rng(class_seeds[label])
        )
        of_images = []
        for at, boxes in zip(crops.positions[:, 0].tolist(), crops.boxes.tolist(), strict=True):
            whole, scored = to_float(images.train.images[at]), []
            for top, left, side in boxes:
                part = whole[None, :, top : top + side, left : left + side]
                x = normalize(F.interpolate(part, size=(8, 8), mode="bilinear"), images.statistics)
                p = sum(torch.softmax(pool.trained(i)(x)[0].double(), 0)[label] for i in range(len(pool))) / len(pool)
                scored.append((float(p), at, [top, left, side]))
            of_images.append(max(scored, key=lambda one: one[0]))
        chosen.append(sorted(of_images, key=lambda one: -one[0])[:count])
    return [[one[1] for one in row] for row in chosen], [[one[2] for one in row] for row in chosen]


@pytest.mark.parametrize("pool_per_class", [None, 5])
def test_the_choice_is_the_double_loop(images, pool, pool_per_class):
    options = {"num_crops": 7, "pool_per_class": pool_per_class}
    chosen = choose_crops(images, pool, ipc=1, factor=2, generator=generator(4), **options)
    positions, boxes = double_loop(images, pool, 4, 7, 4, pool_per_class)
    assert chosen.positions.tolist() == positions
    assert chosen.boxes.tolist() == boxes


def test_a_longer_choice_begins_with_the_shorter(images, pool):
    short, long = (choose_crops(images, pool, ipc=ipc, factor=1, generator=generator(0), num_crops=3) for ipc in (2, 6))
    assert torch.equal(long.positions[:, :2], short.positions)
    assert torch.equal(long.boxes[:, :2], short.boxes)
    assert all(len(set(row)) == 6 for row in long.positions.tolist())  # one crop of an image


@pytest.mark.parametrize("chunk_size", [1, 7, 64])
def test_chunks_bound_memory_and_change_nothing(images, pool, asked, own_cache, chunk_size):
    at_once = choose_crops(images, pool, ipc=1, factor=2, generator=generator(0))
    assert sorted(set(asked)) == [N * NUM_CROPS]  # of each class
    asked.clear()
    for path in (own_cache / "selections").glob("*"):
        path.unlink()
    in_parts = choose_crops(images, pool, ipc=1, factor=2, generator=generator(0), chunk_size=chunk_size)
    assert max(asked) == min(chunk_size, N * NUM_CROPS)
    assert sum(asked) == 10 * N * NUM_CROPS
    assert torch.equal(at_once.positions, in_parts.positions)
    assert torch.equal(at_once.boxes, in_parts.boxes)


def test_the_generator_is_the_choice(images, pool):
    made = [rded(images, pool, ipc=2, generator=generator(seed)).images for seed in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_classes_have_crops_of_their_own(images, pool):
    seeds_of = torch.randint(2**32, (10,), generator=generator(0)).tolist()
    crops = [draw_crops(images, i, 5, pool_per_class=None, area=AREA, generator=rng(seeds_of[i])) for i in range(10)]
    assert len({str(c.boxes.tolist()) for c in crops}) == 10


# --- the set ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_tiles_are_the_crops_in_order(images, pool, factor):
    per_class = 2 * factor**2
    real = images if per_class <= N else few_of(images, per_class)
    options = {"ipc": 2, "factor": factor}
    made = rded(real, pool, **options, generator=generator(0))
    chosen = choose_crops(real, pool, **options, generator=generator(0))
    assert chosen.positions.shape == (10, per_class)
    assert torch.equal(real.train.labels[chosen.positions], torch.arange(10)[:, None].expand(10, per_class))
    for label in range(10):
        tiles = crop(to_float(real.train.images[chosen.positions[label]]), chosen.boxes[label])
        torch.testing.assert_close(made.images[label], stitch(tiles, factor), atol=1e-6, rtol=0)


def few_of(images, per_class):
    """The set with every image as often as it takes to have so many of each class."""
    times = -(-per_class // N)
    train = ImageSplit.of(images.train.images.repeat(times, 1, 1, 1), images.train.labels.repeat(times), 10)
    return dataclasses.replace(images, train=train)


def test_students_see_the_mosaic_or_its_tiles(images, pool):
    paper, decoded = (
        rded(images, pool, ipc=2, factor=2, generator=generator(0), decode=decode) for decode in (False, True)
    )
    assert torch.equal(paper.images, decoded.images)
    assert (paper.factor, paper.decoded_ipc, decoded.factor, decoded.decoded_ipc) == (1, 2, 2, 8)
    assert torch.equal(paper.decoded().images, paper.images.flatten(0, 1))
    assert torch.equal(decoded.decoded().images, cut(decoded.images.flatten(0, 1), 2))
    assert paper.storage == decoded.storage == 2


def test_pixels_stay_within_0_and_1(images, pool, monkeypatch):
    """Interpolation may round to beyond; here it goes far beyond."""
    monkeypatch.setattr(mosaics, "crop", lambda x, boxes: 3 * crop(x, boxes) - 1)
    made = rded(images, pool, ipc=2, factor=1, generator=generator(0)).images
    assert (float(made.min()), float(made.max())) == (0, 1)


def test_the_set_records_what_it_is_and_can_be_stored(images, pool, tmp_path):
    made = rded(images, pool, ipc=1, generator=generator(0), num_crops=3, pool_per_class=6)
    assert made.facts == {
        "method": "rded",
        "tiles": 2,
        "num_crops": 3,
        "pool_per_class": 6,
        "area": [0.08, 1.0],
    }
    assert (made.class_names, made.statistics) == (images.class_names, images.statistics)
    loaded = load(save(made, tmp_path / "set"))
    assert torch.equal(loaded.images, made.images)
    assert loaded.facts == made.facts


def test_it_is_a_selection(images, pool):
    of_name = select("rded", images, pool, ipc=2, factor=2, generator=generator(5))
    assert torch.equal(of_name.images, rded(images, pool, ipc=2, factor=2, generator=generator(5)).images)
    assert of_name.factor == 1
    at = choose("rded", images, pool, ipc=2, factor=2, generator=generator(5))
    assert torch.equal(at, choose_crops(images, pool, ipc=2, factor=2, generator=generator(5)).positions)


# --- few images, mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [1, 3])
def test_a_rare_class_gives_its_crops_more_than_once(images, pool, left):
    rare = without(images, images.train.labels.bool() | (torch.arange(len(images.train)) < left))
    with pytest.warns(UserWarning, match="1 of 10 classes have fewer than the 4 images .* are repeated"):
        chosen = choose_crops(rare, pool, ipc=1, factor=2, generator=generator(0))
    first, boxes = chosen.positions[0].tolist(), chosen.boxes[0].tolist()
    assert sorted(first[:left]) == list(range(left))
    assert first == [first[i % left] for i in range(4)]
    assert boxes == [boxes[i % left] for i in range(4)]
    assert all(len(set(row)) == 4 for row in chosen.positions[1:].tolist())


@pytest.mark.filterwarnings("ignore:1 of 10 classes")
def test_a_class_without_images_is_refused(images, pool):
    with pytest.raises(NcfmError, match=r"Classes without training images: \[4\]"):
        rded(without(images, images.train.labels != 4), pool, ipc=1, generator=generator(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ipc": 0}, "ipc .* must be at least 1, got 0"),
        ({"ipc": 3}, "at least 12 real images in every class, but class '0' has 8; lower --ipc or the factor"),
        ({"factor": 9}, r"factor must lie in 1\.\.8, the image size, got 9"),
        ({"num_crops": 0}, "num_crops must be at least 1, got 0"),
        ({"chunk_size": 0}, "chunk_size must be at least 1, got 0"),
        ({"pool_per_class": 3}, "pool_per_class .* must be at least 4, got 3"),
        ({"area": (0.0, 1.0)}, r"0 < smallest <= largest <= 1, got \(0.0, 1.0\)"),
        ({"area": (0.5, 0.4)}, r"got \(0.5, 0.4\)"),
        ({"area": (0.5, 1.1)}, r"got \(0.5, 1.1\)"),
    ],
)
def test_impossible_mosaics_are_refused(images, pool, options, message):
    with pytest.raises(NcfmError, match=message):
        rded(images, pool, **{"ipc": 1, "generator": generator(0)} | options)


# --- the cache ----------------------------------------------------------------------------------------------


def remembered(folder):
    return sorted((folder / "selections").glob("*"))


def test_a_second_choice_comes_from_the_cache(images, pool, asked, own_cache):
    states, made = [], []
    for _ in range(2):
        source = generator(0)
        made.append(rded(images, pool, ipc=2, generator=source).images)
        states.append(source.get_state())
    assert len(asked) == 10
    assert len(remembered(own_cache)) == 1
    assert torch.equal(made[0], made[1])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], generator(0).get_state())


def test_whatever_determines_a_choice_is_in_its_name(images, pool, own_cache):
    def choose_(real=images, pool=pool, ipc=1, factor=2, seed=0, **options):
        choose_crops(real, pool, ipc=ipc, factor=factor, generator=generator(seed), **options)
        return len(remembered(own_cache))

    assert choose_() == 1
    assert choose_(seed=1) == 2
    assert choose_(num_crops=2) == 3
    assert choose_(pool_per_class=6) == 4
    assert choose_(area=(0.1, 1.0)) == 5
    assert choose_(area=(0.08, 0.9)) == 6
    assert choose_(ipc=2) == 7
    assert choose_(real=without(images, torch.arange(80) > 0)) == 8
    assert choose_(pool=random_pool(images, number=1)) == 9  # every teacher counts
    assert choose_(pool=random_pool(images, number=3)) == 10
    assert choose_(chunk_size=3) == 10
    assert choose_(ipc=4, factor=1) == 10  # as many crops
    assert choose_(real=dataclasses.replace(images, name="renamed", test=None)) == 10


def changed(name, change):
    def damage(path):
        tensors = {key: value.clone() for key, value in read_tensors(path).items()}
        write_tensors(path, tensors | {name: change(tensors[name])})

    return damage


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "positions only": lambda path: write_tensors(path, {"positions": read_tensors(path)["positions"].clone()}),
    "another class": changed("positions", lambda at: at.flip(0)),
    "foreign type": changed("boxes", lambda boxes: boxes.float()),
    "too few": changed("boxes", lambda boxes: boxes[:, :1]),
    "above the image": changed("boxes", lambda boxes: boxes - torch.tensor([9, 0, 0])),
    "left of the image": changed("boxes", lambda boxes: boxes - torch.tensor([0, 9, 0])),
    "beyond the image": changed("boxes", lambda boxes: boxes + torch.tensor([0, 9, 0])),
    "empty": changed("boxes", lambda boxes: boxes * torch.tensor([1, 1, 0])),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_choice_is_made_again_and_mended(images, pool, asked, own_cache, damage):
    def made():
        return rded(images, pool, ipc=1, generator=generator(0)).images

    first = made()
    (path,) = remembered(own_cache)
    damage(path)
    assert torch.equal(made(), first)
    assert len(asked) == 20
    made()
    assert len(asked) == 20
