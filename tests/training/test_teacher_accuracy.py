"""The accuracy of teachers: that of their predictions on the test split, measured once."""

import dataclasses

import pytest

from ncfm.training import teacher_accuracy
from ncfm.training.fit import predict
from ncfm.training.teacher_accuracy import teacher_accuracies
from tiny import few, random_pool


def test_it_is_the_share_of_right_predictions(digits):
    pool = random_pool(digits, number=3)
    found = teacher_accuracies(pool, digits)
    for index, value in enumerate(found):
        logits = predict(pool.trained(index), digits.test.images, statistics=pool.statistics)
        right = sum(int(row.argmax()) == int(label) for row, label in zip(logits, digits.test.labels, strict=True))
        assert value == pytest.approx(right / len(digits.test), abs=1e-12)
    assert len(set(found)) > 1


def test_each_is_measured_once(digits, monkeypatch):
    asked, measured = [], teacher_accuracy._measured
    monkeypatch.setattr(teacher_accuracy, "_measured", lambda *a: asked.append(a[1]) or measured(*a))
    images = few(digits)
    first = teacher_accuracies(random_pool(images, number=2), images)
    larger = teacher_accuracies(random_pool(images, number=3), images)
    assert asked == [0, 1, 2]
    assert larger[:2] == first
    other_test = dataclasses.replace(images, test=digits.train)
    assert teacher_accuracies(random_pool(images, number=1), other_test) != first[:1]
    assert asked == [0, 1, 2, 0]


def test_without_a_test_split_there_is_none(digits):
    assert teacher_accuracies(random_pool(digits), dataclasses.replace(digits, test=None)) == ()
