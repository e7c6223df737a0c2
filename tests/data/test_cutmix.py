"""CutMix: the rectangle, the share of the area, and many batches mixed in one pass."""

import pytest
import torch

from ncfm.data.cutmix import Pasting, cutmix, cutmix_each, draw_pasting, no_pasting
from strategies import rng


def pictures(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed))


@pytest.mark.parametrize("size", [(8, 8), (7, 12)])
def test_cutmix_share_is_the_share_of_pixels_kept(size):
    n = 6
    images = torch.arange(float(n)).view(n, 1, 1, 1).expand(n, 2, *size)
    shares = []
    for seed in range(60):
        mixed, pasted, share = cutmix(images, rng(seed))
        assert sorted(pasted.tolist()) == list(range(n))
        own = mixed == images
        for i in range(n):
            if pasted[i] != i:
                assert float(own[i].double().mean()) == pytest.approx(share)
                assert bool((mixed[i][~own[i]] == pasted[i]).all())
        shares.append(share)
    # Cut at the border, a uniform share has a mean above 1/2.
    assert min(shares) < 0.3
    assert max(shares) > 0.9
    assert 0.5 < sum(shares) / len(shares) < 0.8


def test_cutmix_pastes_one_rectangle():
    images = torch.stack([torch.zeros(1, 9, 9), torch.ones(1, 9, 9)])
    for seed in range(20):
        mixed, pasted, _ = cutmix(images, rng(seed))
        if pasted[0] == 1:
            patch = mixed[0, 0] == 1
            assert int(patch.sum()) == int(patch.any(0).sum() * patch.any(1).sum())


def test_cutmix_leaves_its_input_and_repeats():
    images = pictures(5, 3, 8, 8)
    copy = images.clone()
    first, second = cutmix(images, rng(3)), cutmix(images, rng(3))
    assert torch.equal(images, copy)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert first[2] == second[2]


def test_cutmix_lets_gradients_through():
    images = pictures(3, 1, 4, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cutmix(x, rng(4))[0], images)


def test_batches_mixed_in_one_pass_are_those_mixed_one_by_one():
    batches = pictures(4, 5, 3, 6, 8)
    pastings = [draw_pasting(5, 6, 8, rng(seed)) for seed in range(3)] + [no_pasting(5)]
    mixed, orders, shares = cutmix_each(batches, pastings)
    for i in range(3):
        alone, order, share = cutmix(batches[i], rng(i))
        assert torch.equal(mixed[i], alone)
        assert torch.equal(orders[i], order)
        assert shares[i] == torch.tensor(share)
    assert torch.equal(mixed[3], batches[3])
    assert shares[3] == 1


def test_nothing_to_paste_leaves_the_batches():
    batches = pictures(2, 3, 1, 4, 4)
    mixed, orders, shares = cutmix_each(batches, [no_pasting(3), no_pasting(3)])
    assert mixed is batches
    assert orders.tolist() == [[0, 1, 2]] * 2
    assert shares.tolist() == [1.0, 1.0]


def test_a_box_is_pasted_from_the_image_that_the_order_names():
    batches = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(1, 3, 1, 4, 4)
    pasting = Pasting((1, 3, 0, 2), torch.tensor([2, 0, 1]), 0.75)
    mixed, _, shares = cutmix_each(batches, [pasting])
    expected = torch.arange(3.0).view(3, 1, 1).repeat(1, 4, 4)
    expected[:, 1:3, 0:2] = torch.tensor([2.0, 0.0, 1.0]).view(3, 1, 1)
    assert torch.equal(mixed[0, :, 0], expected)
    assert shares.tolist() == [0.75]
