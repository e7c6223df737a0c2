"""One iteration of the min-max: the images descend, the adversary ascends.

Two players, two optimizers, two gradient buffers. Each gets exactly its own gradients (`torch.autograd.grad` of its
own tensors), so neither can cancel or stain the other's. The published code lets the gradients of ``loss`` and
``-loss`` meet in one buffer, where they cancel, and never trains its sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.optim import Optimizer

from ncfm._checks import check_at_least
from ncfm._device import available_memory
from ncfm._seeding import Streams
from ncfm._typing import Features, GroupedImages
from ncfm.augment import AugmentParameters, SiameseAugment
from ncfm.data.images import ImageSplit, draw_class_batches, normalizer, to_float
from ncfm.diagnosis import Diagnosis, Spectrum, diagnose, spectrum
from ncfm.features import FeatureExtractor, in_chunks, kept_bytes_per_image
from ncfm.formation import decode, decoded_ipc
from ncfm.objectives import CharacteristicMatching, Measured, Objective, measure
from ncfm.teachers import TeacherPool
from ncfm.training import batch_norms, channels_last, recompute_batch_norms

MEMORY_SHARE = 0.4  # of the free memory, for the activations of one pass; matching and calibration keep one each
REAL_CHUNKS = 8  # passes of the extractor between two gatherings of real images


class StepRecord(NamedTuple):
    """What an iteration measured, as tensors: reading them as numbers waits for the device."""

    discrepancy: Tensor  # () mean over classes, before the images moved
    calibration: Tensor  # () cross-entropy of the synthetic images under a trained teacher; 0 if switched off
    amplitude: Tensor | None = None  # () mean over classes and frequencies of the squared gap of amplitudes
    phase: Tensor | None = None  # () the same of the phases; None for an objective that has no such parts


class Player:
    """The tensors that one side moves, with their optimizer.

    Args:
        tensors: leaves of the graph.
        optimizer: steps on exactly these; built with ``maximize=True`` for the side that ascends.
    """

    def __init__(self, tensors: Sequence[Tensor], optimizer: Optimizer) -> None:
        self.tensors = list(tensors)
        self.optimizer = optimizer

    def move(self, gradients: Sequence[Tensor]) -> None:
        """One optimizer step with the given gradients of `tensors`."""
        for tensor, gradient in zip(self.tensors, gradients, strict=True):
            tensor.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def ascend(
    objective: Objective, adversary: Player, real: Features, synthetic: Features, generator: Generator
) -> Tensor:
    """One step of the adversary with the images frozen; returns the discrepancies (C,) before it."""
    discrepancy = objective.discrepancy(real.detach(), synthetic.detach(), generator)
    adversary.move(torch.autograd.grad(discrepancy.sum(), adversary.tensors))
    return discrepancy.detach()


class MinMaxStep:
    """Everything an iteration needs; calling it plays one.

    All classes go through together: real batch (C, n, c, h, w), features (C, n, d), one projection, means by class.
    No loop over classes.

    Args:
        real: the training split, uint8, on the device.
        images: the descending player; its one tensor is (C, ipc, c, h, w) in [0, 1].
        adversary: the ascending player; None if the objective has none, or for a run without min-max.
        objective: what is matched.
        pool: where extractors and calibrating teachers are drawn.
        streams: named random generators.
        augment: DSA; one draw for each class serves its real and its synthetic half.
        real_batch_per_class: n.
        factor, mode, bound: formation of the stored images.
        matching_weight: on the sum over classes of the discrepancy.
        calibration_weight: on the cross-entropy under a trained teacher; 0 switches it off.
        ascent_steps, descent_steps: moves of each player in an iteration. One of each share one backward pass and
            move at the same time; otherwise the adversary moves first. The real features are computed once.
        normalize_features: project features onto the unit sphere.
        extractor: drawn for each iteration, see `TeacherPool.draw`.
        recompute_batch_norms: of an extractor with BatchNorm layers, collect the statistics from up to
            `REAL_CHUNKS` chunks of the iteration's real images: blended weights have other activations than those
            that its blended statistics come from.
        precision, chunk_size, compile_networks: see `FeatureExtractor`.
        compile_step: compile everything from the stored images to the losses as one; only the random draws in between
            stay outside.
        gradient_chunk_size: synthetic images per pass with gradient, see `FeatureExtractor`; by default all, or what
            fits into `MEMORY_SHARE` of the memory that is free.
    """

    def __init__(
        self,
        real: ImageSplit,
        images: Player,
        adversary: Player | None,
        *,
        objective: Objective,
        pool: TeacherPool,
        streams: Streams,
        augment: SiameseAugment,
        real_batch_per_class: int,
        factor: int = 1,
        mode: str = "single",
        bound: int = 128,
        matching_weight: float = 1.0,
        calibration_weight: float = 1.0,
        ascent_steps: int = 1,
        descent_steps: int = 1,
        normalize_features: bool = True,
        extractor: str = "blended",
        recompute_batch_norms: bool = True,
        precision: torch.dtype = torch.float32,
        chunk_size: int = 64,
        gradient_chunk_size: int | None = None,
        compile_networks: bool = False,
        compile_step: bool = False,
    ) -> None:
        check_at_least(ascent_steps, 0, "ascent_steps")
        check_at_least(descent_steps, 1, "descent_steps")
        self.real, self.images, self.adversary = real, images, adversary
        self.objective, self.pool, self.streams, self.augment = objective, pool, streams, augment
        self.real_batch_per_class = real_batch_per_class
        # Real images become floats so many at a time: the uint8 set and the features are all that grows with n.
        self.real_rows = max(REAL_CHUNKS * chunk_size // len(real.counts), 1)
        self.formation = (factor, mode, bound)
        self.matching_weight, self.calibration_weight = matching_weight, calibration_weight
        self.ascent_steps = ascent_steps if adversary is not None else 0
        self.descent_steps = descent_steps
        self.extractor, self.precision = extractor, precision
        self.normalize = normalizer(pool.statistics, images.tensors[0].device)
        self.recompute_batch_norms = recompute_batch_norms and bool(batch_norms(pool.blended))
        self.extract = FeatureExtractor(
            pool.blended,
            normalize=normalize_features,
            precision=precision,
            chunk_size=chunk_size,
            compile_network=compile_networks,
        )
        # Shapes never change. On CUDA the compiled parts run as graphs, launched whole.
        mode = "reduce-overhead" if real.labels.device.type == "cuda" else "default"
        self._losses = torch.compile(self._losses_of, dynamic=False, mode=mode) if compile_step else self._losses_of
        self.extract.gradient_chunk_size = gradient_chunk_size or self._fitting_chunk()

    @property
    def num_training_images(self) -> int:
        """Synthetic images that a pass over all classes takes, after decoding."""
        stored = self.images.tensors[0]
        return len(stored) * decoded_ipc(stored.shape[1], *self.formation)

    @property
    def images_per_pass(self) -> int | None:
        """Synthetic images that a pass with gradient holds; None for all."""
        return self.extract.gradient_chunk_size

    def tensors(self) -> dict[str, Tensor]:
        """What iterations change: the images, the adversary's weights, the objective's memory."""
        named = {"images": self.images.tensors[0]}
        if self.objective.adversary is not None:
            named |= {f"adversary.{name}": value for name, value in self.objective.adversary.named_parameters()}
        return named | {f"memory.{name}": value for name, value in self.objective.state().items()}

    def optimizers(self) -> dict[str, Optimizer]:
        """Those of the players."""
        players = {"images_optimizer": self.images, "adversary_optimizer": self.adversary}
        return {name: player.optimizer for name, player in players.items() if player is not None}

    def _fitting_chunk(self) -> int | None:
        """How many synthetic images a pass with gradient may hold; None if all of them fit."""
        stored = self.images.tensors[0]
        available = available_memory(stored.device)
        if available is None:
            return None
        with torch.no_grad():
            image = decode(stored[:1, :1], *self.formation).flatten(0, 1)[:1]
        fitting = int(MEMORY_SHARE * available / kept_bytes_per_image(self.extract, image))
        return None if self.num_training_images <= fitting else max(fitting, 1)

    def halve_chunks(self) -> bool:
        """After an allocation failed: smaller passes from now on. False if they are already single images."""
        total = self.num_training_images
        now = min(self.extract.gradient_chunk_size or total, total)
        if now == self.extract.chunk_size == self.real_rows == 1:
            return False
        self.extract.gradient_chunk_size = max(now // 2, 1)
        self.extract.chunk_size = max(self.extract.chunk_size // 2, 1)
        self.real_rows = max(self.real_rows // 2, 1)
        return True

    def __call__(self) -> StepRecord:
        """Play one iteration: draw, extract, ascend, descend, clamp."""
        self.pool.draw(self.streams["teachers"], self.extractor)
        stored = self.images.tensors[0]
        draw = self.augment.draw(stored.shape[0], stored.shape[-1], self.streams["augment"])
        real = self.real_features(draw, self.streams["batches"])
        together = self.ascent_steps == self.descent_steps == 1
        if self.adversary is not None and self.ascent_steps and not together:
            with torch.no_grad():
                synthetic = self.features_of(self.training_images(draw))
            for _ in range(self.ascent_steps):
                ascend(self.objective, self.adversary, real, synthetic, self.streams["frequencies"])
        for _ in range(self.descent_steps):
            record = self.descend(real, draw, with_ascent=together)
        self.objective.remember(real)
        return record

    def diagnose(self) -> Diagnosis | None:
        """What the adversary sees in fresh features, drawn by a stream of their own: the run goes on as if nobody had
        looked. None for an objective without frequencies."""
        if not isinstance(self.objective, CharacteristicMatching):
            return None
        rng, stored = self.streams["diagnosis"], self.images.tensors[0]
        self.pool.draw(rng, self.extractor)
        draw = self.augment.draw(stored.shape[0], stored.shape[-1], rng)
        with torch.no_grad():
            real = self.real_features(draw, rng)
            synthetic = self.features_of(self.training_images(draw))
        return diagnose(self.objective, real, synthetic, rng)

    def spectrum(self) -> Spectrum | None:
        """Of frequencies that the adversary gives, each time for the same noise; None if there is nothing learned."""
        if self.adversary is None or not isinstance(self.objective, CharacteristicMatching):
            return None
        rng = torch.Generator(device=self.images.tensors[0].device).manual_seed(0)
        return spectrum(self.objective.sampler.sample(rng))

    def descend(self, real: Features, draw: AugmentParameters, *, with_ascent: bool = False) -> StepRecord:
        """One step of the images, the adversary frozen; or of both at once from one backward pass."""
        if self.calibration_weight:
            self.pool.draw_trained(self.streams["calibration"])
        measured, calibration = self._losses(real, draw, self.streams["frequencies"])
        # The calibration does not depend on the adversary, so one loss serves both: each player takes the gradient of
        # its own tensors, and the adversary's optimizer goes up instead of down.
        loss = self.matching_weight * measured.discrepancy.sum() + self.calibration_weight * calibration
        mine = self.images.tensors
        theirs = self.adversary.tensors if with_ascent and self.adversary is not None else []
        gradients = torch.autograd.grad(loss, [*mine, *theirs])
        self.images.move(gradients[: len(mine)])
        if with_ascent and self.adversary is not None:
            self.adversary.move(gradients[len(mine) :])
        with torch.no_grad():
            mine[0].clamp_(0, 1)
        # Copies: a compiled step writes its next losses over these.
        parts = (None if part is None else part.mean() for part in measured[1:])
        return StepRecord(measured.discrepancy.detach().mean(), calibration.detach().clone(), *parts)

    def _losses_of(self, real: Features, draw: AugmentParameters, generator: Generator) -> tuple[Measured, Tensor]:
        """Discrepancies (C,) with their parts, and calibration loss () of the synthetic images: all that has a
        gradient."""
        training = self.training_images(draw)
        measured = measure(self.objective, real, self.features_of(training), generator)
        return measured, self.calibrate(training)

    def calibrate(self, training: GroupedImages) -> Tensor:
        """Cross-entropy of augmented synthetic images (C, m, c, h, w) under the trained teacher drawn last."""
        if self.calibration_weight == 0:
            return training.new_zeros(())
        classes, m = training.shape[:2]
        labels = torch.arange(classes, device=training.device).repeat_interleave(m)
        with torch.autocast(training.device.type, dtype=self.precision, enabled=self.precision != torch.float32):
            images = channels_last(training.flatten(0, 1))
            logits = in_chunks(self.pool.classify, images, self.extract.gradient_chunk_size)
        return F.cross_entropy(logits.float(), labels)

    @torch.no_grad()
    def real_features(self, draw: AugmentParameters, generator: Generator) -> Features:
        """Features (C, n, d) of a fresh random real batch, augmented as the synthetic images are; no gradient."""
        at = draw_class_batches(self.real, self.real_batch_per_class, generator)
        parts = at.split(self.real_rows, dim=1)
        if self.recompute_batch_norms:
            first = self._real_images(parts[0], draw).transpose(0, 1)  # every batch has images of all classes
            recompute_batch_norms(self.pool.blended, first.flatten(0, 1).split(max(self.extract.chunk_size, 2)))
        features = [self._features_at(part, draw) for part in parts]
        return features[0] if len(features) == 1 else torch.cat(features, dim=1)

    def _features_at(self, at: Tensor, draw: AugmentParameters) -> Features:
        """Features (C, n, d) of the real images at positions (C, n)."""
        return self.extract.without_gradient(self._real_images(at, draw).flatten(0, 1)).unflatten(0, at.shape)

    def _real_images(self, at: Tensor, draw: AugmentParameters) -> GroupedImages:
        """The real images at positions (C, n) as a network sees them, (C, n, c, h, w)."""
        batch = to_float(self.real.batch(at.flatten())).unflatten(0, at.shape)
        return self.augment.apply(self.normalize(batch), draw)

    def training_images(self, draw: AugmentParameters) -> GroupedImages:
        """The synthetic images as a network sees them: decoded, normalised, augmented, (C, m, c, h, w)."""
        decoded = decode(self.images.tensors[0], *self.formation)
        return self.augment.apply(self.normalize(decoded), draw)

    def features_of(self, training: GroupedImages) -> Features:
        """Features (C, m, d) with gradient."""
        return self.extract(training.flatten(0, 1)).unflatten(0, training.shape[:2])
