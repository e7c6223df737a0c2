"""Callbacks of a run: when their hooks are called, what they may do, and what their failures leave behind."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from ncfm._utils.checks import NcfmError
from ncfm._utils.distributed import Ranks
from ncfm._utils.files import write_text
from ncfm.distillation import Budget, Callback, Interrupted, Run, RunControl
from ncfm.distillation.checkpoint import CHECKPOINT_FILE
from ncfm.distillation.history import METRICS_FILE
from ncfm.distillation.snapshots import snapshot_iterations
from ncfm.synthetic.image_grid import save_image_grid
from tiny import make_step, random_pool

HOOKS = ("on_start", "after_iteration", "before_save", "on_save", "on_end", "close")


class Recorder(Callback):
    """Notes its hooks with the iteration, and fails in one of them."""

    def __init__(self, fails_in=None):
        self.heard, self.fails_in, self.run = [], fails_in, None

    def note(self, hook):
        self.heard.append((hook, self.run.progress.iteration))
        if self.fails_in == self.heard[-1]:
            raise RuntimeError(f"no {hook}")

    def on_start(self, run):
        self.run = run
        self.note("on_start")

    def after_iteration(self, run, record):
        assert set(record._asdict()) == {"discrepancy", "calibration", "amplitude", "phase", "criterion"}
        self.note("after_iteration")

    def before_save(self, run):
        self.note("before_save")

    def on_save(self, run, folder):
        assert folder == run.control.folder
        self.note("on_save")

    def on_end(self, run):
        self.note("on_end")

    def close(self):
        self.note("close")


@pytest.fixture
def play(images):
    """Run the iterations of a new step; its `Run`."""
    pool = random_pool(images)

    def run(*callbacks, iterations=3, seconds=1e9, **options):
        control = RunControl(checkpoint_seconds=seconds, callbacks=callbacks, **options)
        played = Run(make_step(images, pool), control, num_classes=10)
        played.play(Budget(iterations=iterations, image_lr=0.01, image_schedule="constant"))
        return played

    return run


def saved_iteration(folder):
    with safe_open(folder / CHECKPOINT_FILE, framework="pt") as file:
        return json.loads(file.metadata()["progress"])["iteration"]


# --- when hooks are called ----------------------------------------------------------------------------------


def test_hooks_come_in_order(play, tmp_path):
    recorder = Recorder()
    play(recorder, iterations=2, folder=tmp_path)
    assert recorder.heard == [
        ("on_start", 0),
        *(("after_iteration", i) for i in (1, 2)),
        *((hook, 2) for hook in ("on_end", "before_save", "on_save", "close")),
    ]


def test_each_checkpoint_is_preceded_by_its_hooks(play, tmp_path):
    recorder = Recorder()
    play(recorder, iterations=2, seconds=0, folder=tmp_path)
    saved = [i for hook, i in recorder.heard if hook == "on_save"]
    assert saved == [i for hook, i in recorder.heard if hook == "before_save"] == [1, 2, 2]


def test_without_a_folder_nothing_is_saved_but_checked(play):
    recorder = Recorder()
    play(recorder, iterations=1)
    assert [hook for hook, _ in recorder.heard] == ["on_start", "after_iteration", "on_end", "before_save", "close"]


def test_callbacks_are_called_in_the_order_given_after_the_metrics(play):
    heard = []

    class Named(Callback):
        def __init__(self, name):
            self.name = name

        def after_iteration(self, run, record):
            heard.append((self.name, run.history.entries[-1]["iteration"]))

    play(Named("a"), Named("b"), iterations=2, log_every=1)
    assert heard == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_a_callback_without_hooks_does_nothing(play):
    class Nothing(Callback):
        pass

    assert torch.equal(play(Nothing()).images(), play().images())


def test_callbacks_change_no_image(play, tmp_path):
    watched = play(Recorder(), seconds=0, folder=tmp_path, diagnose_every=1, log_every=1)
    assert torch.equal(watched.images(), play().images())


def test_a_resumed_run_starts_at_its_checkpoint(play, tmp_path):
    play(iterations=2, folder=tmp_path)
    recorder = Recorder()
    play(recorder, iterations=3, folder=tmp_path, resume=True)
    assert recorder.heard[:2] == [("on_start", 2), ("after_iteration", 3)]


# --- what callbacks may do ----------------------------------------------------------------------------------


class Pictures(Callback):
    """The example of the documentation."""

    def __init__(self, folder, class_names, every=100):
        self.folder, self.class_names, self.every = folder, class_names, every

    def after_iteration(self, run, record):
        iteration = run.progress.iteration
        if iteration % self.every:
            return
        images = run.images().cpu()
        if run.ranks.is_main:
            save_image_grid(self.folder / f"{iteration:06d}.png", images, self.class_names)


def test_pictures_every_so_many_iterations(play, images, tmp_path):
    played = play(Pictures(tmp_path, images.class_names, every=2), iterations=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000002.png", "000004.png"]
    save_image_grid(tmp_path / "end.png", played.images(), images.class_names)
    pictures = [Image.open(tmp_path / name).tobytes() for name in ("000002.png", "000004.png", "end.png")]
    assert len(set(pictures)) == 3  # the images of its iteration


@pytest.mark.parametrize("folder", [True, False])
def test_a_callback_may_stop_the_run(play, tmp_path, folder):
    class StopAt2(Recorder):
        def after_iteration(self, run, record):
            super().after_iteration(run, record)
            if run.progress.iteration == 2:
                run.request_stop()

    recorder, options = StopAt2(), {"folder": tmp_path} if folder else {}
    with pytest.raises(Interrupted, match="after iteration 2 of 9"):
        play(recorder, iterations=9, **options)
    assert [hook for hook, _ in recorder.heard[-3:]] == (
        ["before_save", "on_save", "close"] if folder else ["after_iteration", "before_save", "close"]
    )
    assert not folder or saved_iteration(tmp_path) == 2


def test_files_written_later_come_before_the_checkpoint(play, tmp_path):
    heard = []

    class Later(Callback):
        def after_iteration(self, run, record):
            run.write_later(partial(self.write, run.progress.iteration))

        def write(self, iteration):
            heard.append((iteration, saved_iteration(tmp_path) if (tmp_path / CHECKPOINT_FILE).exists() else 0))
            write_text(tmp_path / "mine.txt", str(iteration))

    play(Later(), iterations=3, seconds=0, folder=tmp_path)
    assert heard == [(1, 0), (2, 1), (3, 2)]
    assert (tmp_path / "mine.txt").read_text() == "3"
    play(Later(), iterations=1)  # without a folder
    assert len(heard) == 3


def test_only_the_first_rank_writes_later(images, tmp_path):
    run = Run(make_step(images, random_pool(images)), RunControl(folder=tmp_path), ranks=Ranks(1, 2), num_classes=10)
    run.write_later(lambda: None)
    assert run._checkpointing._queue == []


# --- failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS[1:])
def test_an_exception_ends_the_run_and_closes_all(play, tmp_path, hook):
    fails, other = Recorder(fails_in=(hook, 3)), Recorder()
    with pytest.raises(RuntimeError, match=f"no {hook}"):
        play(fails, other, iterations=3, seconds=0, folder=tmp_path)
    assert [name for name, _ in other.heard].count("close") == [name for name, _ in fails.heard].count("close") == 1
    # The iteration was checkpointed before its end; what fails earlier keeps the checkpoint before.
    assert saved_iteration(tmp_path) == (3 if hook in ("on_end", "close") else 2)


def test_what_failed_is_made_up_for_by_a_resumed_run(play, tmp_path):
    straight = play(iterations=5, folder=tmp_path / "straight", log_every=1)
    with pytest.raises(RuntimeError, match="no before_save"):
        play(Recorder(("before_save", 4)), iterations=5, seconds=0, folder=tmp_path / "cut", log_every=1)
    resumed = play(iterations=5, folder=tmp_path / "cut", log_every=1, resume=True)
    assert torch.equal(resumed.images(), straight.images())
    assert snapshot_iterations(tmp_path / "cut") == snapshot_iterations(tmp_path / "straight") == [0, 1, 2, 3, 4, 5]
    entries = [json.loads(line)["iteration"] for line in (tmp_path / "cut" / METRICS_FILE).read_text().splitlines()]
    assert entries == [1, 2, 3, 4, 5]


# --- control ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True}, "resume needs the folder"),
        ({"checkpoint_seconds": -1.0}, "checkpoint_seconds must be at least 0, got -1"),
        ({"checkpoint_seconds": float("nan")}, "checkpoint_seconds must be at least 0"),
        ({"log_every": 0}, "log_every must be at least 1, got 0"),
        ({"diagnose_every": 0}, "diagnose_every must be at least 1, got 0"),
    ],
)
def test_wrong_controls_are_refused(options, message):
    with pytest.raises(NcfmError, match=message):
        RunControl(**options)


def test_only_a_resumed_run_has_a_folder_to_resume(tmp_path):
    assert RunControl(folder=tmp_path).resumed_folder is None
    assert RunControl(folder=tmp_path, resume=True).resumed_folder == tmp_path
