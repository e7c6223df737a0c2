"""The benchmark behind the weights of `ncfm compare`: what it calls the length of a gradient."""

from __future__ import annotations

import pytest
from benchmarks.weights import gradient_norms

from ncfm._utils.progress import Silent
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.distillation.objectives import MeanMatching
from ncfm.workflows.preparation import prepare, train_teachers


def norms(**settings):
    common = {"teachers.number": 1, "teachers.epochs": 1, "teachers.network": "convnet1w8", "frequencies.number": 32}
    config = make_config(nest({**common, "distill.real_batch_per_class": 8, "machine.threads": 1, **settings}))
    images, machine = prepare("digits", config, None)
    pool = train_teachers(images, config, machine, Silent())
    return gradient_norms(images, pool, config, machine, ipc=1, iterations=3)


def test_there_is_a_norm_for_every_iteration_whatever_the_weights_are():
    plain = norms()
    assert len(plain) == 3
    assert min(plain) > 0
    assert norms(**{"distill.matching_weight": 35.0, "distill.calibration_weight": 0.0}) == plain


def test_the_norm_is_that_of_the_objective(monkeypatch):
    # A discrepancy that is the sum of the features' squares over 2: twice as large, its gradient is twice as long.
    def of(factor):
        monkeypatch.setattr(
            MeanMatching,
            "discrepancy",
            lambda self, real, synthetic, rng: factor * synthetic.square().sum((-2, -1)) / 2,
        )
        return norms(**{"objective.name": "mean", "distill.normalize_features": False})[0]

    assert of(2.0) == pytest.approx(2 * of(1.0), rel=1e-4)
