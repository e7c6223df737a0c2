import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

import ncfm
from ncfm._utils.checks import NcfmError
from ncfm._utils.types import Statistics
from ncfm.data.image_set import ImageSet, ImageSplit, to_float
from ncfm.synthetic.formation import MODES, cut, decode
from ncfm.synthetic.initialization import INITS, choose_random, extended, start_images
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import FACTS_FILE, FORMAT_VERSION, IMAGES_FILE, SyntheticSet, add_scores, read_scores
from strategies import rng

NAMES = ("cat", "dog", "Käfer")
STATISTICS = Statistics((0.1, 0.2, 1 / 3), (0.3, 0.4, 0.5))


def synthetic(seed=0, ipc=2, **options):
    images = torch.rand(3, ipc, 3, 8, 8, generator=rng(seed))
    return SyntheticSet(images, NAMES, STATISTICS, **options)


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


def change_facts(folder, **changes):
    path = folder / FACTS_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# ---------------------------------------------------------------- the set


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [1, 2])
def test_decoded_counts_and_labels(mode, factor):
    made = synthetic(factor=factor, mode=mode, bound=6)
    decoded = made.decoded()
    # Bounded by 6 places, two images of 4 tiles do not fit: one is cut, the other stays whole.
    expected = {"single": 8, "multi": 10, "bounded": 5}[mode] if factor == 2 else 2
    assert made.decoded_ipc == expected
    assert decoded.images.shape == (3 * expected, 3, 8, 8)
    assert decoded.labels.tolist() == [c for c in range(3) for _ in range(expected)]
    assert decoded.labels.dtype == torch.int64
    assert torch.equal(decoded.images.unflatten(0, (3, expected)), decode(made.images, factor, mode, 6))


def test_with_images_changes_nothing_else():
    made = synthetic(factor=2, facts={"seed": 3})
    other = made.with_images(made.images / 2)
    assert torch.equal(other.images, made.images / 2)
    assert (other.class_names, other.statistics) == (NAMES, STATISTICS)
    assert (other.factor, other.facts) == (2, {"seed": 3})


@pytest.mark.parametrize("shape", [(2, 1, 3, 8, 8), (3, 3, 8, 8)])
def test_images_that_do_not_fit_the_class_names(shape):
    with pytest.raises(NcfmError, match="C = 3 class names"):
        SyntheticSet(torch.zeros(shape), NAMES, STATISTICS)


def test_bound_that_does_not_fit():
    with pytest.raises(NcfmError, match="bound must be at least 2, got 1"):
        synthetic(factor=2, mode="bounded", bound=1)


# ---------------------------------------------------------------- save and load


def test_round_trip_is_exact(tmp_path):
    facts = {"seed": 3, "method": {"alpha": 0.1}, "note": None}
    made = synthetic(factor=2, mode="bounded", bound=7, facts=facts)
    assert made.save(tmp_path / "a" / "set") == tmp_path / "a" / "set"
    loaded = SyntheticSet.load(tmp_path / "a" / "set")
    assert torch.equal(loaded.images, made.images)
    assert loaded.images.dtype == torch.float32
    for name in ("class_names", "statistics", "factor", "mode", "bound", "facts"):
        assert getattr(loaded, name) == getattr(made, name)
    assert isinstance(loaded.statistics, Statistics)
    assert torch.equal(loaded.decoded().images, made.decoded().images)


def test_save_takes_images_that_are_being_learned_and_not_contiguous(tmp_path):
    images = torch.rand(3, 2, 8, 8, 3, generator=rng()).permute(0, 1, 4, 2, 3).requires_grad_()
    SyntheticSet(images, NAMES, STATISTICS).save(tmp_path)
    assert torch.equal(SyntheticSet.load(tmp_path).images, images)


def test_save_again_replaces(tmp_path):
    synthetic(seed=0).save(tmp_path)
    synthetic(seed=1).save(tmp_path)
    assert torch.equal(SyntheticSet.load(str(tmp_path)).images, synthetic(seed=1).images)
    assert {p.name for p in tmp_path.iterdir()} == {FACTS_FILE, IMAGES_FILE}  # no temporary files left


def test_load_from_the_run_folder(tmp_path):
    synthetic().save(tmp_path / "synthetic")
    assert torch.equal(SyntheticSet.load(tmp_path).images, synthetic().images)


def test_a_set_comes_before_one_inside_it(tmp_path):
    synthetic(seed=1).save(tmp_path / "synthetic")
    synthetic(seed=0).save(tmp_path)
    assert torch.equal(SyntheticSet.load(tmp_path).images, synthetic(seed=0).images)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_save_refuses_values_that_are_not_finite(tmp_path, value):
    made = synthetic()
    made.images[1, 0, 0, 3, 3] = value
    with pytest.raises(NcfmError, match="The synthetic images has 1 values that are not finite"):
        made.save(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_save_where_a_file_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NcfmError, match="Could not write"):
        synthetic().save(tmp_path / "file")


def test_load_a_missing_folder(tmp_path):
    with pytest.raises(NcfmError, match=r"nowhere does not exist\. `ncfm distill"):
        SyntheticSet.load(tmp_path / "nowhere")


def test_load_an_empty_folder(tmp_path):
    with pytest.raises(NcfmError, match="exists but holds none"):
        SyntheticSet.load(tmp_path)


@pytest.mark.parametrize("content", ['{"format": "another"}', "{}", "[1, 2]", "3"])
def test_load_a_foreign_folder(tmp_path, content):
    (tmp_path / FACTS_FILE).write_text(content)
    with pytest.raises(NcfmError, match=r"was not written by ncfm \(expected format 'ncfm-synthetic-set'\)"):
        SyntheticSet.load(tmp_path)


def test_load_a_later_format(tmp_path):
    synthetic().save(tmp_path)
    change_facts(tmp_path, version=FORMAT_VERSION + 1)
    with pytest.raises(NcfmError, match="upgrade ncfm"):
        SyntheticSet.load(tmp_path)


def test_load_cut_off_json(tmp_path):
    synthetic().save(tmp_path)
    path = tmp_path / FACTS_FILE
    path.write_text(path.read_text()[:-20])
    with pytest.raises(NcfmError, match=r"Could not read .* as JSON"):
        SyntheticSet.load(tmp_path)


def test_load_without_pixels(tmp_path):
    synthetic().save(tmp_path)
    (tmp_path / IMAGES_FILE).unlink()
    with pytest.raises(NcfmError, match="Expected a file"):
        SyntheticSet.load(tmp_path)


def test_load_cut_off_pixels(tmp_path):
    synthetic().save(tmp_path)
    path = tmp_path / IMAGES_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NcfmError, match="Could not read"):
        SyntheticSet.load(tmp_path)


def test_load_one_flipped_bit(tmp_path):
    synthetic().save(tmp_path)
    path = tmp_path / IMAGES_FILE
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(NcfmError, match="another hash"):
        SyntheticSet.load(tmp_path)


def test_load_pixels_of_another_set(tmp_path):
    synthetic(seed=0).save(tmp_path / "a")
    synthetic(seed=1).save(tmp_path / "b")
    (tmp_path / "a" / IMAGES_FILE).replace(tmp_path / "b" / IMAGES_FILE)
    with pytest.raises(NcfmError, match="damaged or mixed up"):
        SyntheticSet.load(tmp_path / "b")


def test_another_programs_reader_finds_labels_and_versions(tmp_path):
    synthetic().save(tmp_path)
    assert load_file(tmp_path / IMAGES_FILE)["labels"].tolist() == [0, 0, 1, 1, 2, 2]
    facts = json.loads((tmp_path / FACTS_FILE).read_text())
    assert facts["versions"] == {"ncfm": ncfm.__version__, "torch": torch.__version__}
    assert (facts["version"], facts["bits"]) == (1, 32)


def test_a_set_of_an_earlier_version_loads(tmp_path):
    synthetic().save(tmp_path)
    save_file({"images": synthetic().images}, tmp_path / IMAGES_FILE)
    facts = json.loads((tmp_path / FACTS_FILE).read_text())
    (tmp_path / FACTS_FILE).write_text(json.dumps({k: v for k, v in facts.items() if k not in ("bits", "versions")}))
    assert torch.equal(SyntheticSet.load(tmp_path).images, synthetic().images)


def test_labels_in_another_order_are_damage(tmp_path):
    synthetic().save(tmp_path)
    save_file({"images": synthetic().images, "labels": torch.tensor([0, 1, 2, 0, 1, 2])}, tmp_path / IMAGES_FILE)
    with pytest.raises(NcfmError, match="labels out of order"):
        SyntheticSet.load(tmp_path)


# ---------------------------------------------------------------- 8 bits


def test_8_bits_are_off_by_half_a_level_at_most_and_exact_from_then_on(tmp_path):
    made = synthetic(ipc=20, factor=2)
    once = SyntheticSet.load(made.save(tmp_path / "once", bits=8))
    assert once.images.dtype == torch.float32
    error = (once.images.double() - made.images.double()).abs()
    assert float(error.max()) <= 1 / 510 + 2**-24  # of 11,520 pixels; and the rounding of k / 255 to float32
    assert float(error.mean()) == pytest.approx(1 / 1020, rel=0.05)  # uniform below 1 / 510
    assert float((once.decoded().images - made.decoded().images).abs().max()) <= 1 / 510 + 1e-6  # means of pixels
    twice = SyntheticSet.load(once.save(tmp_path / "twice", bits=8))
    assert torch.equal(twice.images, once.images)
    for name in (FACTS_FILE, IMAGES_FILE):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    facts = json.loads((tmp_path / "once" / FACTS_FILE).read_text())
    assert (facts["version"], facts["bits"]) == (2, 8)  # a reader of version 1 would take levels for values


def test_8_bits_take_a_quarter_of_the_bytes(tmp_path):
    made = synthetic(ipc=50)
    sizes = [(made.save(tmp_path / str(b), bits=b) / IMAGES_FILE).stat().st_size for b in (32, 8)]
    header = 8 * 150 + 300  # the labels, and names and shapes
    assert sizes[0] - 4 * made.images.numel() < header
    assert sizes[1] - made.images.numel() < header


def test_every_level_comes_back(tmp_path):
    levels = (torch.arange(256).float() / 255).view(2, 2, 1, 8, 8)
    made = SyntheticSet(levels, ("a", "b"), Statistics((0.5,), (0.5,)))
    assert torch.equal(SyntheticSet.load(made.save(tmp_path, bits=8)).images, levels)


def test_other_numbers_of_bits(tmp_path):
    with pytest.raises(NcfmError, match="bits of a pixel must be 32 or 8, got 16"):
        synthetic().save(tmp_path / "set", bits=16)
    assert not (tmp_path / "set").exists()


# ---------------------------------------------------------------- scores


SCORE = {"accuracy_mean": 0.5, "network": "convnet", "confusion": [[1, 0], [0, 1]]}
SHORT = {"accuracy_mean": 0.5, "network": "convnet"}


def test_scores_of_the_run_come_with_the_set_and_go_where_it_goes(tmp_path):
    run = tmp_path / "run"
    synthetic().save(run / "synthetic")
    assert SyntheticSet.load(run).scores == ()
    assert "scores" not in json.loads((run / "synthetic" / FACTS_FILE).read_text())
    (run / "scores.json").write_text(json.dumps([SCORE]))
    assert SyntheticSet.load(run).scores == SyntheticSet.load(run / "synthetic").scores == (SHORT,)
    alone = SyntheticSet.load(SyntheticSet.load(run).save(tmp_path / "alone"))
    assert alone.scores == (SHORT,)
    assert alone.with_images(alone.images / 2).scores == ()
    # Back in the run, what the set brings along is not told twice.
    alone.save(run / "synthetic")
    assert SyntheticSet.load(run).scores == (SHORT,)


def test_scores_that_are_none_are_told(tmp_path):
    synthetic().save(tmp_path / "synthetic")
    (tmp_path / "scores.json").write_text("3")
    with pytest.raises(NcfmError, match="is not a list of evaluations; remove it"):
        SyntheticSet.load(tmp_path)


# ---------------------------------------------------------------- to train on


def test_the_dataset_is_the_decoded_images_normalised():
    made = synthetic(factor=2)
    data = made.dataset()
    images, labels = made.decoded()
    assert len(data) == 24
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in STATISTICS[:2])
    assert_close(data[7][0], (images[7] - mean) / std)
    assert [int(label) for _, label in data] == labels.tolist()
    assert torch.equal(made.dataset(normalized=False)[7][0], images[7])


def test_the_loader_gives_every_image_once_an_epoch_in_orders_of_the_generator():
    made = synthetic(factor=2)
    first, second = (made.loader(10, normalized=False, generator=rng(s)) for s in (1, 1))
    epochs = [[torch.cat(parts) for parts in zip(*loader, strict=True)] for loader in (first, second, first)]
    assert [len(batch[1]) for batch in first] == [10, 10, 4]
    for images, labels in epochs:
        assert torch.equal(
            images.flatten(1).sum(1).sort().values, made.decoded().images.flatten(1).sum(1).sort().values
        )
        assert labels.bincount().tolist() == [8, 8, 8]
    assert torch.equal(epochs[0][1], epochs[1][1])
    assert not torch.equal(epochs[0][1], epochs[2][1])  # another order every epoch
    images, labels = next(iter(made.loader(24, normalized=False, shuffle=False)))
    assert torch.equal(images, made.decoded().images)
    assert torch.equal(labels, made.decoded().labels)
    assert len(made.loader(10, drop_last=True)) == 2  # options of PyTorch's


def test_an_empty_batch():
    with pytest.raises(NcfmError, match="batch_size must be at least 1, got 0"):
        synthetic().loader(0)


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
    # Four images of 20 a draw: how often each of a class comes is binomial, 60 of 300 with deviation 7.
    counts = torch.zeros(3, 20)
    ipc = {"real": 4, "mosaic": 1}[init]
    for seed in range(300):
        images = start_images(real_set(), ipc=ipc, factor=2, init=init, generator=rng(seed))
        tiles = cut(images.flatten(0, 1), 2) if init == "mosaic" else images.flatten(0, 1)
        places = levels(tiles).view(3, 4) - 80 * torch.arange(3)[:, None]
        counts.scatter_add_(1, places, torch.ones(3, 4))
    assert float(counts.sum()) == 3 * 4 * 300
    assert_close(counts, torch.full((3, 20), 60.0), atol=28, rtol=0)  # four deviations


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


# --- soft labels --------------------------------------------------------------------------------------------


def with_soft_labels(digits, **options):
    images = start_images(digits, ipc=2, factor=2, init="mosaic", generator=rng(0))
    said = torch.log_softmax(torch.randn(80, 10, generator=rng(1)), 1)
    return SyntheticSet(
        images, digits.class_names, digits.statistics, factor=2, soft_labels=SoftLabels.of(said, **options)
    )


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_k": 3, "precision": "uint8"}])
def test_soft_labels_are_stored_with_the_set(digits, tmp_path, options):
    made = with_soft_labels(digits, **options)
    found = SyntheticSet.load(made.save(tmp_path / "set")).soft_labels
    assert torch.equal(found.values, made.soft_labels.values)
    assert torch.equal(found.log_probabilities(), made.soft_labels.log_probabilities())
    facts = json.loads((tmp_path / "set" / "set.json").read_text())["soft_labels"]
    assert facts["bytes"] == made.soft_labels.num_bytes
    assert facts["image_equivalents"] == pytest.approx(made.soft_labels.num_bytes / 64)


def test_the_storage_counts_soft_labels_as_images(digits):
    # 80 decoded images of 10 classes in half precision: 1600 bytes, 25 images of 64 bytes, 2.5 for each class.
    assert with_soft_labels(digits).storage == pytest.approx(2 + 2.5)
    assert replace(with_soft_labels(digits), soft_labels=None).storage == 2


def test_other_images_lose_the_soft_labels(digits):
    made = with_soft_labels(digits)
    assert made.with_images(made.images * 0.5).soft_labels is None


def test_soft_labels_come_with_the_batches_as_probabilities(digits):
    made = with_soft_labels(digits, top_k=3)
    images, labels, probabilities = next(iter(made.loader(80, shuffle=False)))
    assert torch.equal(probabilities, made.soft_labels.log_probabilities().exp())
    assert_close(probabilities.sum(1), torch.ones(80))
    assert labels.tolist() == made.decoded().labels.tolist()
    assert float(torch.nn.functional.cross_entropy(torch.zeros(80, 10), probabilities)) == pytest.approx(math.log(10))
    assert len(next(iter(made.loader(80, soft=False)))) == 2
    assert not images.requires_grad


def test_soft_labels_that_do_not_fit_are_refused(digits):
    made = with_soft_labels(digits)
    with pytest.raises(NcfmError, match=r"soft labels of 20 decoded images and 10 classes, got 80 of 10"):
        replace(made, factor=1)


@pytest.mark.parametrize("damage", ["exchange", "remove", "truncate"])
def test_damaged_soft_labels_are_told(digits, tmp_path, damage):
    folder = with_soft_labels(digits).save(tmp_path / "set")
    path = folder / "labels.safetensors"
    if damage == "exchange":
        other = with_soft_labels(digits, precision="uint8")
        save_file({"values": other.soft_labels.values}, path)
    elif damage == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(NcfmError, match=r"labels\.safetensors"):
        SyntheticSet.load(folder)


def test_an_evaluation_is_remembered_once_however_long_it_took(tmp_path):
    path = tmp_path / "scores.json"
    add_scores(path, [{"accuracy_mean": 0.5, "seconds": 1.0}])
    add_scores(path, [{"accuracy_mean": 0.5, "seconds": 2.0}, {"accuracy_mean": 0.6, "seconds": 1.0}])
    assert read_scores(path) == [{"accuracy_mean": 0.5, "seconds": 1.0}, {"accuracy_mean": 0.6, "seconds": 1.0}]


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
        (of_classes(("a", "x")), "classes that the data have not: x"),
        (of_classes(("a",), ipc=4), "4 images a class, more than the 3"),
        (of_classes(("a",), side=16), r"\(1, 16, 16\), the data of \(1, 8, 8\)"),
        (of_classes(("a",), factor=2), r"factor 2, this run 1; give distill\.factor=2"),
        (of_classes(("a",), mode="multi"), "mode multi"),
    ],
)
def test_what_cannot_be_extended_is_told(earlier, message):
    with pytest.raises(NcfmError, match=message):
        extended(of_classes(("a", "b"), ipc=3), earlier)


def test_the_bound_matters_only_where_there_is_one():
    start, earlier = of_classes(("a",), bound=4), of_classes(("a",), bound=5)
    assert torch.equal(extended(start, earlier).images, earlier.images)
    with pytest.raises(NcfmError, match="bound 5, this run 4"):
        extended(of_classes(("a",), bound=4, mode="bounded"), of_classes(("a",), bound=5, mode="bounded"))
