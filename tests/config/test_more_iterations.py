"""More iterations for a run: as if it had been longer where the schedule allows it, else said."""

from __future__ import annotations

import json
import warnings

import pytest
import torch

import ncfm
from ncfm._utils.checks import InputError
from ncfm.distillation.checkpoint import saved_progress
from ncfm.synthetic.folders import SCORES_FILE
from tiny import SETTINGS

CONSTANT = {"distill.image_schedule": "constant"}
MTT = {"objective.name": "mtt", "trajectory.experts": 1, "trajectory.epochs": 3, "trajectory.start_high": 1}
MTT |= {"trajectory.student_steps": 2, "trajectory.correct_start": False, "distill.augment": "flip"}


@pytest.fixture
def distil(images, tmp_path):
    def run(iterations, name="run", *, resume=False, **more):
        settings = SETTINGS | {"distill.iterations": iterations} | {k.replace("__", "."): v for k, v in more.items()}
        return ncfm.distill(images, ipc=1, recipe="none", settings=settings, out=tmp_path / name, resume=resume)

    return run


@pytest.mark.parametrize("method", [{}, MTT], ids=["ncfd", "mtt"])
def test_a_finished_run_with_a_constant_rate_goes_on_as_if_it_had_been_longer(distil, tmp_path, method):
    settings = {key.replace(".", "__"): value for key, value in (CONSTANT | method).items()}
    short = distil(2, **settings)
    longer, whole = distil(5, resume=True, **settings), distil(5, "whole", **settings)
    assert longer.iterations == whole.iterations == 5
    assert torch.equal(longer.synthetic.images, whole.synthetic.images)
    assert not torch.equal(longer.synthetic.images, short.synthetic.images)
    stored = ncfm.load(tmp_path / "run")
    assert torch.equal(stored.images, whole.synthetic.images)
    assert stored.facts["variant"] == whole.synthetic.facts["variant"]
    assert stored.facts["iterations_raised_at"] == [2]
    assert stored.facts["config"]["distill"]["iterations"] == 5


def test_a_schedule_that_ends_goes_on_where_the_longer_one_is(distil, tmp_path):
    distil(2)  # cosine
    said = (
        r"had 2 iterations and goes on after 2 to 4. Its learning rate goes from 0.0015 to 0.0031, where the cosine "
        "schedule of 4 iterations is at this point, so the result is not that of a run of 4 from the start"
    )
    with pytest.warns(UserWarning, match=said):
        longer = distil(4, resume=True)
    assert longer.iterations == 4
    assert longer.synthetic.facts["variant"].endswith("iterations_raised_at=2")
    with pytest.warns(UserWarning, match="goes on after 4 to 6"):
        again = distil(6, resume=True)
    assert again.synthetic.facts["variant"].endswith("iterations_raised_at=2+4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is raised this time
        assert distil(6, resume=True).synthetic.facts["iterations_raised_at"] == [2, 4]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["iterations_raised_at"] == [2, 4]
    assert saved_progress(tmp_path / "run").iteration == 6


def test_an_interrupted_run_is_given_more(distil, images, tmp_path):
    settings = SETTINGS | CONSTANT

    def stop(run, record):
        if run.progress.iteration == 1:
            run.request_stop()

    from ncfm.distillation.callbacks import EarlyStopping

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EarlyStopping, "after_iteration", lambda self, run, record: stop(run, record))
        with pytest.raises(ncfm.Interrupted):
            ncfm.distill(images, ipc=1, recipe="none", settings=settings, out=tmp_path / "run")
    longer = distil(4, resume=True, distill__image_schedule="constant")
    assert torch.equal(longer.synthetic.images, distil(4, "whole", distill__image_schedule="constant").synthetic.images)
    assert longer.synthetic.facts["iterations_raised_at"] == [1]


def test_fewer_iterations_are_refused(distil, tmp_path):
    distil(3)
    before = (tmp_path / "run" / "config.json").read_text()
    said = r"config.distill.iterations was 3, now 2\); give the same ones or more iterations"
    with pytest.raises(InputError, match=said):
        distil(2, resume=True)
    with pytest.raises(InputError, match=r"config.seed was 0, now 1\)"):  # more iterations, but not they alone
        distil(4, resume=True, seed=1)
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_a_run_that_stopped_early_is_not_given_more(distil):
    first = distil(60, distill__early_stop_patience=1)
    assert first.stopped_early
    said = rf"stopped early after {first.iterations} iterations \(distill.early_stop_patience\) and would again"
    with pytest.raises(InputError, match=said):
        distil(70, resume=True, distill__early_stop_patience=1)


def test_scores_stay_with_the_images_that_they_are_of(distil, images, tmp_path):
    run, settings = tmp_path / "run", {"distill__image_schedule": "constant"}
    distil(2, **settings)
    scores = [{"accuracy_mean": 0.5, "accuracy_std": 0.0, "accuracies": [0.5], "network": "n", "protocol": "p"}]
    (run / SCORES_FILE).write_text(json.dumps(scores))
    distil(2, resume=True, **settings)  # the same images
    assert len(ncfm.load(run).scores) == 1
    distil(3, resume=True, **settings)
    assert ncfm.load(run).scores == ()
    assert json.loads((run / "scores-after-2-iterations.json").read_text()) == scores
