"""Slow reference of one iteration: a loop over classes, each with its own real batch, decoding and augmentation.

In float64 throughout, so that what is left between it and the step is the step's own rounding.
"""

import copy

import torch

from oracles import decode_loop


def of_group(parameters, index):
    """The draw of one group alone."""
    return parameters.of(slice(index, index + 1))


def prepare(images, statistics, augment, parameters):
    """(n, c, h, w) in [0, 1] -> normalised and augmented, all by one draw."""
    mean, std = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in statistics[:2])
    return augment.apply(((images - mean) / std)[None], parameters)[0]


def features(network, images):
    """On the unit sphere, image by image."""
    rows = [network.forward_features(image[None])[0] for image in images]
    return torch.stack([row / row.square().sum().sqrt() for row in rows])


def ncfd_complex(x, y, t, alpha, epsilon):
    """The formula in complex numbers."""
    a, b = (torch.exp(1j * (z @ t.T)).mean(0) for z in (x, y))
    amplitude = (a.abs() - b.abs()) ** 2
    phase = 2 * (a.abs() * b.abs() - (a * b.conj()).real)
    gap = alpha * amplitude + (1 - alpha) * phase
    return ((gap + epsilon).sqrt() - epsilon**0.5).mean()


def iteration_loop(stored, real, t, *, pool, augment, parameters, factor, mode, bound, alpha, epsilon):
    """Discrepancies of all classes summed, and the cross-entropy over all images.

    stored (C, ipc, c, h, w) with gradient; real: a list of (n, c, h, w) in [0, 1], a class each; the pool as drawn.
    """
    blended, trained = (copy.deepcopy(network).double() for network in (pool.blended, pool.whole))
    discrepancy, cross_entropy, count = 0.0, 0.0, 0
    decoded = decode_loop(stored, factor, mode, bound)
    for label, (own, theirs) in enumerate(zip(decoded, real, strict=True)):
        draw = of_group(parameters, label)
        x = features(blended, prepare(theirs, pool.statistics, augment, draw)).detach()
        seen = prepare(torch.stack(own), pool.statistics, augment, draw)
        discrepancy = discrepancy + ncfd_complex(x, features(blended, seen), t, alpha, epsilon)
        for image in seen:
            logits = trained(image[None])[0]
            cross_entropy = cross_entropy + logits.exp().sum().log() - logits[label]
            count += 1
    return discrepancy, cross_entropy / count
