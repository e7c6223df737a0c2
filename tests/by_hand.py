"""An iteration by hand: what it draws, in its order, and what a discrepancy is then."""

import torch


def clones(tensors):
    return [t.detach().clone() for t in tensors]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def drawn(played):
    """Draw what an iteration draws first, in its order: extractor, augmentation, real features."""
    played.pool.draw(played.streams["teachers"])
    stored = played.images.tensors[0]
    draw = played.views.augment.draw(len(stored), stored.shape[-1], played.streams["augment"])
    return played.real.features(draw, played.streams["batches"]), draw


def drawn_augmentation(played):
    """Draw an extractor and an augmentation, as an iteration does."""
    played.pool.draw(played.streams["teachers"])
    stored = played.images.tensors[0]
    return played.views.augment.draw(len(stored), stored.shape[-1], played.streams["augment"])


def discrepancy_now(played, real, draw, generator_state):
    """Discrepancies (C,) of the images as they are, at the frequencies that the given state draws."""
    generator = torch.Generator()
    generator.set_state(generator_state)
    with torch.no_grad():
        synthetic = played.synthetic.features_of(played.synthetic.training_images(draw))
        return played.objective.discrepancy(real, synthetic, generator)
