"""Numbers on a GPU are those of the CPU: of every objective, network and iteration.

Relative errors are of whole tensors. In float32 without TF32 both devices round sums of thousands of terms; in bfloat16
every layer rounds to 8 bits of mantissa.
"""

import copy

import pytest
import torch

from every_objective import EVERY_OBJECTIVE, OF_SAMPLERS
from ncfm._utils.accelerator import allow_tf32
from ncfm.networks import create_network
from ncfm.networks.features import FeatureExtractor
from ncfm.networks.registry import on_device
from on_device import DEVICE, needs_cuda, needs_device, step_on
from strategies import rng
from tiny import WIDTH

pytestmark = [pytest.mark.cuda, needs_device]

CPU = torch.device("cpu")
BOUNDS = {torch.float64: 1e-9, torch.float32: 1e-4}
LOOSE = {torch.float64: 1e-7, torch.float32: 1e-2}  # eigenvectors and inverses magnify rounding
TF32_BOUND, BFLOAT16_BOUND = 5e-3, 3e-2
GRADIENT_BOUND = 0.4  # in bfloat16: rectifiers near 0 switch, in every layer (0.3 on a CPU)
NETWORKS = ("convnet2w16", "convnet2w16-batch", "resnet10w8", "vgg11w8-group", "alexnetw8", "densenet10w8", "vit2w16")


def discrepancy_on(device, name, dtype):
    """Discrepancies (C,) and their gradient in the synthetic features."""
    real = torch.nn.functional.normalize(torch.randn(10, 24, WIDTH, generator=rng(1), dtype=dtype), dim=-1)
    synthetic = torch.nn.functional.normalize(torch.randn(10, 6, WIDTH, generator=rng(2), dtype=dtype), dim=-1)
    objective = EVERY_OBJECTIVE[name]()
    objective.to(device)
    objective.remember(real.to(device))
    synthetic = synthetic.to(device).requires_grad_()
    value = objective.discrepancy(real.to(device), synthetic, rng(3))
    (gradient,) = torch.autograd.grad(value.sum(), synthetic)
    return value, gradient


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("name", EVERY_OBJECTIVE)
def test_discrepancies_and_their_gradients(relative, name, dtype):
    bound = (LOOSE if name.split()[0] in ("entropic", "fisher") else BOUNDS)[dtype]
    for found, expected in zip(discrepancy_on(DEVICE, name, dtype), discrepancy_on(CPU, name, dtype), strict=True):
        assert found.dtype == expected.dtype
        assert relative(found, expected) < bound


def features_on(device, network, dtype, precision=torch.float32):
    """Features of random images, and the gradient of their weighted sum in the images."""
    network = on_device(copy.deepcopy(network).to(dtype), device)
    images = torch.randn(8, 3, 16, 16, generator=rng(4), dtype=dtype).to(device).requires_grad_()
    features = FeatureExtractor(network, precision=precision)(images)
    weights = torch.randn(features.shape, generator=rng(5), dtype=features.dtype).to(device)
    (gradient,) = torch.autograd.grad((weights * features).sum(), images)
    return features, gradient


def made(name):
    return create_network(name, channels=3, num_classes=10, image_size=16, seed=0).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_in_float32(relative, name):
    network = made(name)
    found, expected = (features_on(device, network, torch.float32) for device in (DEVICE, CPU))
    assert relative(found[0], expected[0]) < 1e-4
    assert relative(found[1], expected[1]) < 5e-3  # a rectifier near 0 may switch


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_in_bfloat16(relative, name):
    network = made(name)
    found = features_on(DEVICE, network, torch.float32, torch.bfloat16)
    expected = features_on(CPU, network, torch.float32)
    assert relative(found[0], expected[0]) < BFLOAT16_BOUND
    assert relative(found[1], expected[1]) < GRADIENT_BOUND


@needs_cuda
def test_projections_in_tf32(relative):
    a, b = torch.randn(64, 512, generator=rng(0)), torch.randn(512, 64, generator=rng(1))
    allow_tf32(True)
    rounded = relative(a.to(DEVICE) @ b.to(DEVICE), a @ b)
    allow_tf32(False)
    assert relative(a.to(DEVICE) @ b.to(DEVICE), a @ b) < 1e-5 < rounded < TF32_BOUND


def moments_on(device, images, options):
    """What an iteration measures, and the first moments of both optimizers: a tenth of the gradients."""
    step = step_on(device, images, OF_SAMPLERS["ncfd mixture"](), **options)
    record = [value for value in step() if value is not None]
    states = [optimizer.state.values() for optimizer in step.optimizers().values()]
    return [*record, *(state["exp_avg"] for values in states for state in values)]


ITERATIONS = [{}, {"network": "convnet1w8-batch"}, {"gradient_chunk_size": 7, "chunk_size": 4}, {"factor": 2}]


@pytest.mark.parametrize("options", ITERATIONS, ids=str)
def test_an_iteration(images, relative, options):
    """From the same draws: what is measured, and the gradients by which the images and the adversary move."""
    found, expected = (moments_on(device, images, options) for device in (DEVICE, CPU))
    assert len(found) == 4 + 1 + 4  # measurements, images, the adversary's weights
    for one, other in zip(found, expected, strict=True):
        assert relative(one, other) < 2e-3
