"""The synthetic images of an iteration: as training images, and their features."""

import torch
from torch.testing import assert_close

from by_hand import drawn_augmentation


def test_features_in_parts_without_gradient_are_those_of_one_pass(make):
    played = make(ipc=2, factor=2)
    draw = drawn_augmentation(played)
    synthetic = played.synthetic
    whole = synthetic.features_of(synthetic.training_images(draw))
    assert whole.shape[:2] == (10, 8)
    assert whole.requires_grad
    synthetic.extract.chunk_size = 1  # eight images of a class at a time
    parts = synthetic.features(draw)
    assert not parts.requires_grad
    assert_close(parts, whole.detach(), rtol=1e-5, atol=1e-6)


def test_a_part_of_the_classes_is_augmented_by_its_own_draw(make):
    played = make(ipc=2)
    draw, part = drawn_augmentation(played), slice(3, 5)
    own = played.synthetic.training_images(draw.of(part), part)
    assert torch.equal(own, played.synthetic.training_images(draw)[part])
