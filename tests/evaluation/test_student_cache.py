"""Students cached by content: nothing is trained twice, and every input has its own key."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ncfm._utils.types import LabelledImages, Whitening
from ncfm.evaluation import StudentCache, classroom, evaluate, get_protocol, students_key
from ncfm.synthetic.soft_labels import SoftTargets, TeacherTargets
from strategies import rng
from tiny import NETWORK, PROTOCOL, changed, grouped


@pytest.fixture
def judge(images, tmp_path):
    def evaluate_(protocol=PROTOCOL, *, reuse=True, key="a", **options):
        cache = StudentCache(key, folder=tmp_path / "students", describe=lambda: {"device": "here"}, reuse=reuse)
        return evaluate(
            images.train.labelled(),
            images.test,
            num_classes=10,
            statistics=images.statistics,
            protocol=protocol,
            network=NETWORK,
            cache=cache,
            **grouped("compute", **options),
        )

    return evaluate_


@pytest.fixture
def trained(monkeypatch):
    """Counts the students that are trained."""
    count = []
    original = classroom.fit

    def spy(*arguments, **options):
        count.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(classroom, "fit", spy)
    return count


def test_the_second_time_nothing_is_trained(judge, trained):
    first, again = judge(), judge()
    assert len(trained) == 2
    assert first == again
    assert all(student.conditions == {"device": "here"} for student in again.students)
    assert torch.equal(first.confusion, again.confusion)
    assert first.seconds == again.seconds > 0


def test_only_the_students_that_lack_are_trained(judge, trained):
    few_, more = judge(changed(num_runs=1)), judge(changed(num_runs=3))
    assert len(trained) == 3
    assert more.students[0] == few_.students[0]
    assert more.accuracies == judge(changed(num_runs=3), key="another").accuracies  # as if trained at once


def test_students_side_by_side_are_cached_too(judge, trained):
    together = judge(side_by_side=True)
    assert judge() == together
    assert trained == []


def test_fresh_students_are_trained_and_kept(judge, trained):
    judge()
    judge(reuse=False)
    assert len(trained) == 4
    judge()
    assert len(trained) == 4


def test_an_evaluation_that_was_stopped_goes_on(judge, trained, monkeypatch):
    def stop(epoch):
        if epoch == 4:  # the first epoch of the second student
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(on_epoch=stop)
    heard = []
    judge(on_epoch=heard.append)
    assert len(trained) == 3
    assert heard == [5, 6]  # of the second student, from where it was cut; the first one was done before


NO_STUDENT = '{"accuracies": ["x"], "confusion": []}'
# A number that JSON has and an int cannot be.
NO_LOOK = '{"accuracies": [], "confusion": [[1]], "calibration_error": 0, "seconds": 1, "conditions": {}}'
INFINITE = '{"accuracies": [0.5], "confusion": [[1e999]], "calibration_error": 0, "seconds": 1, "conditions": {}}'


@pytest.mark.parametrize(
    "text", ["", "{}", '{"accuracies": 3}', "not json", '{"accuracies": ["x"], "confusion": []}', INFINITE, NO_LOOK]
)
def test_a_damaged_file_is_trained_again(judge, trained, tmp_path, text):
    first = judge()
    (tmp_path / "students" / "a-1.json").write_text(text)
    assert judge().accuracies == first.accuracies
    assert len(trained) == 3


def test_a_folder_that_cannot_be_written_is_no_failure(judge, tmp_path):
    (tmp_path / "students").write_text("a file where the folder should be")
    assert len(judge().students) == 2


def key(images, train=None, test=None, **changes):
    facts = {"statistics": images.statistics, "protocol": PROTOCOL, "network": NETWORK, "seed": 0} | changes
    return students_key(images.train.labelled() if train is None else train, test or images.test, **facts)


def test_whatever_determines_a_student_is_in_the_key(images):
    x, y = images.train.labelled()
    whitening = Whitening(torch.zeros(64), torch.eye(64))
    soft = SoftTargets(torch.log_softmax(torch.randn(80, 10, generator=rng(0)), 1))
    teachers = TeacherTargets(lambda x: x, "these")
    shorter = dataclasses.replace(images.test, images=images.test.images[:-1], labels=images.test.labels[:-1])
    different = [
        key(images),
        key(images, LabelledImages(x * 0.99, y)),
        key(images, LabelledImages(x, y.flip(0))),
        key(images, test=shorter),
        key(images, network="convnet1w16"),
        key(images, seed=1),
        key(images, numerics="bfloat16"),
        key(images, statistics=images.statistics._replace(mean=(0.5,))),
        key(images, statistics=images.statistics._replace(whitening=whitening)),
        key(images, soft=soft),
        key(images, soft=soft._replace(temperature=2.0)),
        key(images, soft=soft._replace(weight=0.5)),
        key(images, soft=teachers),
        key(images, soft=teachers._replace(fingerprint="others")),
        key(images, soft=teachers._replace(temperature=2.0)),
        key(images, soft=teachers._replace(weight=0.5)),
        key(images, protocol=changed(looks=2)),
        *(key(images, protocol=changed(**change)) for change in ({"epochs": 4}, {"lr": 0.02}, {"augment": "none"})),
    ]
    assert len(set(different)) == len(different)


def test_what_does_not_determine_a_student_is_not(images):
    assert key(images, protocol=changed(num_runs=9)) == key(images)
    teachers = TeacherTargets(lambda x: x, "these")  # known by their content, not by the function that asks them
    assert key(images, soft=teachers._replace(relabel=lambda x: -x)) == key(images, soft=teachers)
    named = dataclasses.replace(get_protocol("quick"), name="another name")
    assert key(images, protocol=named) == key(images, protocol=get_protocol("quick"))
