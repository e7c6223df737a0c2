import pytest
import torch

from ncfm.networks import create_network
from ncfm.training import stack as stack_module
from ncfm.training.stack import Stack, fitting_stack
from strategies import rng


def networks(name, count=3):
    return [create_network(name, channels=1, num_classes=10, image_size=8, seed=seed) for seed in range(count)]


@pytest.mark.parametrize("name", ["convnet1w8", "convnet1w8-batch"])
def test_a_stack_computes_what_its_networks_do(name):
    made, x = networks(name), torch.randn(3, 4, 1, 8, 8, generator=rng(0))
    stack = Stack(made)
    assert sum(p.numel() for p in stack.parameters()) == sum(p.numel() for one in made for p in one.parameters())
    logits = stack(x)
    for i, one in enumerate(made):
        torch.testing.assert_close(logits[i], one.train()(x[i]), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnet1w4", "convnet1w4-batch"])
def test_a_compiled_stack_computes_the_same(name):
    found = []
    for compile_networks in (False, True):
        made = networks(name, count=2)
        stack, x = Stack(made, compile_networks=compile_networks), torch.randn(2, 4, 1, 8, 8, generator=rng(0))
        stack(x)
        stack(x).square().sum().backward()
        stack.unstack()
        found.append([*(p.grad for p in stack.parameters()), *made[1].state_dict().values()])
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-5)


def test_networks_get_their_weights_and_buffers_back():
    made = networks("convnet1w8-batch", count=2)
    stack = Stack(made)
    stack(torch.randn(2, 4, 1, 8, 8, generator=rng(0)))
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.add_(torch.tensor([1.0, 2.0]).view(2, *[1] * (parameter.ndim - 1)))
    before = [one.classifier.bias.detach().clone() for one in made]
    stack.unstack()
    for i, one in enumerate(made):
        torch.testing.assert_close(one.classifier.bias.detach(), before[i] + i + 1)
        norm = one.blocks[1]
        assert int(norm.num_batches_tracked) == 1
        assert not torch.equal(norm.running_mean, torch.zeros(8))


def test_memory_limits_how_many_fit(monkeypatch):
    network, image = networks("convnet1w8", count=1)[0], torch.zeros(1, 1, 8, 8)
    each = stack_module.kept_bytes_per_image(network, image)
    for available, expected in ((None, None), (0, 1), (2 * 16 * each * 5, 5)):
        monkeypatch.setattr(stack_module, "available_memory", lambda device, given=available: given)
        assert fitting_stack(network, image, 16) == expected
