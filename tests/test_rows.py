"""What `benchmarks.rows` says that a row would take: timed steps, along a line in real images and classes."""

import pytest
from benchmarks import rows
from benchmarks.rows import Shape, key_of, predict

from ncfm.planning import Plan, Stage
from ncfm.reproduction import find_row


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
        return Plan((*stages, Stage("students", "epoch", 5, 0.5)), 1.0, None, None, "cpu", 1)

    monkeypatch.setattr(rows, "plan", plan)
    row = find_row(name)
    config = rows.resolve_config(row.data, row.ipc, name, None, None)
    made = predict(row, 1)
    assert asked == ([64, 32] if real > 64 else [64])
    assert made.distill_seconds == pytest.approx(config.distill.iterations * more * (2 + 0.01 * real))
    assert made.teacher_seconds == pytest.approx(3.0 * more * config.teachers.number * config.teachers.epochs)
    assert made.evaluate_seconds == pytest.approx(5 * 0.5 * more)


def test_subsets_of_imagenet_take_as_long_as_each_other():
    keys = {name: key_of(find_row(f"{name}-ipc10-paper")) for name in ("imagewoof", "imagemeow", "cifar10")}
    assert keys["imagewoof"] == keys["imagemeow"] != keys["cifar10"]
