"""The published way of computing an iteration, written from its description, to race against.

Classes one by one; eager float32 on PyTorch's operators; the real and the synthetic images of a class augmented as one
batch; an optimizer step over the whole image tensor for every class; then the calibration, class by class again.

There are two forms. As the published code is shipped, every class has its own fixed Gaussian frequencies and one loss.
With its switch for learned frequencies on, the loss is differentiated twice, by way of the same graph: once for the
images and once, negated, for the sampler. The stand-in has the teachers, augmentation, samplers and discrepancy of the
package.

Reference:
    gszfwsb/NCFM: ``condenser/compute_loss.py``, ``NCFM/NCFM.py``, and ``config/ipc10/cifar10.yaml`` for what is shipped
    (``sampling_net: False``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ncfm import kernels
from ncfm._utils.types import Phi
from ncfm.data.augment import SiameseAugment
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalize
from ncfm.discrepancy import ncfd_from_phi
from ncfm.synthetic.formation import decode


class ReferenceLoop:
    """Calling it plays one iteration.

    A sampler without parameters makes it the loop as shipped, one with parameters that with learned frequencies.
    """

    def __init__(self, real, stored, sampler, pool, *, real_batch, factor, strategy, image_lr, adversary_lr, generator):
        self.real, self.sampler, self.pool, self.generator = real, sampler, pool, generator
        self.real_batch, self.factor, self.augment = real_batch, factor, SiameseAugment(strategy)
        self.stored = stored.clone().requires_grad_()
        self.images_optimizer = torch.optim.Adam([self.stored], lr=image_lr)
        parameters = list(sampler.parameters())
        self.psi_optimizer = torch.optim.Adam(parameters, lr=adversary_lr) if parameters else None

    def __call__(self) -> None:
        """One iteration over all classes."""
        self.pool.draw(self.generator)
        self.clamp()
        with kernels.switched_off():
            for label in range(len(self.stored)):
                self.match(label)
            self.pool.draw_trained(self.generator)
            for label in range(len(self.stored)):
                self.calibrate(label)

    def match(self, label: int) -> None:
        """One class: the images descend; then psi ascends, if it is learned."""
        start, count = int(self.real.offsets[label]), int(self.real.counts[label])
        at = start + torch.randperm(count, generator=self.generator)[: self.real_batch]
        real = to_float(self.real.images[at])
        batch = self.augmented(torch.cat([real, self.decoded(label)]))
        with torch.no_grad():
            target = self.features(batch[: len(real)])
        loss = self.discrepancy(target, self.features(batch[len(real) :]))
        loss.item()  # the published code sums it, which waits for a GPU
        self.images_optimizer.zero_grad()
        if self.psi_optimizer is None:
            loss.backward()
            self.images_optimizer.step()
            return
        self.psi_optimizer.zero_grad()
        loss.backward(retain_graph=True)
        self.images_optimizer.step()
        self.psi_optimizer.zero_grad()  # the published code adds both gradients in one buffer, where they cancel
        (-loss).backward()
        self.psi_optimizer.step()

    def discrepancy(self, real: Tensor, synthetic: Tensor) -> Tensor:
        """Of features (n, d) and (m, d), at frequencies drawn for this class."""
        t = self.sampler.sample(self.generator)
        return ncfd_from_phi(characteristic_function(real, t), characteristic_function(synthetic, t))

    def calibrate(self, label: int) -> None:
        """One class: cross-entropy under the trained teacher."""
        logits = self.pool.whole(self.augmented(self.decoded(label)))
        loss = F.cross_entropy(logits, torch.full((len(logits),), label))
        loss.item()
        self.images_optimizer.zero_grad()
        loss.backward()
        self.images_optimizer.step()

    def decoded(self, label: int) -> Tensor:
        """Training images (m, c, h, w) of a class."""
        return decode(self.stored[label : label + 1], self.factor)[0]

    def augmented(self, images: Tensor) -> Tensor:
        """Normalised and augmented by one draw, (n, c, h, w)."""
        draw = self.augment.draw(1, self.stored.shape[-1], self.generator)
        return self.augment.apply(normalize(images, self.pool.statistics)[None], draw)[0].contiguous()

    def features(self, images: Tensor) -> Tensor:
        """Unit feature vectors (n, d)."""
        return F.normalize(self.pool.blended.forward_features(images), dim=-1)

    @torch.no_grad()
    def clamp(self) -> None:
        """Pixels back into [0, 1]."""
        self.stored.clamp_(0, 1)


def characteristic_function(x: Tensor, t: Tensor) -> Phi:
    """Real and imaginary part (k,) at frequencies (k, d), from a product each, as the published code has them."""
    return Phi((t @ x.T).cos().mean(1), (t @ x.T).sin().mean(1))
