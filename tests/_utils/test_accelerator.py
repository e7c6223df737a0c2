import pytest
import torch

from ncfm._utils import accelerator
from ncfm._utils.accelerator import allow_tf32, autocast, fill, graph_mode, to_device, to_host
from waits import META, NoWaits, without_waiting

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def settings():
    """Restores what `use` changes."""
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark
    yield
    torch.set_float32_matmul_precision(before[0])
    cudnn.allow_tf32, cudnn.benchmark = before[1:]


@pytest.mark.parametrize(("allowed", "precision"), [(True, "high"), (False, "highest")])
def test_tf32_is_a_choice(settings, allowed, precision):
    allow_tf32(allowed)
    assert torch.get_float32_matmul_precision() == precision
    assert torch.backends.cudnn.allow_tf32 is allowed


def test_only_cuda_changes_settings(settings):
    allow_tf32(False)
    torch.backends.cudnn.benchmark = False
    accelerator.use(CPU, tf32=True)
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.benchmark
    accelerator.use(CUDA, tf32=True)
    assert torch.get_float32_matmul_precision() == "high"
    assert torch.backends.cudnn.benchmark


def test_passes_in_float32_have_no_autocast():
    a = torch.ones(2, 2)
    with autocast(META, torch.float32):  # a device that autocast does not know
        assert (a @ a).dtype == torch.float32
    with autocast(CPU, torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16


def test_whole_iterations_run_as_graphs_on_a_gpu_only():
    assert (graph_mode(CUDA), graph_mode(CPU)) == ("reduce-overhead", "default")


def test_what_is_on_the_device_stays_as_it_is():
    tensor = torch.arange(3)
    assert to_device(tensor, CPU) is tensor


def test_transfers_to_a_gpu_go_through_pinned_memory(monkeypatch):
    seen = []

    def to(self, device, non_blocking=False):
        seen.append((tuple(self.tolist()), device, non_blocking))
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self + 10)  # a copy, here with a mark
    monkeypatch.setattr(torch.Tensor, "to", to)
    to_device(torch.arange(2), CUDA)
    to_device(torch.arange(2), torch.device("mps"))
    assert seen == [((10, 11), CUDA, True), ((0, 1), torch.device("mps"), False)]


def test_a_copy_on_the_host_is_one():
    tensor = torch.arange(3.0, requires_grad=True)
    copy = to_host(tensor)
    with torch.no_grad():
        tensor.add_(1)
    assert copy.tolist() == [0, 1, 2]
    assert not copy.requires_grad


def test_weights_are_filled_in_place():
    layer, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    places = [p.data_ptr() for p in layer.parameters()]
    fill(layer.state_dict(), other.state_dict())
    assert torch.equal(layer.weight, other.weight)
    assert [p.data_ptr() for p in layer.parameters()] == places


# --- the watch itself -----------------------------------------------------------------------------------------

ON_DEVICE, POSITIONS = torch.zeros(4, device=META), torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: float(ON_DEVICE.sum()), "cannot be called on meta tensors"),
        (lambda: bool(ON_DEVICE.sum() > 0), "cannot be called on meta tensors"),
        (lambda: ON_DEVICE.cpu(), "meta"),
        (lambda: ON_DEVICE[POSITIONS], "mixes devices"),
        (lambda: POSITIONS.to(META), "waits for a transfer"),
        (lambda: ON_DEVICE.copy_(torch.ones(4)), "waits for a transfer"),
        (lambda: torch.tensor(1.0, device=META), "waits for a transfer"),
        (lambda: ON_DEVICE.new_tensor(1.0), "waits for a transfer"),
    ],
)
def test_the_watch_finds_what_waits(work, message):
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError), match=message):
        without_waiting(work)


def test_the_watch_lets_pass_what_does_not_wait():
    def work():
        return ON_DEVICE[to_device(POSITIONS, META)].sum() + ON_DEVICE.new_full((), 2.0)

    assert without_waiting(work).device == META
    with NoWaits():
        assert to_host(POSITIONS).tolist() == [0, 2]
