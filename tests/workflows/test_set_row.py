"""The row of an evaluated set, and that it stands once in a results file."""

import torch

import ncfm
from ncfm.results.files import append_rows, read_rows
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.set_row import row_of_set
from tiny import few

SETTINGS = {"evaluate.network": "convnet1w8", "evaluate.epochs": 1, "evaluate.runs": 2, "machine.kernels": "off"}


def test_a_set_whose_scores_could_not_be_kept_has_one_row(digits, tmp_path):
    real = few(digits)
    images = real.train.labelled().images[:: len(real.train) // 10][:10, None]
    made = SyntheticSet(images, real.class_names, real.statistics, facts={"data": real.name})
    for _ in range(2):  # students are trained again, as the cache was not written
        evaluation = ncfm.evaluate(made, real, settings=SETTINGS, fresh=True)
        append_rows(tmp_path / "rows.csv", [row_of_set(made, evaluation, real.name, settings=SETTINGS)])
    (row,) = read_rows(tmp_path / "rows.csv")
    assert row["num_runs"] == "2"
    assert float(row["accuracy_mean"]) == float(f"{evaluation.accuracy_mean:.6g}")
    assert torch.equal(evaluation.confusion.sum(), torch.tensor(2 * len(real.test)))


def test_a_row_has_the_mean_accuracy_of_the_teachers_that_a_set_records(digits):
    real = few(digits)
    images = real.train.labelled().images[:: len(real.train) // 10][:10, None]
    evaluation = None
    for facts, expected in (({"teacher_accuracies": [0.5, 0.75]}, 0.625), ({}, None)):
        made = SyntheticSet(images, real.class_names, real.statistics, facts={"data": real.name} | facts)
        evaluation = evaluation or ncfm.evaluate(made, real, settings=SETTINGS | {"evaluate.runs": 1})
        assert row_of_set(made, evaluation, real.name, settings=SETTINGS).teacher_accuracy == expected
