"""Evaluation: the last epoch is the result, the test split is only measured on, and one seed is one number."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncfm._utils.types import LabelledImages
from ncfm.data.image_set import ImageSplit
from ncfm.data.levels import to_float
from ncfm.evaluation import PROTOCOLS, classroom, equal_steps
from ncfm.evaluation.looks import Look
from ncfm.training.fit import steps_per_epoch
from strategies import rng
from tiny import NETWORK, changed


def test_one_seed_is_one_result(judge):
    first, again, other = (judge(seed=seed) for seed in (3, 3, 4))
    assert first.accuracies == again.accuracies
    assert first.accuracies != other.accuracies
    assert len(set(first.accuracies)) == 2  # its two students are not one


def test_more_students_keep_the_first_ones(judge):
    assert judge(protocol=changed(num_runs=3)).accuracies[:2] == judge().accuracies


def test_the_result_describes_itself(judge):
    found = judge()
    assert (found.network, found.protocol, found.epochs, found.num_images) == (NETWORK, "tiny", 3, 80)
    assert len(found.accuracies) == len(found.best_accuracies) == 2
    assert found.seconds > 0
    assert found.accuracy_mean == found.interval.mean == pytest.approx(sum(found.accuracies) / 2)
    assert found.accuracy_std == found.interval.std
    assert found.accuracy_best_mean == pytest.approx(sum(found.best_accuracies) / 2)


def test_the_last_epoch_is_the_result_and_the_best_is_a_column_of_its_own(judge, monkeypatch):
    looks = iter([0.1, 0.9, 0.3, 0.2, 0.4, 0.5])
    monkeypatch.setattr(classroom, "measure", lambda *a: Look(next(looks), ((0,),), 0.0))
    found = judge(protocol=changed(looks=3))
    assert found.accuracies == (0.3, 0.5)
    assert found.best_accuracies == (0.9, 0.5)
    assert next(looks, None) is None


def test_with_one_look_best_and_last_agree(judge):
    found = judge()
    assert found.accuracies == found.best_accuracies


def test_looking_more_often_changes_nothing(judge):
    once, often = judge(), judge(protocol=changed(looks=3))
    assert once.accuracies == often.accuracies
    assert all(best >= last for best, last in zip(often.best_accuracies, often.accuracies, strict=True))


def test_an_untrained_student_guesses(judge):
    found = judge(protocol=changed(epochs=0, num_runs=6))
    assert 0.0 < found.accuracy_mean < 0.25  # chance is 0.1
    assert found.accuracies == found.best_accuracies


def test_a_set_with_shuffled_labels_is_worth_chance(judge, images):
    protocol = changed(epochs=15)
    good = judge(protocol=protocol).accuracy_mean
    labels = images.train.labels[torch.randperm(80, generator=rng(0))]
    shuffled = judge(LabelledImages(to_float(images.train.images), labels), protocol=protocol).accuracy_mean
    assert good > 0.6
    assert shuffled < 0.25  # chance is 0.1; the spread over labellings is about 0.05


def test_8_bit_and_float_images_are_the_same_set(judge, images):
    stored = judge(LabelledImages(images.train.images, images.train.labels))
    assert stored.accuracies == judge().accuracies


def test_the_test_split_is_only_measured_on(judge, images, monkeypatch):
    # Students must end with the same weights whatever the test split holds.
    weights = []

    def spy(student, stored, **options):
        weights.append({k: v.clone() for k, v in student.state_dict().items()})
        return torch.zeros(len(stored), 10)

    monkeypatch.setattr(classroom, "predict", spy)
    poison = ImageSplit.of(255 - images.test.images, images.test.labels.flip(0), 10)
    for test in (images.test, poison):
        judge(test=test, protocol=changed(looks=3), network=NETWORK + "-batch")
    clean, poisoned = weights[:6], weights[6:]
    assert len(poisoned) == 6
    for a, b in zip(clean, poisoned, strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(clean[0]["classifier.weight"], clean[1]["classifier.weight"])  # it does train


def test_the_order_of_the_test_split_does_not_matter(judge, images):
    order = torch.randperm(len(images.test), generator=rng(0))
    test = dataclasses.replace(images.test, images=images.test.images[order], labels=images.test.labels[order])
    assert judge(test=test).accuracies == pytest.approx(judge().accuracies, abs=1e-12)


def test_progress_is_told(judge):
    heard = []
    judge(on_epoch=heard.append)
    assert heard == [1, 2, 3, 4, 5, 6]  # 2 students of 3 epochs
    heard.clear()
    judge(on_epoch=heard.append, side_by_side=True)
    assert heard == [2, 4, 6]


# --- equal steps ------------------------------------------------------------------------------------------


def test_equal_steps_by_hand():
    # 400 epochs of 40 images in batches of 64 are 400 steps; 1347 images are 21 batches; 400 / 21 = 19.05.
    protocol = equal_steps(PROTOCOLS["quick"], num_images=1347, reference_images=40)
    assert protocol.recipe.epochs == 20
    assert dataclasses.replace(protocol.recipe, epochs=400) == PROTOCOLS["quick"].recipe
    # 400 epochs of 400 images in batches of 64 are 2400 steps; 50,000 images are 781 batches.
    assert equal_steps(PROTOCOLS["quick"], 50_000, 400).recipe.epochs == 4
    assert equal_steps(changed(epochs=1), 50_000, 10).recipe.epochs == 1  # at least one


@given(st.integers(1, 5000), st.integers(1, 500), st.integers(1, 50))
def test_equal_steps_are_at_least_and_hardly_more(num_images, reference, epochs):
    protocol = changed(epochs=epochs)
    wanted = epochs * steps_per_epoch(reference, protocol.recipe)
    each = steps_per_epoch(num_images, protocol.recipe)
    found = equal_steps(protocol, num_images, reference).recipe.epochs
    assert wanted <= found * each < wanted + each
