"""What `benchmarks.rows` says that a row would take: timed steps, along a line in real images and classes."""

from types import SimpleNamespace

import pytest
from benchmarks.records import PlannedRow
from benchmarks.rows import Shape, key_of, predict

from benchmarks import rows
from ncfm.results.files import Conditions, append_rows, read_rows
from ncfm.workflows.rows import find_row
from ncfm.workflows.timing import Stage


def test_shapes_are_those_of_the_whole_sets():
    assert Shape.of("cifar100") == Shape(100, 500, 32, 3)
    assert Shape.of("fashion-mnist") == Shape(10, 6000, 28, 1)
    assert Shape.of("imagewoof") == Shape(10, 1300, 128, 3)
    images = Shape(100, 3, 8, 1).images("x")
    assert (images.train.images.shape, images.num_classes) == ((30, 1, 8, 8), 10)


@pytest.mark.parametrize(
    ("name", "more", "real"),
    [("cifar10-ipc10-paper", 1, 1024), ("cifar100-ipc10-paper", 10, 500), ("fashion-mnist-ipc10", 1, 64)],
)
def test_steps_are_multiplied_along_a_line(monkeypatch, name, more, real):
    asked = []

    def plan(images, *, ipc, recipe, settings, steps):
        asked.append(settings["distill.real_batch_per_class"])
        seconds = 2 + 0.01 * asked[-1]
        stages = (Stage("teachers", "epoch", 7, 3.0), Stage("distilling", "iteration", 9, seconds))
        return SimpleNamespace(stages=(*stages, Stage("students", "epoch", 5, 0.5)))

    monkeypatch.setattr(rows, "plan", plan)
    row = find_row(name)
    config = rows.resolve_config(row.data, row.ipc, name, None, None)
    made = predict(row, 1)
    assert asked == ([256, 64] if real > 256 else [64])
    assert made.distill_seconds == pytest.approx(config.distill.iterations * more * (2 + 0.01 * real))
    assert made.teacher_seconds == pytest.approx(3.0 * more * config.teachers.number * config.teachers.epochs)
    assert made.evaluate_seconds == pytest.approx(5 * 0.5 * more)


def test_subsets_of_imagenet_take_as_long_as_each_other():
    keys = {name: key_of(find_row(f"{name}-ipc10-paper")) for name in ("imagewoof", "imagemeow", "cifar10")}
    assert keys["imagewoof"] == keys["imagemeow"] != keys["cifar10"]


def test_what_was_timed_on_this_machine_is_not_timed_again(monkeypatch, tmp_path):
    timed = []

    def predict(row, threads):
        timed.append(row.name)
        return planned(row.name, distill_seconds=7.0, threads=threads)

    def planned(name, **values):
        numbers = {"training_images": 10, "teacher_seconds": 1.5, "distill_seconds": 2.0, "evaluate_seconds": 3.0}
        conditions = {"device": "this", "threads": 1, "command": "c", "commit": "a", "date": "d"}
        return PlannedRow(**{"row": name, **numbers, **conditions, **values})

    monkeypatch.setattr(rows, "predict", predict)
    monkeypatch.setattr(rows, "committed_row", lambda name: None)
    monkeypatch.setattr(rows.Conditions, "here", lambda device: Conditions("this", 9, 0.0, "", "", ""))
    monkeypatch.setattr("sys.argv", ["rows", "--only", "imagew", "--results", str(tmp_path / "planned.csv")])
    before = [
        planned("imagewoof-ipc1"),
        planned("imagewoof-ipc10", device="other"),
        planned("imagewoof-ipc10-paper", threads=2),
    ]
    append_rows(tmp_path / "planned.csv", before)
    rows.main()
    assert timed == ["imagewoof-ipc1-paper", "imagewoof-ipc10", "imagewoof-ipc10-paper"]
    rows.main()
    assert len(timed) == 3
    monkeypatch.setattr("sys.argv", ["rows", "--only", "imagemeow", "--results", str(tmp_path / "planned.csv")])
    rows.main()
    assert len(timed) == 3  # as long as imagewoof's
    told = {row["row"]: row["distill_seconds"] for row in read_rows(tmp_path / "planned.csv")[len(before) :]}
    assert told["imagemeow-ipc1"] == "2"
    assert told["imagemeow-ipc10"] == told["imagewoof-ipc10"] == "7"
