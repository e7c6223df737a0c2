"""The published way of computing an iteration, written from its description, to race against.

Classes one by one; eager float32 on PyTorch's operators; for each class a loss for the images and another one for psi,
each evaluated and differentiated by itself; an optimizer step over the whole image tensor for every class; then the
calibration, class by class again. It computes the same as `ncfm.distillation.minmax_step`: the same teachers,
augmentation, frequencies and discrepancy. It has one advantage over the published code: its two losses do not meet in
one buffer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ncfm import kernels
from ncfm.data.augment import SiameseAugment
from ncfm.data.image_set import normalize, to_float
from ncfm.discrepancy import ncfd
from ncfm.synthetic.formation import decode


class ReferenceLoop:
    """Calling it plays one iteration."""

    def __init__(self, real, stored, sampler, pool, *, real_batch, factor, strategy, image_lr, adversary_lr, generator):
        self.real, self.sampler, self.pool, self.generator = real, sampler, pool, generator
        self.real_batch, self.factor, self.augment = real_batch, factor, SiameseAugment(strategy)
        self.stored = stored.clone().requires_grad_()
        self.images_optimizer = torch.optim.Adam([self.stored], lr=image_lr)
        self.psi_optimizer = torch.optim.Adam(sampler.parameters(), lr=adversary_lr)

    def __call__(self) -> None:
        """One iteration over all classes."""
        self.pool.draw(self.generator)
        with kernels.switched_off():
            for label in range(len(self.stored)):
                self.match(label)
            self.pool.draw_trained(self.generator)
            for label in range(len(self.stored)):
                self.calibrate(label)

    def match(self, label: int) -> None:
        """One class: the images descend, then psi ascends."""
        draw = self.augment.draw(1, self.stored.shape[-1], self.generator)
        start, count = int(self.real.offsets[label]), int(self.real.counts[label])
        at = start + torch.randperm(count, generator=self.generator)[: self.real_batch]
        with torch.no_grad():
            real = self.features(self.prepare(to_float(self.real.images[at])[None], draw))
        synthetic = self.features(self.prepare(self.decoded(label), draw))

        loss = ncfd(real, synthetic, self.sampler.sample(self.generator).detach(), chunk_size=len(real))
        self.images_optimizer.zero_grad()
        loss.backward()
        self.images_optimizer.step()
        self.clamp()

        loss = -ncfd(real, synthetic.detach(), self.sampler.sample(self.generator), chunk_size=len(real))
        self.psi_optimizer.zero_grad()
        loss.backward()
        self.psi_optimizer.step()

    def calibrate(self, label: int) -> None:
        """One class: cross-entropy under the trained teacher."""
        draw = self.augment.draw(1, self.stored.shape[-1], self.generator)
        logits = self.pool.whole(self.prepare(self.decoded(label), draw))
        loss = F.cross_entropy(logits, torch.full((len(logits),), label))
        self.images_optimizer.zero_grad()
        loss.backward()
        self.images_optimizer.step()
        self.clamp()

    def decoded(self, label: int) -> torch.Tensor:
        """Training images (1, m, c, h, w) of a class."""
        return decode(self.stored[label : label + 1], self.factor)

    def prepare(self, images: torch.Tensor, draw) -> torch.Tensor:
        """Normalised and augmented, (n, c, h, w)."""
        return self.augment.apply(normalize(images, self.pool.statistics), draw)[0].contiguous()

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Unit feature vectors (n, d)."""
        return F.normalize(self.pool.blended.forward_features(images), dim=-1)

    @torch.no_grad()
    def clamp(self) -> None:
        """Pixels back into [0, 1]."""
        self.stored.clamp_(0, 1)
