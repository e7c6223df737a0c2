"""A training that is cut and taken up again is the training that was never cut."""

import pytest
import torch

from ncfm._utils.compute import Compute
from ncfm._utils.types import LabelledImages
from ncfm.distillation import Interrupted
from ncfm.evaluation import Protocol, StudentCache, classroom, evaluate
from ncfm.networks import create_network
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.fit import fit
from ncfm.training.recipe import TrainingRecipe, make_optimizer
from strategies import rng


def train(digits, path, optimizer, stop_after=None, network="convnet1w8-batch"):
    module = create_network(network, channels=1, num_classes=10, image_size=8, seed=0)
    seen = []

    def after(epoch):
        seen.append(epoch)
        if epoch == stop_after:
            raise KeyboardInterrupt

    recipe = TrainingRecipe(epochs=4, optimizer=optimizer, lr=0.01, batch_size=32, schedule="one-cycle", augment="crop")
    images, labels = digits.train.images[:200], digits.train.labels[:200]
    kept = None if path is None else TrainingCheckpoint(path, seconds=0)
    fit(module, images, labels, recipe=recipe, statistics=digits.statistics, generator=rng(1), after_epoch=after,
        checkpoint=kept)  # fmt: skip
    return module.state_dict(), seen


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_cut_and_taken_up_again_equals_never_cut(digits, tmp_path, optimizer):
    path = tmp_path / "unfinished.safetensors"
    whole, _ = train(digits, None, optimizer)
    with pytest.raises(KeyboardInterrupt):
        train(digits, path, optimizer, stop_after=2)
    assert path.is_file()
    resumed, seen = train(digits, path, optimizer)
    assert seen == [3, 4]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not path.exists()


def test_a_damaged_or_foreign_state_counts_as_none(digits, tmp_path):
    path = tmp_path / "unfinished.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(digits, path, "sgd", stop_after=2)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert train(digits, path, "sgd")[1] == [1, 2, 3, 4]
    path.write_bytes(content)
    assert train(digits, path, "sgd", network="convnet1w8")[1] == [1, 2, 3, 4]


# --- students -------------------------------------------------------------------------------------------------


def judge(digits, folder, stop_after=None, *, reuse=True, together=False, looks=2):
    """Two students of 4 epochs with some looks each; stopped after so many epochs of both together."""
    seen = []

    def on_epoch(done):
        seen.append(done)
        if done == stop_after:
            raise Interrupted("enough")

    recipe = TrainingRecipe(epochs=4, optimizer="sgd", lr=0.01, batch_size=32, schedule="constant", augment="crop")
    protocol = Protocol("tiny", recipe, num_runs=2, looks=looks)
    train = LabelledImages(digits.train.images[:100], digits.train.labels[:100])
    result = evaluate(
        train,
        digits.test,
        num_classes=10,
        statistics=digits.statistics,
        protocol=protocol,
        network="convnet1w8-batch",
        cache=StudentCache("key", folder=folder, reuse=reuse),
        on_epoch=on_epoch,
        compute=Compute(side_by_side=together),
    )
    return result, seen


# Before and after a look, at a student's end, and in the second one.
@pytest.mark.parametrize("stop_after", [1, 2, 3, 4, 6])
def test_students_that_were_cut_go_on(digits, tmp_path, stop_after):
    whole, _ = judge(digits, tmp_path / "whole")
    with pytest.raises(Interrupted):
        judge(digits, tmp_path / "cut", stop_after)
    assert len(list((tmp_path / "cut").glob("unfinished-*"))) == 1
    resumed, seen = judge(digits, tmp_path / "cut")
    assert [done for done in seen if done > stop_after] == list(range(stop_after + 1, 9))
    for one, other in zip(whole.students, resumed.students, strict=True):
        assert one.accuracies == other.accuracies
        assert len(other.accuracies) == 2
        assert one.confusion == other.confusion
        assert one.calibration_error == other.calibration_error
    assert not list((tmp_path / "cut").glob("unfinished-*"))


# In the first look of a student, in its last one, and in that of the second student.
@pytest.mark.parametrize(("looks", "cut_in"), [(2, 1), (2, 2), (1, 1), (1, 2)])
@pytest.mark.parametrize("together", [False, True])
def test_students_that_were_cut_within_a_look_look_again(digits, tmp_path, monkeypatch, looks, cut_in, together):
    whole, _ = judge(digits, tmp_path / "whole", together=together, looks=looks)
    predict, calls = classroom.predict, []

    def cut(*arguments, **options):
        calls.append(1)
        if len(calls) == cut_in:
            raise KeyboardInterrupt
        return predict(*arguments, **options)

    monkeypatch.setattr(classroom, "predict", cut)
    with pytest.raises(KeyboardInterrupt):
        judge(digits, tmp_path / "cut", together=together, looks=looks)
    resumed, _ = judge(digits, tmp_path / "cut", together=together, looks=looks)
    assert [one.accuracies for one in resumed.students] == [one.accuracies for one in whole.students]
    assert all(len(one.accuracies) == looks for one in resumed.students)


# Before and after the first look, after the last epoch.
@pytest.mark.parametrize("stop_after", [2, 4, 8])
def test_students_side_by_side_that_were_cut_go_on(digits, tmp_path, stop_after):
    whole, _ = judge(digits, tmp_path / "whole", together=True)
    with pytest.raises(Interrupted):
        judge(digits, tmp_path / "cut", stop_after, together=True)
    assert len(list((tmp_path / "cut").glob("unfinished-*"))) == 1
    resumed, seen = judge(digits, tmp_path / "cut", together=True)
    assert seen == list(range(stop_after + 2, 9, 2))
    for one, other in zip(whole.students, resumed.students, strict=True):
        assert one.accuracies == other.accuracies
        assert len(other.accuracies) == 2
        assert one.confusion == other.confusion
    assert not list((tmp_path / "cut").glob("unfinished-*"))


def test_fresh_students_do_not_go_on(digits, tmp_path):
    with pytest.raises(Interrupted):
        judge(digits, tmp_path, 3)
    _, seen = judge(digits, tmp_path, reuse=False)
    assert seen == list(range(1, 9))


def test_seconds_of_earlier_sittings_are_counted(digits, tmp_path, monkeypatch):
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0
        return now

    path = tmp_path / "unfinished.safetensors"
    monkeypatch.setattr("ncfm.training.checkpoint.time.monotonic", clock)
    with pytest.raises(KeyboardInterrupt):
        train(digits, path, "sgd", stop_after=2)
    kept = TrainingCheckpoint(path)
    module = create_network("convnet1w8-batch", channels=1, num_classes=10, image_size=8, seed=0)
    recipe = TrainingRecipe(epochs=4, optimizer="sgd", lr=0.01, batch_size=32, schedule="constant")
    assert kept.resume(module, *make_optimizer(recipe, module, 28), rng()) == 2
    assert kept.earlier > 1
