"""The loop: reproducible, resumable to the bit, honest about losses that break, and it lowers what it minimises."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
import warnings

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import warm
from ncfm._utils.checks import NcfmError, RunError
from ncfm._utils.seeding import generator
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalize
from ncfm.discrepancy import gaussian_mmd, mean_gap
from ncfm.discrepancy.frequencies import GaussianFrequencies, ScaleMixtureFrequencies
from ncfm.distillation import Interrupted, MinMaxStep, step_memory
from ncfm.distillation import distribution_matching as loop
from ncfm.distillation import runner as running
from ncfm.distillation.budget import Budget
from ncfm.distillation.calibration import Calibration
from ncfm.distillation.callback import Callback
from ncfm.distillation.checkpoint import CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE, Checkpoint, Progress
from ncfm.distillation.history import METRICS_FILE
from ncfm.distillation.interruption import stop_requests
from ncfm.distillation.objectives import CharacteristicMatching, MeanMatching
from ncfm.distillation.real_batch import RealBatches
from ncfm.distillation.synthetic_batch import SyntheticBatch
from ncfm.networks.features import FeatureExtractor
from ncfm.synthetic.formation import MODES, decoded_ipc
from ncfm.synthetic.initialization import INITS
from strategies import rng
from tiny import WIDTH, distill, mixture

# A new objective is put here and is under every property below that takes one.
OBJECTIVES = {
    "mixture": lambda: mixture(64),
    "gaussian": lambda: CharacteristicMatching(GaussianFrequencies(WIDTH, 64)),
    "mean": MeanMatching,
}
every_objective = pytest.mark.parametrize("build", OBJECTIVES.values(), ids=OBJECTIVES.keys())


class Scripted(MeanMatching):
    """An objective that says what it is told; the gradient is zero, or not finite as the value is."""

    def __init__(self, *values):
        self.values = list(values)

    def discrepancy(self, real, synthetic, generator):
        value = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        return (synthetic.sum((1, 2)) * 0 + 1) * value


@pytest.fixture
def run(images, pool):
    def play(objective=None, **options):
        objective = mixture(16) if objective is None else objective
        return distill(images, pool, objective, **{"ipc": 1, "iterations": 3, "real_batch_per_class": 2} | options)

    return play


def without_seconds(entries):
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in entries]


def metrics_of(folder):
    return [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]


def progress_of(folder):
    with safe_open(folder / CHECKPOINT_FILE, framework="pt") as file:
        return json.loads(file.metadata()["progress"])


def same_tensors(a, b):
    a, b = (load_file(folder / CHECKPOINT_FILE) for folder in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def interrupt_at(iteration):
    """What a person does with Ctrl-C while this iteration runs."""
    return lambda i, _: os.kill(os.getpid(), signal.SIGINT) if i == iteration else None


# --- the result ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("init", INITS)
def test_every_start_and_formation_runs(run, images, init, mode):
    result = run(ipc=2, iterations=2, init=init, mode=mode, bound=5)
    synthetic = result.synthetic
    m = decoded_ipc(2, 2, mode, 5)
    assert synthetic.images.shape == result.start.images.shape == (10, 2, 1, 8, 8)
    assert synthetic.decoded().images.shape == (10 * m, 1, 8, 8)
    assert synthetic.decoded().labels.tolist() == [c for c in range(10) for _ in range(m)]
    assert synthetic.class_names == images.class_names
    assert synthetic.statistics == images.statistics
    assert not synthetic.images.requires_grad
    assert float(synthetic.images.min()) >= 0
    assert float(synthetic.images.max()) <= 1
    assert not torch.equal(synthetic.images, result.start.images)
    assert result.iterations == 2
    assert not result.stopped_early
    assert result.seconds > 0


def test_a_pool_of_first_images_is_all_that_batches_see(images, pool, monkeypatch):
    seen = []
    features_at = RealBatches.features_at
    monkeypatch.setattr(
        RealBatches, "features_at", lambda self, at, draw: (seen.append(self.split), features_at(self, at, draw))[1]
    )
    distill(images, pool, mixture(16), ipc=1, iterations=1, real_batch_per_class=2, real_pool_per_class=3)
    (split,) = {id(s): s for s in seen}.values()
    assert split.counts.tolist() == [3] * 10
    for c in range(10):
        assert torch.equal(split.of_class(c), images.train.of_class(c)[:3])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "fifths", "plateau"])
def test_every_schedule_runs(run, schedule):
    assert run(image_schedule=schedule).iterations == 3


def test_without_iterations_the_result_is_the_start(run):
    result = run(iterations=0)
    assert torch.equal(result.synthetic.images, result.start.images)
    assert result.history == []
    assert not result.stopped_early


def test_metrics_are_logged_first_last_and_in_between(run, tmp_path):
    heard = []
    result = run(iterations=7, log_every=3, folder=tmp_path, on_iteration=lambda i, m: heard.append((i, m)))
    assert [entry["iteration"] for entry in result.history] == [1, 3, 6, 7]
    assert metrics_of(tmp_path) == result.history
    assert set(result.history[0]) == {"iteration", "discrepancy", "calibration", "amplitude", "phase", "seconds"}
    assert [i for i, _ in heard] == [1, 2, 3, 4, 5, 6, 7]
    assert [m["iteration"] for _, m in heard] == [1, 1, 3, 3, 3, 6, 7]


def test_amplitude_and_phase_are_logged_where_there_are_any(run):
    with_parts, without = run(), run(MeanMatching())
    entry = with_parts.history[0]
    assert entry["amplitude"] >= 0
    assert entry["phase"] >= 0
    # The mean of a root is at most the root of the mean: at alpha 1/2 of half the two gaps.
    assert 0 < entry["discrepancy"] <= ((entry["amplitude"] + entry["phase"]) / 2) ** 0.5
    assert set(without.history[0]) == {"iteration", "discrepancy", "calibration", "seconds"}


def test_a_budget_of_time_spends_its_learning_rate_over_time():
    budget = Budget(iterations=10, image_lr=0.2, seconds=8.0)
    for seconds, factor in ((0.0, 1.0), (2.0, (1 + 0.5**0.5) / 2), (4.0, 0.5), (8.0, 0.0), (9.0, 0.0)):
        progress = Progress(iteration=99, seconds=seconds)
        assert budget.lr_at(progress) == pytest.approx(0.2 * factor, abs=1e-9)
        assert budget.is_spent(progress) == (seconds >= 8)
    by_iterations = Budget(iterations=10, image_lr=0.2)
    assert by_iterations.lr_at(Progress(iteration=4, seconds=99.0)) == pytest.approx(
        0.1 * (1 + math.cos(0.45 * math.pi))
    )


def test_a_gpu_is_read_an_iteration_late(run, monkeypatch):
    # The same history, told one iteration later but for the last, which somebody waits for anyway.
    heard, straight = [], run(iterations=7, log_every=3)
    make = running.Run.__init__

    def late(self, *arguments, **options):
        make(self, *arguments, **options | {"late": True})

    monkeypatch.setattr(running.Run, "__init__", late)
    result = run(iterations=7, log_every=3, on_iteration=lambda i, m: heard.append(m["iteration"]))
    assert heard == [1, 1, 1, 3, 3, 3, 7]
    assert without_seconds(result.history) == without_seconds(straight.history)


def test_the_state_is_that_of_its_iteration_however_long_writing_takes(run, tmp_path, monkeypatch):
    write, written = Checkpoint.write, []

    def slow(self, folder):
        time.sleep(0.05)
        written.append(json.loads(self.progress)["iteration"])
        write(self, folder)

    monkeypatch.setattr(Checkpoint, "write", slow)
    with pytest.raises(Interrupted):
        run(folder=tmp_path / "slow", iterations=4, checkpoint_seconds=0, on_iteration=interrupt_at(2))
    assert written == [1, 2]  # nobody gets ahead of another, and the last one is on disk before the run ends
    monkeypatch.undo()
    run(folder=tmp_path / "slow", iterations=4, resume=True)
    run(folder=tmp_path / "straight", iterations=4)
    assert same_tensors(tmp_path / "straight", tmp_path / "slow")


def test_nothing_is_written_without_a_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run()
    assert list(tmp_path.iterdir()) == []


# --- the same again -----------------------------------------------------------------------------------------


def test_one_seed_gives_one_result(run):
    first, again, other = (run(log_every=1, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.synthetic.images, again.synthetic.images)
    assert without_seconds(first.history) == without_seconds(again.history)
    assert not torch.equal(first.synthetic.images, other.synthetic.images)
    assert not torch.equal(first.start.images, other.start.images)


def test_the_callers_random_numbers_are_left_alone(run):
    before = torch.random.get_rng_state()
    run()
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_real_set_is_left_alone(run, images):
    before = images.train.images.clone()
    run(init="real", factor=1, image_lr=0.1)
    assert torch.equal(before, images.train.images)


# --- stop and go on -----------------------------------------------------------------------------------------


@every_objective
def test_resumed_equals_never_stopped(run, tmp_path, build):
    options = {"iterations": 6, "log_every": 2, "early_stop_patience": 100, "ascent_steps": 1}
    straight = run(build(), folder=tmp_path / "straight", **options)
    with pytest.raises(Interrupted, match=r"after iteration 3 of 6") as stopped:
        run(build(), folder=tmp_path / "halved", on_iteration=interrupt_at(3), **options)
    assert stopped.value.exit_code == 130
    assert progress_of(tmp_path / "halved")["iteration"] == 3
    resumed = run(build(), folder=tmp_path / "halved", resume=True, **options)

    assert torch.equal(straight.synthetic.images, resumed.synthetic.images)
    # The state holds the images, psi, both optimizers and every generator.
    assert same_tensors(tmp_path / "straight", tmp_path / "halved")
    assert without_seconds(straight.history) == without_seconds(resumed.history)
    assert without_seconds(metrics_of(tmp_path / "straight")) == without_seconds(metrics_of(tmp_path / "halved"))
    a, b = (progress_of(tmp_path / name) for name in ("straight", "halved"))
    measured = {"seconds": 0, "peak_memory_mb": 0}
    assert a | measured == b | measured
    assert b["seconds"] > 0
    assert b["smoothed"] is not None


def test_the_state_of_the_default_holds_both_players(run, tmp_path):
    run(folder=tmp_path)
    names = load_file(tmp_path / CHECKPOINT_FILE).keys()
    assert {"images", "adversary.weight_in", "adversary.bias_out", "images_optimizer.0.exp_avg"} <= names
    assert {f"adversary_optimizer.{i}.step" for i in range(4)} <= names
    assert {f"stream.{s}" for s in ("teachers", "augment", "batches", "frequencies", "calibration")} <= names


class Counting(ScaleMixtureFrequencies):
    """Learned frequencies that every draw makes longer."""

    def __init__(self):
        super().__init__(WIDTH, 16, seed_generator=rng(0))
        self.register_buffer("draws", torch.zeros(()))

    def sample(self, generator):
        self.draws += 1
        return super().sample(generator) * (1 + 0.2 * self.draws)


def test_the_state_of_a_sampler_is_saved_and_looks_do_not_change_it(run, tmp_path):
    def counting():
        return CharacteristicMatching(Counting())

    options = {"iterations": 6, "ascent_steps": 1}
    straight = run(counting(), **options)  # without checkpoints
    with pytest.raises(Interrupted):
        run(counting(), folder=tmp_path, on_iteration=interrupt_at(3), **options)
    resumed = run(counting(), folder=tmp_path, resume=True, **options)
    assert torch.equal(straight.synthetic.images, resumed.synthetic.images)


def test_other_ratios_resume_too(run, tmp_path):
    options = {"iterations": 4, "ascent_steps": 2, "descent_steps": 2, "mode": "multi"}
    run(folder=tmp_path / "straight", **options)
    with pytest.raises(Interrupted):
        run(folder=tmp_path / "halved", on_iteration=interrupt_at(1), **options)
    run(folder=tmp_path / "halved", resume=True, **options)
    assert same_tensors(tmp_path / "straight", tmp_path / "halved")


SWITCHES = (
    {"image_optimizer": "sgd", "image_lr": 0.1, "calibration_step": "separate", "calibration_reduction": "sum"},
    {"image_optimizer": "adamw", "image_weight_decay": 0.01, "image_schedule": "plateau", "plateau_patience": 1},
    {"real_batches": "clustered", "num_clusters": 2, "augment": "dsa:color_crop|scale|cutout"},
    {"extractor": "checkpoint", "first_epoch": 1},
    {"extractor": "blended", "blend_high": 0.5, "layers": "all"},
)


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: ",".join(switch))
def test_every_switch_resumes(run, tmp_path, switch, own_cache):
    options = {"iterations": 4, **switch}
    objective = MeanMatching if "layers" in switch else lambda: mixture(16)
    straight = run(objective(), folder=tmp_path / "straight", **options)
    with pytest.raises(Interrupted):
        run(objective(), folder=tmp_path / "halved", on_iteration=interrupt_at(2), **options)
    resumed = run(objective(), folder=tmp_path / "halved", resume=True, **options)
    assert torch.equal(straight.synthetic.images, resumed.synthetic.images)
    assert same_tensors(tmp_path / "straight", tmp_path / "halved")
    a, b = (progress_of(tmp_path / name) for name in ("straight", "halved"))
    for name in ("plateau_best", "plateau_waited", "plateau_factor"):
        assert a.get(name) == b.get(name)
    assert ("plateau_best" in a) is (switch.get("image_schedule") == "plateau")


def test_a_crash_after_a_checkpoint_loses_only_what_came_after(run, tmp_path):
    # Killed in iteration 5 with the state of an earlier one on disk: the metrics after it are measured again.
    def crash(i, _):
        if i == 5:
            raise RuntimeError("power cut")

    options = {"iterations": 6, "log_every": 1}
    straight = run(folder=tmp_path / "straight", **options)
    with pytest.raises(RuntimeError, match="power cut"):
        run(folder=tmp_path / "cut", checkpoint_seconds=0, on_iteration=crash, **options)
    assert progress_of(tmp_path / "cut")["iteration"] == 4
    resumed = run(folder=tmp_path / "cut", resume=True, **options)
    assert torch.equal(straight.synthetic.images, resumed.synthetic.images)
    assert [e["iteration"] for e in resumed.history] == [1, 2, 3, 4, 5, 6]


def test_a_finished_run_resumes_to_itself(run, tmp_path):
    first = run(folder=tmp_path)
    again = run(folder=tmp_path, resume=True)
    assert torch.equal(first.synthetic.images, again.synthetic.images)
    assert again.seconds == pytest.approx(first.seconds)
    assert again.history == first.history


def test_interrupted_without_a_folder_says_that_nothing_was_saved(run):
    with pytest.raises(Interrupted, match=r"Nothing was saved.*--out"):
        run(on_iteration=interrupt_at(1))


def test_signals_are_handed_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_requests() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.wait(1)
        with pytest.raises(KeyboardInterrupt):  # the second one cuts
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_threads_run_without_handlers():
    found = []

    def work():
        with stop_requests() as asked:
            found.append(asked.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_resume_without_a_folder_is_refused(run):
    with pytest.raises(NcfmError, match="resume needs the folder"):
        run(resume=True)


def test_resume_of_nothing_is_refused(run, tmp_path):
    with pytest.raises(NcfmError, match="Nothing to resume") as error:
        run(folder=tmp_path / "none", resume=True)
    assert error.value.exit_code == 2


def damage(path, how):
    """Cut a file, or change one byte of its last tensor, which only a checksum can tell."""
    content = bytearray(path.read_bytes())
    if how == "a bit":
        content[-1] ^= 1
    path.write_bytes(content if how == "a bit" else content[: int(how * len(content))])


DAMAGE = [0, 0.001, 0.5, 0.999, "a bit"]


@pytest.mark.parametrize("how", DAMAGE)
def test_of_a_damaged_state_the_one_before_is_used(run, tmp_path, how):
    straight = run(iterations=6, folder=tmp_path / "straight")
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(iterations=6, folder=folder, checkpoint_seconds=0, on_iteration=interrupt_at(4))
    assert (folder / PREVIOUS_CHECKPOINT_FILE).is_file()
    damage(folder / CHECKPOINT_FILE, how)
    with pytest.warns(UserWarning, match="resuming from the previous checkpoint, after iteration 3"):
        resumed = run(iterations=6, folder=folder, resume=True)
    assert torch.equal(straight.synthetic.images, resumed.synthetic.images)
    assert without_seconds(straight.history) == without_seconds(resumed.history)
    assert same_tensors(tmp_path / "straight", folder)
    assert (folder / f"{CHECKPOINT_FILE}.damaged").is_file()


@pytest.mark.parametrize("how", DAMAGE)
def test_without_a_whole_state_damage_is_told(run, tmp_path, how):
    run(folder=tmp_path)
    damage(tmp_path / CHECKPOINT_FILE, how)
    for name in (CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE):
        if (tmp_path / name).is_file():
            damage(tmp_path / name, 0.3)
    with pytest.raises(RunError, match=r"Could not read.*damaged.*no complete previous checkpoint"):
        run(folder=tmp_path, resume=True)


def test_the_state_before_is_enough(run, tmp_path):
    """A process may be killed between the two renames of a file system without links."""
    straight = run(iterations=4)
    with pytest.raises(Interrupted):
        run(iterations=4, folder=tmp_path, checkpoint_seconds=0, on_iteration=interrupt_at(3))
    (tmp_path / CHECKPOINT_FILE).unlink()
    assert torch.equal(run(iterations=4, folder=tmp_path, resume=True).synthetic.images, straight.synthetic.images)


def test_a_foreign_file_is_told(run, tmp_path):
    save_file({"images": torch.rand(10, 1, 1, 8, 8)}, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(NcfmError, match="not a checkpoint of ncfm"):
        run(folder=tmp_path, resume=True)


def test_the_state_of_another_shape_is_told(run, tmp_path):
    run(folder=tmp_path, ipc=2)
    with pytest.raises(NcfmError, match=r"expected images of shape \(10, 1, 1, 8, 8\), found \(10, 2, 1, 8, 8\)"):
        run(folder=tmp_path, resume=True)


def test_the_state_of_another_objective_is_told(run, tmp_path):
    run(MeanMatching(), folder=tmp_path)
    with pytest.raises(NcfmError, match=r"expected adversary\.weight_in .* found nothing"):
        run(folder=tmp_path, resume=True)


def test_a_state_without_metrics_resumes(run, tmp_path):
    # They are only a log; log_every is such that the next iteration has nothing new to tell.
    with pytest.raises(Interrupted):
        run(iterations=4, folder=tmp_path, on_iteration=interrupt_at(2))
    (tmp_path / METRICS_FILE).unlink()
    result = run(iterations=4, folder=tmp_path, resume=True)
    assert [e["iteration"] for e in result.history] == [4]


def test_a_state_without_metrics_resumes_for_a_listener_too(run, tmp_path):
    with pytest.raises(Interrupted):
        run(iterations=4, folder=tmp_path, on_iteration=interrupt_at(2))
    (tmp_path / METRICS_FILE).unlink()
    run(iterations=4, folder=tmp_path, resume=True, on_iteration=lambda *_: None)


@pytest.mark.parametrize("cut", [0, 1, 30, 150, -1])
def test_damaged_metrics_cost_their_lines_only(run, tmp_path, cut):
    whole = run(folder=tmp_path, log_every=1).history
    path = tmp_path / METRICS_FILE
    path.write_bytes(path.read_bytes()[:cut])
    lines = path.read_text().splitlines()
    kept = [json.loads(line) for line in lines if line.endswith("}")]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        resumed = run(folder=tmp_path, resume=True, log_every=1)
    assert resumed.history == kept == whole[: len(kept)]
    assert len(heard) == (len(kept) < len(lines))
    assert all(METRICS_FILE in str(warning.message) for warning in heard)


# --- early stopping -----------------------------------------------------------------------------------------


def test_a_run_that_does_not_improve_stops(run):
    result = run(Scripted(1.0), iterations=50, early_stop_patience=3)
    assert result.iterations == 4  # the first one was the best
    assert result.stopped_early


def test_the_last_iteration_of_a_run_that_stops_early_is_logged(run):
    result = run(Scripted(1.0), iterations=50, early_stop_patience=3, log_every=10)
    assert [entry["iteration"] for entry in result.history] == [1, 4]


def test_a_run_without_a_finite_iteration_fails_before_it_stops_early(run):
    with pytest.raises(RunError, match=r"not finite in 3 iterations in a row, up to iteration 3"):
        run(Scripted(NAN), iterations=50, early_stop_patience=3)


def test_a_run_that_improves_goes_on(run):
    falling = [1.0 - 0.1 * i for i in range(8)]
    result = run(Scripted(*falling), iterations=8, early_stop_patience=1)
    assert result.iterations == 8
    assert not result.stopped_early


def test_gains_below_a_thousandth_do_not_count(run):
    slow = [1.0 - 1e-5 * i for i in range(50)]
    assert run(Scripted(*slow), iterations=50, early_stop_patience=5).iterations == 6


def test_patience_survives_an_interruption(run, tmp_path):
    options = {"iterations": 50, "early_stop_patience": 4, "folder": tmp_path}
    with pytest.raises(Interrupted):
        run(Scripted(1.0), on_iteration=interrupt_at(3), **options)
    resumed = run(Scripted(1.0), resume=True, **options)
    assert resumed.iterations == 5
    assert resumed.stopped_early
    assert run(Scripted(1.0), resume=True, **options).iterations == 5  # and stays stopped


class RateSpy(Callback):
    """Notes the learning rate of every iteration."""

    def __init__(self):
        self.rates = []

    def after_iteration(self, run, record):
        self.rates.append(run.step.optimizers()["images_optimizer"].param_groups[0]["lr"])


def test_the_plateau_schedule_halves_after_its_patience(run):
    # The last gain is in iteration 2 (1.9999 is too little), so the third iteration after it exceeds a patience of 2.
    objective, spy = Scripted(3.0, 2.0, 2.0, 2.0, 2.5, 1.9999, 2.0, 2.0), RateSpy()
    options = {"image_schedule": "plateau", "plateau_patience": 2, "image_lr": 0.08, "iterations": 8}
    run(objective, callbacks=(spy,), **options)
    assert spy.rates == pytest.approx([0.08] * 5 + [0.04] * 3)


def test_without_patience_nothing_stops(run):
    assert run(Scripted(1.0), iterations=6).iterations == 6


# --- memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 7])
def test_passes_in_parts_distil_the_same(run, size):
    whole, parts = (run(ipc=2, factor=1, gradient_chunk_size=n) for n in (None, size))
    torch.testing.assert_close(parts.synthetic.images, whole.synthetic.images, atol=2e-4, rtol=0)


STATED = """
import sys, tempfile, torch
import ncfm
from ncfm.data.image_set import ImageSet, ImageSplit

pixels = torch.randint(256, (160, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
split = ImageSplit.of(pixels, torch.arange(160) % 10, 10)
settings = {"distill.iterations": 2, "teachers.number": 1, "teachers.epochs": 0, "distill.real_batch_per_class": 16,
            "machine.precision": "float32", "machine.threads": 1, "machine.memory_mb": int(sys.argv[1]) or None,
            "frequencies.number": 256}
data = ImageSet("noise", split, split, tuple("abcdefghij"))
with tempfile.TemporaryDirectory() as folder:
    result = ncfm.distill(data, ipc=4, recipe="none", settings=settings, out=folder)
print(result.peak_memory_mb, result.images_per_pass)
"""


def iteration_memory(stated):
    """Measured memory of an iteration in MiB for a stated one, 0 for none, and its images per pass."""
    ended = warm.run(warm.program, STATED, stated)
    assert ended.code == 0, ended.err
    peak, images = ended.out.split()
    return float(peak), int(images)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak does not begin anew")
@pytest.mark.parametrize("stated", [100, 200])
def test_an_iteration_keeps_to_the_memory_that_was_stated(stated):
    peak, images = iteration_memory(stated)
    assert 0.3 * stated < peak <= stated
    assert images < 160  # of ten classes of 16


def test_memory_is_given_back_when_a_run_ends(run, monkeypatch):
    given = []
    monkeypatch.setattr(running, "give_back_memory", lambda device: given.append(device.type))
    run(iterations=1)
    assert given == ["cpu"]

    def ask_to_stop(iteration, told):
        raise Interrupted("enough")

    with pytest.raises(Interrupted):
        run(iterations=2, on_iteration=ask_to_stop)
    assert given == ["cpu", "cpu"]


def test_short_memory_makes_passes_smaller_by_itself(run, monkeypatch):
    sizes = []
    play = MinMaxStep.__call__
    monkeypatch.setattr(MinMaxStep, "__call__", lambda s: (sizes.append(s.extract.gradient_chunk_size), play(s))[1])
    whole = run(ipc=2, factor=1)
    monkeypatch.setattr(step_memory, "available_memory", lambda device: 10_000)
    parts = run(ipc=2, factor=1)
    assert sizes[:3] == [None] * 3
    assert 1 <= sizes[3] < 20
    torch.testing.assert_close(parts.synthetic.images, whole.synthetic.images, atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_passes_and_the_run_goes_on(run, monkeypatch, error):
    expected = run(ipc=2, factor=1)
    failures = iter([False, True, True])  # in the second iteration, twice
    chunks, calibrate = [], Calibration.loss

    def sometimes(self, training, part):
        chunks.append(self.extract.gradient_chunk_size)
        if next(failures, False):
            raise error
        return calibrate(self, training, part)

    monkeypatch.setattr(Calibration, "loss", sometimes)
    with pytest.warns(UserWarning, match="Out of memory") as told:
        result = run(ipc=2, factor=1)
    assert [str(w.message) for w in told] == [
        f"Out of memory in iteration 2; continuing with passes of {size} images." for size in (10, 5)
    ]
    assert chunks == [None, None, 10, *[5] * 10]  # two classes of two images a pass, in two iterations
    assert result.iterations == 3
    torch.testing.assert_close(result.synthetic.images, expected.synthetic.images, atol=2e-4, rtol=0)


def test_memory_that_never_suffices_is_a_failure_in_words(run, monkeypatch):
    def never(self, training, part):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Calibration, "loss", never)
    with pytest.warns(UserWarning, match="Out of memory"), pytest.raises(RunError, match="passes of one image"):
        run()


def test_other_errors_are_not_taken_for_memory(run, monkeypatch):
    def broken(self, training, part):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Calibration, "loss", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run()


# --- losses that break --------------------------------------------------------------------------------------


NAN, INF = float("nan"), float("inf")


def state_of(folder):
    return load_file(folder / CHECKPOINT_FILE)


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_run_without_a_sound_iteration_is_a_failure(run, value, tmp_path):
    with pytest.raises(RunError, match=r"3 iterations in a row, up to iteration 3 .*Lower image_lr") as error:
        run(Scripted(value), folder=tmp_path)
    assert error.value.exit_code == 1
    assert not (tmp_path / CHECKPOINT_FILE).exists()


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_an_iteration_that_is_not_finite_is_rolled_back_and_counted(run, value, tmp_path):
    with pytest.warns(UserWarning, match="2 of 7 iterations were not finite"):
        result = run(Scripted(1.0, 1.0, value, value, 1.0), iterations=7, log_every=1, folder=tmp_path)
    assert result.rolled_back == 2
    assert [entry["iteration"] for entry in result.history] == [1, 2, 5, 6, 7]
    assert progress_of(tmp_path)["taken_back"] == 2
    state = state_of(tmp_path)
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert float(state["images_optimizer.0.step"]) == 5  # as if those two had never been


def test_what_is_rolled_back_leaves_everything_as_it_was(run, tmp_path, monkeypatch):
    """Both players, both optimizers: after a bad iteration all is, bit for bit, what it was before it."""
    run(iterations=2, folder=tmp_path / "two", image_schedule="constant")
    extract = SyntheticBatch.features_of
    called = []

    def bad_in_the_third(self, training, part):
        called.append(None)
        features = extract(self, training, part)
        return features * NAN if len(called) == 3 else features

    monkeypatch.setattr(SyntheticBatch, "features_of", bad_in_the_third)
    with pytest.warns(UserWarning, match="1 of 3"):
        run(iterations=3, folder=tmp_path / "three", image_schedule="constant")
    two, three = state_of(tmp_path / "two"), state_of(tmp_path / "three")
    assert two.keys() == three.keys()
    moved = [name for name in two if not name.startswith("stream.")]
    assert {name.split(".")[0] for name in moved} >= {"images", "adversary", "images_optimizer", "adversary_optimizer"}
    for name in moved:
        assert torch.equal(two[name], three[name]), name


def test_a_bad_first_iteration_leaves_fresh_optimizers(run, tmp_path):
    with pytest.warns(UserWarning, match="1 of 2"):
        run(Scripted(NAN, 1.0), iterations=2, folder=tmp_path / "bad")
    run(Scripted(1.0), iterations=1, folder=tmp_path / "good")
    bad, good = state_of(tmp_path / "bad"), state_of(tmp_path / "good")
    assert float(bad["images_optimizer.0.step"]) == float(good["images_optimizer.0.step"]) == 1
    assert bad["images_optimizer.0.exp_avg"].isfinite().all()


def test_too_many_in_a_row_end_the_run_and_spare_the_saved_state(run, tmp_path):
    with pytest.raises(RunError, match="10 iterations in a row, up to iteration 14"):
        run(Scripted(*[1.0] * 4, NAN), iterations=50, log_every=1, checkpoint_seconds=0, folder=tmp_path)
    assert torch.isfinite(state_of(tmp_path)["images"]).all()


def test_what_was_rolled_back_is_counted_in_a_resumed_run(run, tmp_path):
    with pytest.raises(Interrupted):
        run(Scripted(1.0, NAN, 1.0), iterations=6, log_every=1, folder=tmp_path, on_iteration=interrupt_at(3))
    assert progress_of(tmp_path)["taken_back"] == 1
    with pytest.warns(UserWarning, match="2 of 6"):
        result = run(Scripted(NAN, 1.0), iterations=6, log_every=1, folder=tmp_path, resume=True)
    assert result.rolled_back == 2


def test_early_stopping_does_not_look_at_what_is_not_finite(run):
    with pytest.warns(UserWarning, match="not finite"):
        result = run(Scripted(1.0, NAN, 1.0), iterations=50, early_stop_patience=3)
    assert result.iterations == 4
    assert result.stopped_early


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ipc": 0}, "ipc"),
        ({"ipc": 100}, "at least 400 real images.*lower --ipc"),
        ({"iterations": -1}, "iterations must be at least 0"),
        ({"factor": 9}, "factor must lie in"),
        ({"mode": "singel"}, "Did you mean 'single'"),
        ({"init": "mosiac"}, "Did you mean 'mosaic'"),
        ({"image_schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"augment": "colour"}, "Did you mean 'color'"),
        ({"mode": "bounded", "bound": 0}, "bound"),
        ({"real_batch_per_class": 0}, "real_batch_per_class"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_wrong_settings_are_told(run, options, message):
    with pytest.raises(NcfmError, match=message):
        run(**options)


# --- it works -----------------------------------------------------------------------------------------------


def gaps(images, pool, stored):
    """Kernel MMD and mean gap of the whole class, averaged over classes and extractors: no yardstick of the run."""
    kernel, means = [], []
    everything = to_float(images.train.images).unflatten(0, (10, -1))
    for i in range(4):
        extract = FeatureExtractor(pool.draw(generator(i, "test")))

        def features(x, extract=extract):
            return extract.without_gradient(normalize(x, images.statistics).flatten(0, 1)).unflatten(0, x.shape[:2])

        real, synthetic = features(everything), features(stored)
        kernel.append(gaussian_mmd(real, synthetic, bandwidth=1.0).mean())
        means.append(mean_gap(real, synthetic).mean())
    return float(sum(kernel)), float(sum(means))


@every_objective
@pytest.mark.parametrize("calibration_weight", [0.0, 1.0])
def test_distilling_brings_the_set_nearer_to_the_data(run, images, pool, build, calibration_weight):
    result = run(
        build(),
        iterations=40,
        factor=1,
        ipc=2,
        augment="none",
        real_batch_per_class=8,
        image_lr=0.02,
        matching_weight=10.0,
        calibration_weight=calibration_weight,
        log_every=1,
    )
    before, after = (gaps(images, pool, s.images) for s in (result.start, result.synthetic))
    assert after[0] < 0.9 * before[0]
    assert after[1] < 0.9 * before[1]
    seen = [entry["discrepancy"] for entry in result.history]
    assert sum(seen[-10:]) < 0.95 * sum(seen[:10])


def test_calibration_falls(run):
    result = run(iterations=30, matching_weight=0.0, image_lr=0.05, log_every=1)
    seen = [entry["calibration"] for entry in result.history]
    assert sum(seen[-10:]) < sum(seen[:10])


# --- devices ------------------------------------------------------------------------------------------------


def test_every_sampler_goes_to_the_pools_device(images):
    objective = CharacteristicMatching(GaussianFrequencies(WIDTH, 16))
    loop.make_players(torch.rand(10, 1, 1, 8, 8), objective, torch.device("meta"), Budget(), 1e-3)
    assert objective.sampler.sample(rng(0)).device.type == "meta"
