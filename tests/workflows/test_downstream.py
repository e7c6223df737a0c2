"""What a set is good for: scores, continual learning, architecture search; and no leak from the test split."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import ncfm
from ncfm._utils.checks import NcfmError
from ncfm._utils.files import content_hash
from ncfm._utils.progress import Silent
from ncfm._utils.types import LabelledImages
from ncfm.config.methods import METHODS
from ncfm.config.resolve import resolve_config, variant_of
from ncfm.data.image_set import ImageSplit
from ncfm.evaluation.continual import class_order, learn_continually, restrict, step_sizes
from ncfm.evaluation.search import SearchResult, convnet_grid
from ncfm.synthetic.soft_labels import SoftLabels, TeacherTargets
from ncfm.workflows import loaded_set
from ncfm.workflows import score as score_workflow
from ncfm.workflows import search as search_workflow
from strategies import rng
from tiny import SETTINGS


@pytest.fixture(scope="module")
def settings():
    return SETTINGS | {"evaluate.augment": "crop"}


@pytest.fixture
def distilled(images, settings):
    def distil(**changes):
        named = {key.replace("__", "."): value for key, value in changes.items()}
        return ncfm.distill(images, ipc=1, recipe="none", settings=settings | named).synthetic

    return distil


# --- scores -------------------------------------------------------------------------------------------------


def test_scores_are_made_from_the_accuracies_they_say(distilled, images):
    found = ncfm.score(distilled(), images, full_epochs=1, full_runs=3)
    full, own, random = (e.accuracy_mean for e in (found.full_hard, found.synthetic_hard, found.random))
    assert found.hard_label_recovery == pytest.approx(full - own)
    assert found.improvement_over_random == pytest.approx(own - random)
    alpha = 0.5 * (own - random) - 0.5 * (full - own)
    e = 2.718281828459045
    assert found.label_robust_score.value == pytest.approx((e**alpha - 1 / e) / (e - 1 / e))
    plain = found.synthetic_plain.accuracy_mean - found.random_plain.accuracy_mean
    beta = 0.5 * (own - random) + 0.5 * plain
    assert found.augmentation_robust_score.value == pytest.approx((e**beta - 1 / e) / (e - 1 / e))
    assert found.label_robust_score.low < found.label_robust_score.value < found.label_robust_score.high


def test_the_teachers_are_those_of_the_set_whatever_the_students_seed(distilled, images):
    soft = distilled(labels__kind="soft")
    for seed in (None, 5):
        loaded = loaded_set.LoadedSet.open(soft, images, None, seed, None)
        assert loaded.config.seed == (0 if seed is None else seed)
        pool = loaded.teachers(True, Silent())
        labels = SoftLabels.of(pool.log_probabilities(soft.decoded().images))
        assert torch.equal(labels.values, soft.soft_labels.values)
    others = loaded_set.LoadedSet.open(soft, images, {"teachers.seed": 5}, None, None).teachers(True, Silent())
    assert others.fingerprints != pool.fingerprints


def test_each_evaluation_is_what_it_is_called(distilled, images):
    found = ncfm.score(distilled(), images, full_epochs=1, full_runs=3)
    # Hard labels are the set's own: the same students, not trained twice.
    assert found.synthetic.students == found.synthetic_hard.students
    assert (len(found.full_hard.students), found.full_hard.num_images) == (3, 80)
    assert found.full_hard.protocol == "teachers@epochs=1"
    assert (found.storage, found.random.num_images, len(found.random.students)) == (1, 10, 2)
    assert "augment=none" in found.synthetic_plain.protocol
    assert "augment=none" in found.random_plain.protocol
    assert len({e.accuracies for e in found.evaluations.values()}) > 3


def test_without_augmentation_nothing_is_mixed_either(distilled, images, monkeypatch):
    from ncfm.training import targets as training

    mixing = []
    monkeypatch.setattr(training, "cutmix", lambda x, g: (mixing.append(1), (x, torch.arange(len(x)), 1.0))[1])
    from ncfm.workflows.evaluating import evaluate_images as original

    stages = {}

    def spy(*arguments, **options):
        before = len(mixing)
        result = original(*arguments, **options)
        stages[arguments[4]] = len(mixing) - before
        return result

    monkeypatch.setattr(score_workflow, "evaluate_images", spy)
    many = {"evaluate.epochs": 12}
    ncfm.score(distilled(), images, full_epochs=1, settings=many)
    assert stages["students, no augmentation"] == 0
    assert stages["students, hard labels"] > 0


def test_soft_labels_cost_images_and_are_given_to_random_ones_too(distilled, images, monkeypatch):
    asked = []
    original = loaded_set.train_students

    def spy(train, *arguments, soft=None, **options):
        asked.append((len(train.images), None if soft is None else soft.log_probabilities))
        return original(train, *arguments, soft=soft, **options)

    monkeypatch.setattr(loaded_set, "train_students", spy)
    soft = distilled(labels__kind="soft", distill__factor=2)
    # 40 decoded images with 10 classes in half precision are 800 bytes: 12.5 images of 64 pixels, 1.25 a class.
    assert soft.storage == pytest.approx(1 + 1.25)
    found = ncfm.score(soft, images, full_epochs=1)
    assert found.storage == 2
    assert found.synthetic.accuracies != found.synthetic_hard.accuracies
    assert len(asked) == 4  # two random sets, with augmentation and without
    for number, said in asked:
        assert number == 20
        torch.testing.assert_close(said.exp().sum(1), torch.ones(20))


def test_teachers_are_asked_of_random_images_too(distilled, images, monkeypatch):
    asked = []
    original = loaded_set.train_students

    def spy(train, *arguments, soft=None, **options):
        asked.append(soft)
        return original(train, *arguments, soft=soft, **options)

    monkeypatch.setattr(loaded_set, "train_students", spy)
    found = ncfm.score(distilled(), images, full_epochs=1, settings={"evaluate.labels": "teacher"})
    assert [type(soft) for soft in asked] == [TeacherTargets] * 4
    trained = ncfm.pretrain(images, recipe="none", settings=SETTINGS)
    assert {soft.fingerprint for soft in asked} == {content_hash(*trained.fingerprints)}
    assert "labels=teacher(T=1 weight=1)" in found.synthetic.protocol
    assert found.random.protocol == found.synthetic.protocol
    assert found.random_plain.protocol == found.synthetic_plain.protocol
    assert "labels" not in found.synthetic_hard.protocol
    assert "labels" not in found.full_hard.protocol
    assert found.storage == 1


def test_every_student_has_random_images_of_its_own(distilled, images, monkeypatch):
    seen = []
    original = loaded_set.train_students

    def spy(train, *arguments, **options):
        seen.append(train.images)
        return original(train, *arguments, **options)

    monkeypatch.setattr(loaded_set, "train_students", spy)
    ncfm.score(distilled(), images, full_epochs=1)
    first, second, *plain = seen
    assert not torch.equal(first, second)
    assert torch.equal(first, plain[0])  # the same choice with augmentation and without
    assert torch.equal(second, plain[1])


# --- continual learning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "steps", "expected"),
    [(10, 5, [2, 4, 6, 8, 10]), (10, 10, list(range(1, 11))), (10, 3, [4, 7, 10]), (7, 1, [7]), (5, 4, [2, 3, 4, 5])],
)
def test_steps_are_as_equal_as_can_be(classes, steps, expected):
    assert step_sizes(classes, steps) == expected


@pytest.mark.parametrize("steps", [0, 11])
def test_impossible_steps_are_told(steps):
    with pytest.raises(NcfmError, match=f"Expected 1 to 10 steps for 10 classes, got {steps}"):
        step_sizes(10, steps)


def test_classes_are_renumbered_in_their_order():
    images, labels = torch.arange(6.0).view(6, 1, 1, 1), torch.tensor([0, 0, 1, 2, 2, 3])
    kept, new = restrict(images, labels, torch.tensor([2, 0]))
    assert kept.flatten().tolist() == [0, 1, 3, 4]
    assert new.tolist() == [1, 1, 0, 0]


def test_a_step_learns_from_the_classes_seen_and_is_tested_on_them():
    labels = torch.arange(4).repeat_interleave(3)
    images = (labels * 10).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    memory, test = LabelledImages(images / 255, labels), ImageSplit.of(images.contiguous(), labels, 4)
    asked = []

    class Result:
        accuracies = (0.5,)

    def judge(train, tested, num_classes, run):
        asked.append((run, num_classes))
        order = class_order(4, run, 7)[:num_classes]
        # Label i of both splits is the i-th class that arrived.
        assert torch.equal((train.images[:, 0, 0, 0] * 25.5).round().long(), order[train.labels])
        assert torch.equal(tested.images[:, 0, 0, 0].long() // 10, order[tested.labels])
        assert tested.counts.tolist() == [3] * num_classes
        return Result

    found = learn_continually(memory, test, num_classes=4, steps=4, runs=2, seed=7, train_and_test=judge)
    assert asked == [(run, count) for count in (2, 3, 4) for run in range(2)]
    assert found.classes_seen == (1, 2, 3, 4)
    assert found.accuracies == ((1.0, 1.0), (0.5, 0.5), (0.5, 0.5), (0.5, 0.5))
    assert found.average.mean == pytest.approx(0.625)


def test_orders_differ_by_run_and_not_by_anything_else():
    orders = [class_order(10, run, 0) for run in range(4)]
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(orders[1], class_order(10, 1, 0))
    assert sorted(orders[0].tolist()) == list(range(10))


def test_a_memory_needs_all_classes():
    memory = LabelledImages(torch.zeros(2, 1, 4, 4), torch.tensor([0, 2]))
    with pytest.raises(NcfmError, match=r"no images of classes \[1\]"):
        learn_continually(memory, None, num_classes=3, steps=1, runs=1, seed=0, train_and_test=None)


def test_memories_are_compared_on_the_same_orders(distilled, images):
    found = ncfm.continual(distilled(), images, steps=2, methods=["random", "kcenter"])
    assert list(found) == ["set", "random", "kcenter"]
    assert all(result.classes_seen == (5, 10) and len(result.accuracies[0]) == 2 for result in found.values())
    again = ncfm.continual(distilled(), images, steps=2, methods=["random"])
    assert again["random"] == found["random"]


def test_the_last_step_is_an_ordinary_evaluation_of_the_set(distilled, images):
    # All classes seen, in another order: the same images and recipe.
    synthetic = distilled(evaluate__epochs=20)
    last = ncfm.continual(synthetic, images, steps=5, methods=[])["set"].curve[-1].mean
    assert last == pytest.approx(ncfm.evaluate(synthetic, images).accuracy_mean, abs=0.25)


def test_an_unknown_memory_is_told(distilled, images):
    with pytest.raises(NcfmError, match=r"Unknown memory 'randm'. Did you mean 'random'"):
        ncfm.continual(distilled(), images, methods=["randm"])


# --- architecture search ------------------------------------------------------------------------------------


def test_the_grid_leaves_out_what_the_image_is_too_small_for():
    assert convnet_grid([3, 4], [8, 16], ["batch", "none"], image_size=8) == [
        f"convnet3w{w}-{norm}" for w in (8, 16) for norm in ("batch", "none")
    ]


def test_impossible_grids_are_told():
    with pytest.raises(NcfmError, match="at least 3 networks for images of 8 px, got 1"):
        convnet_grid([3, 4], [8], ["none"], image_size=8)
    with pytest.raises(NcfmError, match="Unknown norm 'bach'"):
        convnet_grid([1], [8], ["bach"], image_size=8)


def test_the_choice_and_its_regret_by_hand():
    found = SearchResult(("a", "b", "c", "d"), (0.3, 0.5, 0.4, 0.1), (0.6, 0.7, 0.8, 0.2), 1.0, 2.0)
    assert found.networks[found.chosen] == "b"
    assert found.regret == pytest.approx(0.1)
    assert found.correlation.spearman.value == pytest.approx(0.8)  # ranks 2 4 3 1 and 2 3 4 1: 1 - 6 * 2 / 60


def test_networks_are_ranked_on_both(distilled, images):
    grid = ["convnet1w4", "convnet1w8", "mlp1w8"]
    found = ncfm.search(distilled(), images, networks=grid, full_epochs=1)
    assert found.networks == tuple(grid)
    assert found.proxy[1] == ncfm.evaluate(distilled(), images).accuracy_mean
    assert all(0 <= accuracy <= 1 for accuracy in found.full)
    assert found.proxy_seconds > 0
    assert found.full_seconds > 0


@pytest.mark.parametrize("method", ["herding", "rded"])
def test_memories_that_need_teachers_get_trained_ones(distilled, images, monkeypatch, method):
    synthetic, pools = distilled(), []
    original = loaded_set.select
    monkeypatch.setattr(
        loaded_set, "select", lambda name, real, pool, **o: (pools.append(pool), original(name, real, pool, **o))[1]
    )
    ncfm.continual(synthetic, images, steps=1, methods=[method], settings={"evaluate.runs": 1})
    (pool,) = pools
    assert pool.fingerprints == ncfm.pretrain(images, recipe="none", settings=SETTINGS).fingerprints


def test_a_search_asks_the_teachers_of_the_set(distilled, images, monkeypatch):
    asked = []
    original = search_workflow.evaluate_images
    monkeypatch.setattr(
        search_workflow,
        "evaluate_images",
        lambda *a, soft=None, **o: (asked.append(soft), original(*a, soft=soft, **o))[1],
    )
    grid = ["convnet1w4-instance", "convnet1w8-instance", "convnet2w4-instance"]
    ncfm.search(distilled(), images, networks=grid, full_epochs=1, settings={"evaluate.labels": "teacher"})
    assert [isinstance(soft, TeacherTargets) for soft in asked] == [True, False] * 3  # the full split has its labels


def test_a_selection_that_teachers_relabel_names_them():
    hard, taught = ({"teachers.epochs": 2, "evaluate.labels": labels} for labels in ("hard", "teacher"))
    variants = [
        variant_of("digits", 5, resolve_config("digits", 5, None, changes, None), method=METHODS["random"])
        for changes in (hard, taught)
    ]
    assert variants == ["", "teachers.epochs=2"]


@pytest.mark.parametrize(
    ("method", "changes", "variant"),
    [
        ("herding", {"teachers.epochs": 2}, "teachers.epochs=2"),
        ("kmeans", {"teachers.epochs": 2, "teachers.number": 7}, "teachers.epochs=2"),  # only the first one chooses
        ("rded", {"teachers.epochs": 2, "teachers.number": 7}, "teachers.number=7,teachers.epochs=2"),
        ("herding", {"teachers.extractor": "trained"}, ""),  # nothing is extracted by a blend
        ("mosaic", {"teachers.epochs": 2}, ""),
    ],
)
def test_a_selection_that_teachers_choose_names_what_determines_them(method, changes, variant):
    config = resolve_config("digits", 5, None, changes, None)
    assert variant_of("digits", 5, config, method=METHODS[method]) == variant


# --- leakage ------------------------------------------------------------------------------------------------


def test_the_test_split_leaks_into_nothing(images, settings, tmp_path, monkeypatch):
    """Poisoned test images: teachers, statistics, selections, the set and its soft labels must not notice."""
    poison = ImageSplit.of(
        torch.randint(0, 256, images.test.images.shape, dtype=torch.uint8, generator=rng(9)),
        images.test.labels,
        10,
    )
    poisoned = dataclasses.replace(images, test=poison)
    early = settings | {"distill.iterations": 8, "distill.early_stop_patience": 2, "labels.kind": "soft"}
    results = []
    for real, folder in ((images, "clean"), (poisoned, "poisoned")):
        monkeypatch.setenv("NCFM_CACHE", str(tmp_path / f"{folder} cache"))  # nothing is taken from the other
        pool = ncfm.pretrain(real, recipe="none", settings=early)
        made = ncfm.distill(real, ipc=2, recipe="none", settings=early, out=tmp_path / folder)
        chosen = [
            loaded_set.select(m, real, pool, ipc=2, factor=1, generator=rng(0)).images
            for m in ("herding", "kcenter", "kmeans", "rded")
        ]
        results.append((real.fingerprint, real.statistics, pool.fingerprint(0), made, chosen))
    clean, dirty = results
    assert clean[:3] == dirty[:3]
    assert clean[3].iterations == dirty[3].iterations
    assert torch.equal(clean[3].synthetic.images, dirty[3].synthetic.images)
    assert torch.equal(clean[3].synthetic.soft_labels.values, dirty[3].synthetic.soft_labels.values)
    assert all(torch.equal(a, b) for a, b in zip(clean[4], dirty[4], strict=True))
    # And the poison is seen where it should be: in what is measured.
    long, train = SETTINGS | {"evaluate.epochs": 30}, images.train.labelled()
    good, bad = (ncfm.evaluate(train, real, settings=long).accuracy_mean for real in (images, poisoned))
    assert good > bad + 0.1
