"""Whole runs on a GPU: memory that runs out, checkpoints that another device reads, graphs, and the front functions."""

import pytest
import torch

import ncfm
from every_objective import OF_SAMPLERS
from ncfm._utils.seeding import Streams
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.distillation.checkpoint import Progress, load_checkpoint, take_checkpoint
from ncfm.distillation.memory_retry import run_within_memory
from ncfm.distillation.nonfinite_guard import Guard
from ncfm.distillation.objectives import MeanMatching
from on_device import DEVICE, needs_cuda, needs_device, step_on
from strategies import rng
from tiny import SETTINGS

pytestmark = [pytest.mark.cuda, needs_device]

CPU = torch.device("cpu")
MEMORY = 2 * 2**30  # bytes that the process may take in the test that runs out of memory


def test_a_checkpoint_of_the_device_is_read_on_the_cpu(images, tmp_path):
    step = step_on(DEVICE, images, OF_SAMPLERS["ncfd mixture"]())
    step.streams = Streams(0, {"frequencies": DEVICE})
    for _ in range(2):
        step()
    take_checkpoint(Progress(iteration=2), step.tensors(), step.optimizers(), step.streams).write(tmp_path)
    resumed = step_on(CPU, images, OF_SAMPLERS["ncfd mixture"]())
    arguments = tmp_path, resumed.tensors(), resumed.optimizers(), resumed.streams
    if DEVICE.type == "cpu":
        load_checkpoint(*arguments)
    else:
        with pytest.warns(UserWarning, match="'frequencies' was drawn on another kind of device"):
            load_checkpoint(*arguments)
    for name, tensor in step.tensors().items():
        assert torch.equal(tensor.detach().cpu(), resumed.tensors()[name]), name
    for name, optimizer in step.optimizers().items():
        moments = zip(optimizer.state.values(), resumed.optimizers()[name].state.values(), strict=True)
        assert all(torch.equal(one["exp_avg"].cpu(), other["exp_avg"]) for one, other in moments)
    assert bool(torch.isfinite(resumed().discrepancy))


@needs_cuda
@pytest.mark.filterwarnings("default:Out of memory")
def test_an_iteration_that_runs_out_of_memory_runs_in_smaller_passes():
    pixels = torch.randint(0, 256, (320, 3, 32, 32), dtype=torch.uint8, generator=rng(0))
    split = ImageSplit.of(pixels, torch.arange(10).repeat_interleave(32), 10)
    noise = ImageSet("noise", split, None, tuple("0123456789"))
    step = step_on(DEVICE, noise, MeanMatching(), network="convnet3", ipc=50, factor=2)
    assert step.images_per_pass is None  # all 2000 fit into the memory of the GPU
    total = torch.cuda.mem_get_info(DEVICE)[1]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_per_process_memory_fraction(MEMORY / total)
    try:
        with pytest.warns(UserWarning, match="Out of memory in iteration 1; continuing with passes of"):
            record = run_within_memory(step, Guard(step), 1)
        assert bool(torch.isfinite(record.discrepancy))
        assert step.images_per_pass < 2000
        run_within_memory(step, Guard(step), 2)  # fits now
        assert torch.cuda.max_memory_allocated() <= MEMORY
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@needs_cuda
def test_an_iteration_compiled_as_a_whole_runs_as_graphs(images):
    """The same draws as without compilation, and the same numbers up to rounding, iteration by iteration."""
    records = []
    for compile_step in (False, True):
        step = step_on(DEVICE, images, OF_SAMPLERS["ncfd mixture"](), compile_step=compile_step)
        records.append([[float(value) for value in step()] for _ in range(4)])
    torch.testing.assert_close(torch.tensor(records[1]), torch.tensor(records[0]), atol=2e-3, rtol=2e-2)


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_set_is_distilled_and_evaluated(tmp_path, precision):
    settings = SETTINGS | {"machine.device": DEVICE.type, "machine.precision": precision, "teachers.number": 2}
    made = ncfm.distill("digits", ipc=1, settings=settings, out=tmp_path / "run")
    assert made.iterations == SETTINGS["distill.iterations"]
    assert bool(torch.isfinite(made.synthetic.images).all())
    assert made.synthetic.facts["device"]
    evaluation = ncfm.evaluate(made.synthetic, "digits", settings=settings)
    assert len(evaluation.accuracies) == SETTINGS["evaluate.runs"]
    assert 0 < evaluation.accuracy_mean <= 1
