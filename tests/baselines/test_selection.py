"""Selections of real images: each against a loop, its guarantee, the same storage for everybody, and the cache."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import sklearn.cluster
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import read_tensors, write_tensors
from ncfm._utils.seeding import generator
from ncfm.baselines import (
    BY_FEATURES,
    BY_TEACHERS,
    SELECTIONS,
    choose,
    coresets,
    herding,
    k_center,
    k_means,
    select,
    selection,
)
from ncfm.baselines.coresets import nearest_free
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.levels import to_float, to_uint8
from ncfm.data.normalization import normalize
from ncfm.distillation.objectives import MeanMatching
from ncfm.networks.features import FeatureExtractor
from ncfm.synthetic.formation import stitch
from ncfm.training.teachers import Teacher, TeacherPool, network_for
from strategies import normal, properties, rng, seeds
from tiny import NETWORK, distill, random_pool

N = 8  # training images a class
every_coreset = pytest.mark.parametrize("coreset", BY_FEATURES.values(), ids=BY_FEATURES)
every_by_features = pytest.mark.parametrize("method", BY_FEATURES)
MOSAICS = ("mosaic", "rded")


@pytest.fixture
def pick(images, pool):
    def take(method, ipc=2, factor=2, seed=0):
        return select(method, images, pool, ipc=ipc, factor=factor, generator=generator(seed))

    return take


def distance(row, other):
    """Squared, plain numbers."""
    return sum((a - b) ** 2 for a, b in zip(row, other, strict=True))


def mean_of(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def herding_loop(rows, count):
    """Each time the unused row that brings the mean of the chosen nearest to the mean of all; plain numbers."""
    width = len(rows[0])
    mean = mean_of(rows)
    chosen = []
    for step in range(1, count + 1):
        distances = {}
        for i, row in enumerate(rows):
            if i not in chosen:
                total = [sum(rows[c][j] for c in chosen) + row[j] for j in range(width)]
                distances[i] = sum((m - t / step) ** 2 for m, t in zip(mean, total, strict=True))
        chosen.append(min(distances, key=distances.get))
    return chosen


def k_center_loop(rows, count):
    """From the row nearest to the mean, each time the unused row farthest from its nearest chosen one."""
    chosen = []
    for _ in range(count):
        free = [i for i in range(len(rows)) if i not in chosen]
        if not chosen:
            chosen.append(min(free, key=lambda i: distance(rows[i], mean_of(rows))))
        else:
            chosen.append(max(free, key=lambda i: min(distance(rows[i], rows[c]) for c in chosen)))
    return chosen


def radius(rows, chosen):
    """The largest distance of a row to its nearest chosen one."""
    return float(torch.cdist(rows, rows[chosen]).amin(1).max())


def blobs(seed, sizes, width=6):
    """Clusters 100 apart with rows about 1 from their centres, shuffled: (rows, cluster of each)."""
    cluster = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    rows = 100.0 * torch.eye(len(sizes), width, dtype=torch.float64)[cluster] + 0.4 * normal(seed, len(cluster), width)
    order = torch.randperm(len(cluster), generator=rng(seed))
    return rows[order], cluster[order]


# --- all rules ----------------------------------------------------------------------------------------------


@every_coreset
def test_the_first_or_only_row_is_the_nearest_to_the_mean(coreset):
    rows = normal(3, 50, 4)
    nearest = (rows - rows.mean(0)).norm(dim=1).argmin()
    assert coreset(rows, 1, 0).tolist() == [int(nearest)]


@every_coreset
def test_no_row_is_taken_twice(coreset):
    rows = normal(1, 20, 3)
    assert sorted(coreset(rows, 20, 0).tolist()) == list(range(20))
    same = torch.ones(6, 2)  # all alike: every row is the best at every step
    assert coreset(same, 6, 0).tolist() == list(range(6))
    pairs = normal(2, 4, 3).repeat(2, 1)  # every row and its copy
    chosen = coreset(pairs, 7, 0)
    assert len(set(chosen.tolist())) == 7
    assert chosen.dtype == torch.int64


@every_coreset
@pytest.mark.parametrize("count", [-1, 0, 6])
def test_more_rows_than_there_are_or_none_are_refused(coreset, count):
    with pytest.raises(NcfmError, match=rf"must lie in 1\.\.5, got {count}"):
        coreset(normal(0, 5, 2), count, 0)


@pytest.mark.parametrize("coreset", [herding, k_center])
def test_a_longer_choice_begins_with_the_shorter(coreset):
    rows = normal(2, 30, 5)
    assert coreset(rows, 12)[:4].tolist() == coreset(rows, 4).tolist()


# --- herding ------------------------------------------------------------------------------------------------


@properties
@given(seeds, st.integers(1, 12), st.integers(1, 5), st.data())
def test_herding_is_the_loop(seed, n, d, data):
    rows = normal(seed, n, d)
    count = data.draw(st.integers(1, n))
    assert herding(rows, count).tolist() == herding_loop(rows.tolist(), count)


def test_a_herd_follows_the_mean_better_than_chance():
    rows = normal(5, 400, 8)
    gap = (rows[herding(rows, 10)].mean(0) - rows.mean(0)).norm()
    order = torch.randperm(400, generator=generator(0)).split(10)
    by_chance = min((rows[part].mean(0) - rows.mean(0)).norm() for part in order)  # the best of 40
    assert gap < by_chance


# --- k-center -----------------------------------------------------------------------------------------------


@properties
@given(seeds, st.integers(3, 12), st.integers(1, 5), st.data())
def test_k_center_is_the_loop(seed, n, d, data):
    rows = normal(seed, n, d)
    count = data.draw(st.integers(1, n))
    assert k_center(rows, count).tolist() == k_center_loop(rows.tolist(), count)


@properties
@given(seeds, st.sampled_from([1, 2, 4, 8]), st.integers(1, 3), st.data())
def test_k_center_takes_the_first_of_equals(seed, n, d, data):
    rows = torch.randint(3, (n, d), generator=rng(seed)).double()  # few values, and a mean without rounding: many ties
    count = data.draw(st.integers(1, n))
    assert k_center(rows, count).tolist() == k_center_loop(rows.tolist(), count)


def test_k_center_on_a_line():
    line = torch.arange(11.0)[:, None]
    assert k_center(line, 4).tolist() == [5, 0, 10, 2]  # the middle, the ends, then the first of 2, 3, 7, 8


@properties
@given(seeds, st.integers(1, 8), st.integers(1, 3), st.data())
def test_the_radius_of_k_center_is_at_most_twice_the_best(seed, n, d, data):
    rows = normal(seed, n, d)
    count = data.draw(st.integers(1, n))
    best = min(radius(rows, list(some)) for some in itertools.combinations(range(n), count))
    assert radius(rows, k_center(rows, count)) <= 2 * best + 1e-6


# --- k-means ------------------------------------------------------------------------------------------------


@properties
@given(seeds, st.lists(st.sampled_from([1, 3, 4, 9]), min_size=2, max_size=5))
def test_k_means_takes_the_middle_of_every_cluster(seed, sizes):
    rows, cluster = blobs(seed, sizes)  # none of two rows, which are equally near to their middle
    expected = set()
    for index in range(len(sizes)):
        own = (cluster == index).nonzero().flatten()
        expected.add(int(own[(rows[own] - rows[own].mean(0)).norm(dim=1).argmin()]))
    assert set(k_means(rows, len(sizes), seed).tolist()) == expected


def test_k_means_depends_on_the_seed_alone():
    rows = normal(4, 60, 3)
    assert k_means(rows, 5, 7).tolist() == k_means(rows, 5, 7).tolist()
    assert k_means(rows, 5, 7).tolist() == k_means(rows, 5, 7 + 2**40).tolist()  # its last 32 bits
    assert len({tuple(sorted(k_means(rows, 5, seed).tolist())) for seed in range(6)}) > 1


def test_many_rows_go_through_mini_batches(monkeypatch):
    monkeypatch.setattr(coresets, "LARGE", 40)
    monkeypatch.setattr(sklearn.cluster, "KMeans", None)
    rows, cluster = blobs(0, [20, 15, 30])
    chosen = k_means(rows, 3, 1)
    assert sorted(cluster[chosen].tolist()) == [0, 1, 2]


def test_a_centre_whose_row_is_taken_gets_the_next_nearest():
    rows = torch.tensor([[0.0], [1.0], [2.0], [5.0]], dtype=torch.float64)
    centres = torch.tensor([[0.9], [1.2], [1.1]], dtype=torch.float64)  # row 1 is the nearest of all three
    assert nearest_free(rows, centres).tolist() == [1, 2, 0]


# --- selections by features ---------------------------------------------------------------------------------


def kmeans_with_seed(rows, count, seed):
    return k_means(torch.tensor(rows), count, seed).tolist()


@pytest.mark.parametrize(
    ("method", "loop"),
    [
        ("herding", lambda rows, count, seed: herding_loop(rows, count)),
        ("kcenter", lambda rows, count, seed: k_center_loop(rows, count)),
        ("kmeans", kmeans_with_seed),
    ],
    ids=BY_FEATURES,
)
def test_selections_use_the_first_trained_teacher(pick, images, pool, method, loop):
    network = pool.trained(0)
    chosen = pick(method, ipc=3, seed=5).images
    starts = torch.randint(2**32, (10,), generator=generator(5)).tolist()
    for label in range(10):
        of_class = to_float(images.train.of_class(label))
        features = network.forward_features(normalize(of_class, images.statistics))
        features = features / features.norm(dim=1, keepdim=True)
        expected = of_class[loop(features.tolist(), 3, starts[label])]
        assert torch.equal(chosen[label], expected)


@pytest.mark.parametrize("method", BY_FEATURES)
def test_teachers_choose_by_the_normalisation_that_they_know(images, pool, own_cache, method):
    other = dataclasses.replace(images, deviation="images")
    arguments = {"ipc": 3, "factor": 1}
    expected = choose(method, images, pool, generator=generator(0), **arguments)
    assert torch.equal(choose(method, other, pool, generator=generator(0), **arguments), expected)


def test_herding_chooses_what_it_always_chose(images, pool):
    """Positions computed before selections became positions first; the nearest runner-up was 1.4e-4 behind."""
    at = choose("herding", images, pool, ipc=3, factor=2, generator=generator(0))
    assert at.tolist() == [
        [1, 7, 3],
        [11, 9, 14],
        [23, 17, 19],
        [28, 31, 24],
        [34, 35, 37],
        [47, 43, 45],
        [54, 49, 50],
        [63, 61, 59],
        [64, 68, 71],
        [73, 77, 79],
    ]


@pytest.mark.parametrize("method", ["herding", "kcenter"])
def test_greedy_selections_draw_nothing(images, pool, method):
    source = generator(0)
    choose(method, images, pool, ipc=2, factor=2, generator=source)
    assert torch.equal(source.get_state(), generator(0).get_state())


@pytest.mark.parametrize("method", sorted(set(SELECTIONS) - {"rded"}))  # whose tiles are parts of images
def test_a_selection_is_the_images_at_its_positions(images, pool, method):
    options = {"ipc": 2, "factor": 2}
    at = choose(method, images, pool, **options, generator=generator(3))
    assert at.dtype == torch.int64
    assert at.shape == (10, 8 if method == "mosaic" else 2)
    assert torch.equal(images.train.labels[at], torch.arange(10)[:, None].expand(at.shape))
    taken = to_float(images.train.images[at])
    expected = torch.stack([stitch(own, 2) for own in taken]) if method == "mosaic" else taken
    assert torch.equal(select(method, images, pool, **options, generator=generator(3)).images, expected)


# --- random images and mosaics ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["random", *BY_FEATURES])
def test_picks_are_different_training_images_of_their_class(pick, images, method):
    chosen = pick(method, ipc=5)
    for label in range(10):
        own = images.train.of_class(label).flatten(1).tolist()
        picks = to_uint8(chosen.images[label]).flatten(1).tolist()
        places = [own.index(pick) for pick in picks]  # ValueError if it is none of them
        assert len(set(places)) == 5


def test_random_picks_follow_the_generator(pick):
    assert torch.equal(pick("random", seed=1).images, pick("random", seed=1).images)
    assert not torch.equal(pick("random", seed=1).images, pick("random", seed=2).images)


@pytest.mark.parametrize("factor", [1, 2])
def test_the_mosaic_is_the_start_of_the_distillation(images, pool, factor):
    chosen = select("mosaic", images, pool, ipc=2, factor=factor, generator=generator(7, "init"))
    result = distill(images, pool, MeanMatching(), ipc=2, factor=factor, iterations=0, seed=7)
    assert torch.equal(chosen.images, result.start.images)
    assert chosen.factor == result.start.factor
    assert torch.equal(chosen.decoded().images, result.start.decoded().images)


@pytest.mark.parametrize("method", SELECTIONS)
def test_everybody_has_the_same_storage(pick, images, method):
    chosen = pick(method)
    assert chosen.images.shape == (10, 2, 1, 8, 8)
    assert chosen.images.dtype == torch.float32
    assert chosen.decoded_ipc == (8 if method == "mosaic" else 2)
    assert chosen.class_names == images.class_names
    assert chosen.statistics == images.statistics
    assert chosen.facts["method"] == method
    assert chosen.decoded().labels.tolist() == sorted(chosen.decoded().labels.tolist())


@pytest.mark.parametrize("method", SELECTIONS)
def test_a_whole_class_can_be_taken(pick, method):
    ipc = N // 4 if method in MOSAICS else N
    assert pick(method, ipc=ipc).ipc == ipc


@pytest.mark.parametrize("method", SELECTIONS)
def test_more_than_a_class_has_is_refused(pick, method):
    ipc = N // 4 + 1 if method in MOSAICS else N + 1
    with pytest.raises(NcfmError, match=f"at least .* real images in every class, but class '0' has {N}; lower --ipc"):
        pick(method, ipc=ipc)


def without(images, kept, num_classes=10):
    """The set with those training images alone that ``kept`` (n,) marks."""
    train = ImageSplit.of(images.train.images[kept], images.train.labels[kept], num_classes)
    return dataclasses.replace(images, train=train)


@every_by_features
def test_a_rare_class_is_taken_more_than_once(images, pool, method):
    rare = without(images, images.train.labels.bool() | (torch.arange(len(images.train)) < 2))  # two of class 0
    with pytest.warns(UserWarning, match="are repeated"):
        at = choose(method, rare, pool, ipc=3, factor=1, generator=generator(0))
    assert sorted(at[0, :2].tolist()) == [0, 1]
    assert at[0, 2] == at[0, 0]
    assert len(set(at[1:].flatten().tolist())) == 27


@every_by_features
@pytest.mark.filterwarnings("ignore:1 of 10 classes")
def test_a_class_without_images_is_refused(images, pool, method):
    with pytest.raises(NcfmError, match=r"Classes without training images: \[4\]"):
        choose(method, without(images, images.train.labels != 4), pool, ipc=2, factor=1, generator=generator(0))


@pytest.mark.parametrize("method", SELECTIONS)
def test_no_images_are_refused(pick, method):
    with pytest.raises(NcfmError, match="must be at least 1"):
        pick(method, ipc=0)


def test_an_unknown_selection_names_the_nearest(pick):
    with pytest.raises(NcfmError, match=r"Unknown selection 'hering'. Did you mean 'herding'"):
        pick("hering")


@pytest.mark.parametrize("method", SELECTIONS)
def test_the_test_split_is_not_used(images, pool, pick, method, monkeypatch, tmp_path):
    train_only = ImageSet(images.name, images.train, None, images.class_names)
    alone = select(method, train_only, pool, ipc=2, factor=2, generator=generator(0))
    monkeypatch.setenv("NCFM_CACHE", str(tmp_path))  # an empty one: chosen again
    assert torch.equal(alone.images, pick(method).images)


# --- the cache ----------------------------------------------------------------------------------------------


def remembered(folder):
    return sorted((folder / "selections").glob("*"))


@pytest.fixture
def extractions(monkeypatch):
    """How often features were extracted, as a list that grows."""
    made = []

    def extractor(*args, **options):
        made.append(args)
        return FeatureExtractor(*args, **options)

    monkeypatch.setattr(selection, "FeatureExtractor", extractor)
    return made


@every_by_features
def test_a_second_selection_extracts_nothing(pick, own_cache, extractions, method):
    first = pick(method)
    assert len(extractions) == len(remembered(own_cache)) == 1
    assert torch.equal(pick(method).images, first.images)
    assert len(extractions) == len(remembered(own_cache)) == 1


@pytest.mark.parametrize("method", sorted(set(SELECTIONS) - set(BY_TEACHERS)))
def test_what_needs_no_teachers_is_not_cached(pick, own_cache, extractions, method):
    pick(method)
    assert remembered(own_cache) == []
    assert extractions == []


@pytest.mark.parametrize("method", SELECTIONS)
def test_only_what_needs_teachers_needs_a_pool(images, pick, method):
    if method in BY_TEACHERS:
        with pytest.raises(NcfmError, match=f"The selection '{method}' needs teachers"):
            select(method, images, None, ipc=2, factor=2, generator=generator(0))
    else:
        assert torch.equal(
            select(method, images, None, ipc=2, factor=2, generator=generator(0)).images, pick(method).images
        )


def test_k_means_draws_alike_with_and_without_the_cache(images, pool, extractions):
    states, choices = [], []
    for _ in range(2):
        source = generator(0)
        choices.append(choose("kmeans", images, pool, ipc=2, factor=1, generator=source))
        states.append(source.get_state())
    assert len(extractions) == 1
    assert torch.equal(choices[0], choices[1])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], generator(0).get_state())


def test_whatever_determines_a_selection_is_in_its_name(images, pool, own_cache):
    def choose_(method="kmeans", real=images, pool=pool, ipc=2, factor=1, seed=0):
        choose(method, real, pool, ipc=ipc, factor=factor, generator=generator(seed))
        return len(remembered(own_cache))

    assert choose_() == 1
    assert choose_(method="herding") == 2
    assert choose_(method="herding", seed=1) == 2  # draws nothing
    assert choose_(method="kcenter") == 3
    assert choose_(seed=1) == 4
    assert choose_(ipc=3) == 5
    assert choose_(real=without(images, torch.arange(80) > 0)) == 6
    assert choose_(pool=second_first(pool, images)) == 7
    assert choose_(pool=random_pool(images, network=f"{NETWORK}-layer")) == 8  # the same weights in other layers
    assert choose_(factor=2) == 8  # of mosaics only
    assert choose_(pool=random_pool(images, number=1)) == 8  # the other teachers are not used
    assert choose_(real=dataclasses.replace(images, name="renamed", test=None)) == 8


def second_first(pool, images):
    """The pool of `random_pool` in the other order."""
    return pool_of([{k: v.clone() for k, v in pool.trained(i).state_dict().items()} for i in (1, 0)], images)


def pool_of(weights, images, network=NETWORK):
    return TeacherPool(
        [Teacher(w, w, seconds=0.0) for w in weights],
        lambda seed: network_for(images, network, seed=seed),
        statistics=images.statistics,
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize("network", [NETWORK, f"{NETWORK}-batch"])  # BatchNorm counts its batches: a tensor of no axes
def test_a_teacher_is_known_by_its_weights(images, network):
    weights = network_for(images, network, seed=3).state_dict()
    turned = dict(reversed(weights.items()))  # a file need not keep the order
    name = pool_of([weights], images, network).fingerprint(0)
    assert pool_of([turned], images, network).fingerprint(0) == name
    weights["classifier.bias"] = weights["classifier.bias"] + 1e-3
    assert pool_of([weights], images, network).fingerprint(0) != name


def test_a_fingerprint_leaves_the_live_network_alone(images):
    pool = random_pool(images)
    pool.trained(1)
    before = pool.whole.classifier.bias.clone()
    assert pool.fingerprint(0) != pool.fingerprint(1)
    assert torch.equal(pool.whole.classifier.bias, before)


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def empty(path):
    path.write_bytes(b"")


def other(name, change):
    def damage(path):
        write_tensors(path, {name: change(read_tensors(path)["positions"])})

    return damage


DAMAGES = {
    "cut": cut,
    "empty": empty,
    "foreign name": other("images", lambda at: at),
    "foreign type": other("positions", lambda at: at.int()),
    "too few": other("positions", lambda at: at[:, :1].clone()),
    "another class": other("positions", lambda at: at.flip(0)),
    "beyond the split": other("positions", lambda at: at + 80),
    "negative": other("positions", lambda at: at - 80),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_choice_is_made_again_and_mended(pick, own_cache, extractions, damage):
    first = pick("kcenter")
    (path,) = remembered(own_cache)
    whole = read_tensors(path)["positions"].clone()  # not a map of the file, which changes
    damage(path)
    assert torch.equal(pick("kcenter").images, first.images)
    assert len(extractions) == 2
    assert torch.equal(read_tensors(path)["positions"], whole)
    pick("kcenter")
    assert len(extractions) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(pick, own_cache, extractions):
    (own_cache / "selections").write_text("in the way of the folder")
    assert torch.equal(pick("herding").images, pick("herding").images)
    assert len(extractions) == 2
