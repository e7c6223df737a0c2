"""Images as networks see them: augmented alike in both halves of a class."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from by_hand import drawn
from ncfm._utils.seeding import Streams
from ncfm.data.class_batches import draw_class_batches
from ncfm.data.levels import to_float
from strategies import rng


@pytest.mark.parametrize("normalize_features", [True, False])
def test_both_halves_of_a_class_are_augmented_alike(make, images, normalize_features):
    played = make(ipc=4, normalize_features=normalize_features)
    batch = Streams(0)["batches"]  # as the step will draw it
    at = draw_class_batches(images.train, 4, batch)
    with torch.no_grad():
        played.images.tensors[0].copy_(to_float(images.train.images[at]))
    real, draw = drawn(played)
    synthetic = played.synthetic.features_of(played.synthetic.training_images(draw))
    # Sums over one large or several small passes may differ in their last bits; another augmentation differs by 0.1.
    assert_close(synthetic.detach(), real, rtol=1e-4, atol=1e-5)
    assert played.objective.discrepancy(real, synthetic, rng(0)).max().item() < 1e-3
    other = played.synthetic.features_of(played.synthetic.training_images(played.views.augment.draw(10, 8, rng(1))))
    assert played.objective.discrepancy(real, other, rng(0)).min().item() > 0.01


def test_every_class_draws_an_alternative_of_its_own(make):
    played = make(augment="flip_crop|scale|rotate")
    draw = played.views.draw(rng(0))
    kinds = {tuple(row) for row in (draw.affine[:, :, 2].abs() > 1e-6).any(1).int()[:, None].tolist()}
    assert len(kinds) == 2  # some classes are shifted, others are not
    assert torch.isfinite(played().discrepancy)
