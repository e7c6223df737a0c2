"""One iteration of the min-max: the images descend, the adversary ascends.

Two players, two optimizers, two gradient buffers. Each player gets the gradients of its own tensors only
(`torch.autograd.grad`), so neither can cancel the other's. The published code accumulates the gradients of ``loss`` and
``-loss`` in one buffer, where they cancel, and never trains its sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.optim import Optimizer

from ncfm._utils.accelerator import autocast, graph_mode, to_device
from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.compute import Compute
from ncfm._utils.seeding import Streams
from ncfm._utils.stages import stage
from ncfm._utils.types import Features, GroupedImages
from ncfm.data.augment import AugmentParameters, SiameseAugment
from ncfm.data.image_set import ImageSplit, draw_class_batches, normalizer, to_float
from ncfm.data.strata import Strata
from ncfm.discrepancy.per_teacher import conditioned_samplers
from ncfm.distillation.class_sizes import ByGroups, ClassSizes, EqualSizes, UnequalSizes
from ncfm.distillation.diagnosis import Diagnosis, Spectrum
from ncfm.distillation.objective import ALL
from ncfm.distillation.objectives import Measured, Objective
from ncfm.distillation.options import Extraction, Matching
from ncfm.distillation.pass_sizes import class_slices
from ncfm.distillation.players import Player, ascend
from ncfm.distillation.real_batch import RealBatch
from ncfm.distillation.step_gradients import calibration_gradient, gradients_in_one_graph, gradients_in_passes
from ncfm.distillation.step_memory import choose_passes
from ncfm.networks.features import FeatureExtractor, at_least_single, in_chunks
from ncfm.networks.layout import channels_last
from ncfm.synthetic.counts import in_use
from ncfm.synthetic.formation import Formation
from ncfm.training.fit import batch_norms, recompute_batch_norms
from ncfm.training.teachers import TeacherPool

REAL_CHUNKS = 8  # passes of the extractor whose real images are converted to floats together


class StepRecord(NamedTuple):
    """The measurements of an iteration, as tensors: converting them to numbers waits for the device."""

    discrepancy: Tensor  # () mean over classes, before the update of the images
    calibration: Tensor  # () cross-entropy of the synthetic images under a trained teacher; 0 if switched off
    amplitude: Tensor | None = None  # () mean squared amplitude gap over classes and frequencies
    phase: Tensor | None = None  # () the same for phases; None for objectives without these parts
    criterion: Tensor | None = None  # () what the adversary ascends, if it is not the discrepancy; mean over classes


def _parts(num_classes: int, classes_per_step: int | None) -> list[slice]:
    """Slices of at most ``classes_per_step`` classes each."""
    if classes_per_step is None or classes_per_step >= num_classes:
        return [ALL]
    check_at_least(classes_per_step, 1, "classes_per_step")
    return [slice(first, first + classes_per_step) for first in range(0, num_classes, classes_per_step)]


def _total(records: Sequence[StepRecord]) -> StepRecord:
    """The means over all classes, from the records of slices, which hold their share of the means."""
    return StepRecord._make(None if values[0] is None else sum(values) for values in zip(*records, strict=True))


def _check_together(objective: Objective, num_parts: int, compute: Compute, *, is_equal: bool) -> None:
    """Check that an objective and the sizes of the classes allow the parts, ranks and compilation of a step.

    Args:
        objective: what is matched.
        num_parts: parts of the classes, each a step of its own.
        compute: ranks and compilation.
        is_equal: whether all classes have as many images.

    Raises:
        InputError: if they do not.
    """
    if not is_equal and (num_parts > 1 or compute.compile_step):
        raise InputError(
            "distill.classes_per_step and machine.compile=step need equal classes; leave them out, or give one "
            "number as --ipc."
        )
    if num_parts > 1 and (compute.compile_step or not compute.ranks.is_single or objective.state()):
        raise InputError(
            "distill.classes_per_step is for one process, for objectives without state and without "
            "machine.compile=step; leave it out to let every step see all classes."
        )
    if objective.couples_classes and (num_parts > 1 or not compute.ranks.is_single):
        raise InputError(
            "This objective compares each class with the others; run it in one process, without "
            "distill.classes_per_step."
        )


def check_conditioned(extractor: str, *, compile_step: bool) -> None:
    """Check that extractors are those of teachers, and samplers may change, for samplers conditioned on them.

    Raises:
        InputError: if not.
    """
    if extractor == "random":
        raise InputError(
            "A sampler conditioned on the extractor (frequencies.per_teacher) needs teachers, got "
            "teachers.extractor=random; choose blended or trained."
        )
    if compile_step:
        raise InputError(
            "machine.compile=step compiles one sampler, not one for each teacher; leave it out, or "
            "frequencies.per_teacher."
        )


class MinMaxStep:
    """One iteration of distribution matching; calling the object runs it.

    Classes are processed together, as many as memory allows: real batch (C, n, c, h, w), features (C, n, d), one
    projection, means by class. How many these are changes rounding, not the result.

    Several ranks share the classes. Each rank draws the random numbers of all classes and uses those of its own, so
    that the images are updated as in one process. All ranks hold the adversary, and update it with the sum of their
    gradients.

    An adversary that is, or contains, a `ConditionedSampler` is given the extractor of every iteration.

    Args:
        real: the training split, uint8, on the device; with several ranks anywhere, with all classes.
        images: the descending player; its one tensor is (C, ipc, c, h, w) in [0, 1], with several ranks of the rank's
            classes.
        adversary: the ascending player; None if the objective has none, or for a run without min-max.
        objective: what is matched.
        pool: teachers, from which extractors and calibrating networks are drawn.
        streams: named random generators.
        formation: of the stored images.
        matching: batches, updates and weights; one augmentation draw per class serves its real and its synthetic half.
        extraction: the network that extracts the features, drawn for each iteration.
        counts: stored images of each class of the rank, if they are unequal; None: all of them.
        strata: clusters of the training split over which real batches are drawn evenly; None: uniformly.
        compute: device, precision, passes, and the ranks that share the classes. Passes hold as many images as
            `ncfm.distillation.pass_sizes` finds, unless it says otherwise.

    Raises:
        NcfmError: for more ranks than classes, or ``classes_per_step`` where it is not possible.
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
        formation: Formation,
        matching: Matching,
        extraction: Extraction,
        compute: Compute,
        counts: tuple[int, ...] | None = None,
        strata: Strata | None = None,
    ) -> None:
        self.ranks, self.num_classes = compute.ranks, len(real.counts)
        self.classes = self.ranks.share(self.num_classes)
        self.whole, self.images, self.adversary = real, images, adversary
        device = images.tensors[0].device
        self.real = real if self.ranks.is_single else real.of_classes(self.classes).to(device)
        self.first_image = int(real.offsets[self.classes][0])
        self.pool, self.streams = pool, streams
        self.formation, self.matching, self.extraction, self.compute = formation, matching, extraction, compute
        self.strata = strata
        # The discrepancy is summed over classes; the calibration is a mean over them unless it is summed too.
        self.calibration_weight = matching.calibration_weight * (
            self.num_classes if matching.calibration_reduction == "sum" else 1
        )
        self.calibrates_apart = matching.calibration_step == "separate" and matching.calibration_weight > 0
        self.augment = SiameseAugment(matching.augment)
        stored = images.tensors[0]
        used = formation.decoded_in_use(in_use(counts or (stored.shape[1],) * len(stored), stored.shape[1]))
        self.images_of_class: list[int] = used.sum(1).tolist()  # decoded synthetic images
        self.sizes: ClassSizes = EqualSizes(used.shape[1]) if counts is None else UnequalSizes(used, device)
        self.objective = objective if counts is None else ByGroups(objective, self.images_of_class, device)
        self.ascent_steps = matching.ascent_steps if adversary is not None else 0
        self.parts = _parts(len(self.real.counts), matching.classes_per_step)
        _check_together(objective, len(self.parts), compute, is_equal=counts is None)
        self.conditioned = conditioned_samplers(objective.adversary)
        if self.conditioned:
            check_conditioned(extraction.extractor, compile_step=compute.compile_step)
        self.normalize = normalizer(pool.statistics, device)
        recomputed = extraction.batch_norm == "recomputed"
        self.recompute_batch_norms = recomputed and bool(batch_norms(pool.blended))
        self.extract = FeatureExtractor(
            pool.blended,
            normalize=matching.normalize_features,
            layers=extraction.layers,
            precision=compute.precision,
            compile_network=compute.compile_networks,
        )
        self.losses = self._losses_of
        if compute.compile_step:  # shapes never change
            self.losses = torch.compile(self._losses_of, dynamic=False, mode=graph_mode(device))
        self.extract.chunk_size, self.extract.gradient_chunk_size = choose_passes(self)

    @property
    def images_per_pass(self) -> int | None:
        """Synthetic images per pass with gradient; None for all."""
        return self.extract.gradient_chunk_size

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that iterations change: images, weights of the adversary, state of the objective."""
        named = {"images": self.images.tensors[0]}
        if self.objective.adversary is not None:
            named |= {f"adversary.{name}": value for name, value in self.objective.adversary.named_parameters()}
        return named | {f"memory.{name}": value for name, value in self.objective.state().items()}

    def optimizers(self) -> dict[str, Optimizer]:
        """The optimizers of the players."""
        players = {"images_optimizer": self.images, "adversary_optimizer": self.adversary}
        return {name: player.optimizer for name, player in players.items() if player is not None}

    @property
    def num_training_images(self) -> int:
        """Decoded synthetic images of all classes."""
        return sum(self.images_of_class)

    @property
    def passes_by_classes(self) -> bool:
        """Whether the gradients of some classes can be taken before those of others."""
        return not (self.compute.compile_step or self.objective.couples_classes or self.objective.state())

    @property
    def reuses_real_features(self) -> bool:
        """Whether the real features of all classes are kept: for several updates, or for the objective's memory."""
        return self.ascent_steps > 1 or self.matching.descent_steps > 1 or bool(self.objective.state())

    def halve_chunks(self) -> bool:
        """Halve the passes after a failed allocation. False if they are single images already."""
        total = self.num_training_images
        now = min(self.extract.gradient_chunk_size or total, total)
        if now == self.extract.chunk_size == 1:
            return False
        self.extract.gradient_chunk_size = max(now // 2, 1)
        self.extract.chunk_size = max(self.extract.chunk_size // 2, 1)
        return True

    @property
    def can_be_repeated(self) -> bool:
        """Whether an iteration can be repeated: in one process, or if ranks communicate only at its end."""
        once = self.matching.descent_steps == 1 and self.ascent_steps <= 1 and not self.calibrates_apart
        return self.ranks.is_single or once

    def __call__(self) -> StepRecord:
        """Run one iteration: draw, extract, ascend, descend, clamp."""
        self.draw_extractor(self.streams["teachers"])
        drawn = self._draw_augmentation(self.streams["augment"])
        real, draw = self.real_batch(drawn, self.streams["batches"]), drawn.of(self.classes)
        features = real[ALL] if self.reuses_real_features else real
        together = self.ascent_steps == self.matching.descent_steps == 1
        if self.adversary is not None and self.ascent_steps and not together:
            synthetic = self.synthetic_features(draw)
            for _ in range(self.ascent_steps):
                ascend(
                    self.objective, self.adversary, features[ALL], synthetic, self.streams["frequencies"], self.ranks
                )
        for _ in range(self.matching.descent_steps):
            records = [self.descend(features, draw, part, with_ascent=together) for part in self.parts]
        record = records[0] if len(records) == 1 else _total(records)
        if self.calibrates_apart:
            record = record._replace(calibration=self.descend_apart())
        if self.objective.state():
            self.objective.remember(features[ALL])
        return record

    def draw_extractor(self, generator: Generator) -> None:
        """Draw the network that extracts the features, and condition the adversary on it."""
        e = self.extraction
        self.pool.draw(generator, e.extractor, blend=(e.blend_low, e.blend_high), epochs=(e.first_epoch, e.last_epoch))
        for sampler in self.conditioned:
            assert self.pool.drawn is not None  # by `check_conditioned`
            sampler.condition(*self.pool.drawn)

    def _draw_augmentation(self, generator: Generator) -> AugmentParameters:
        """An augmentation for every class, on all ranks; on the device of the images."""
        stored = self.images.tensors[0]
        return self.augment.draw(self.num_classes, stored.shape[-1], generator, choose_each=True).to(stored.device)

    def diagnose(self) -> Diagnosis | None:
        """Diagnosis of the adversary on new features; None for an objective without frequencies, and for
        unequal classes.

        A random stream of its own draws them, so that the run is not changed.
        """
        if not self.objective.has_frequencies or isinstance(self.sizes, UnequalSizes):
            return None
        rng = self.streams["diagnosis"]
        self.draw_extractor(rng)
        draw = self._draw_augmentation(rng)
        with torch.no_grad():
            real = self.real_features(draw, rng)
            synthetic = self.synthetic_features(draw.of(self.classes))
        real, synthetic = (self.ranks.gather(features, self.num_classes) for features in (real, synthetic))
        return self.objective.diagnose(real, synthetic, rng)

    def spectrum(self) -> Spectrum | None:
        """Spectrum of the adversary's frequencies for a fixed noise; None if nothing is learned."""
        if self.adversary is None or not self.objective.has_frequencies:
            return None
        rng = torch.Generator(device=self.images.tensors[0].device).manual_seed(0)
        return self.objective.spectrum(rng)

    def descend(
        self, real: Features | RealBatch, draw: AugmentParameters, part: slice = ALL, *, with_ascent: bool = False
    ) -> StepRecord:
        """One update of the images with the adversary frozen; or of both from one backward pass.

        Real features and draw are of all classes. Only those of ``part`` enter the loss, and the record holds their
        share of the means.
        """
        if self.matching.calibration_weight and not self.calibrates_apart:
            self.pool.draw_trained(self.streams["calibration"])
        theirs = self.adversary.active if with_ascent and self.adversary is not None else []
        gradients = gradients_in_one_graph if self.compute.compile_step else gradients_in_passes
        found = gradients(self, real, draw, part, theirs)
        with stage("optimizer"):
            self.images.update([found.images])
        share = self.share(part)
        means = {name: share * values.mean() for name, values in found.measured._asdict().items() if values is not None}
        # One message for everything that ranks sum.
        summed = self.ranks.sum([*found.others, found.calibration, *means.values()])
        with stage("adversary"):
            if with_ascent and self.adversary is not None:
                self.adversary.update(summed[: len(theirs)])
        with torch.no_grad():
            self.images.tensors[0].clamp_(0, 1)
        calibrated, *values = summed[len(theirs) :]
        return StepRecord(calibration=calibrated, **dict(zip(means, values, strict=True)))

    def descend_apart(self) -> Tensor:
        """One more update of the images, by the calibration alone, with an augmentation of its own; the loss before it.

        The teacher is that of the iteration's extractor, or a random one if the extractor is no teacher.

        Reference:
            Hansong-Zhang/DANCE, ``DANCE.py``, after "inter-class view"; gszfwsb/NCFM, ``condenser/compute_loss.py``.
        """
        draw = self._draw_augmentation(self.streams["calibration"]).of(self.classes)
        total = self.images.tensors[0].new_zeros(())
        if self.pool.drawn is None:
            self.pool.draw_trained(self.streams["calibration"])
        else:
            self.pool.trained(self.pool.drawn.teacher)
        for part in self.parts:
            loss, gradient = calibration_gradient(self, draw, part)
            self.images.update([gradient])
            total = total + loss
            with torch.no_grad():
                self.images.tensors[0].clamp_(0, 1)
        return self.ranks.sum([total])[0]

    def share(self, part: slice) -> float:
        """Share of a part of the classes in a mean over all classes of all ranks."""
        return len(range(*part.indices(len(self.real.counts)))) / self.num_classes

    def calibration_share(self, classes: slice, part: slice) -> float:
        """Share of the calibration of some classes in that of all, where a step sees those of ``part``."""
        if self.matching.calibration_reduction == "sum":  # a mean over classes, else over images
            return self.share(classes)
        return sum(self.images_of_class[classes]) / sum(self.images_of_class[part]) * self.share(part)

    @property
    def weights(self) -> tuple[float, float]:
        """Of matching and of a calibration in the same update."""
        return self.matching.matching_weight, 0.0 if self.calibrates_apart else self.calibration_weight

    def passes(self, part: slice = ALL) -> list[slice]:
        """The classes of a part in slices, each of which is a pass with gradient."""
        if not self.passes_by_classes:
            return [part]
        return class_slices(self.images_of_class, part, self.images_per_pass)

    def _losses_of(
        self, real: Features, draw: AugmentParameters, generator: Generator, part: slice = ALL
    ) -> tuple[Measured, Tensor]:
        """Discrepancies (C,) with their parts, and calibration loss () of the synthetic images of a part of the
        classes: all that has a gradient."""
        training = self.training_images(draw, part)
        measured = self.objective.measure(real, self.features_of(training, part), generator)
        return measured, self.calibrate(training, part) if self.weights[1] else training.new_zeros(())

    def calibrate(self, training: GroupedImages, part: slice = ALL) -> Tensor:
        """Cross-entropy of augmented synthetic images (C, m, c, h, w) under the trained teacher drawn last."""
        classes = torch.arange(self.num_classes, device=training.device)[self.classes][part]
        sizes = self.sizes.of(part)
        labels = sizes.labels(classes)
        with autocast(training.device, self.compute.precision):
            images = channels_last(sizes.images(training))
            logits = in_chunks(self.pool.classify, images, self.extract.gradient_chunk_size)
        if self.matching.calibration_reduction == "sum":
            return sizes.mean_of_classes(F.cross_entropy(at_least_single(logits), labels, reduction="none"))
        return F.cross_entropy(at_least_single(logits), labels)

    def real_features(self, draw: AugmentParameters, generator: Generator) -> Features:
        """Features (C, n, d) of a fresh random real batch, augmented by the draw of all classes; no gradient."""
        return self.real_batch(draw, generator)[ALL]

    @torch.no_grad()
    def real_batch(self, draw: AugmentParameters, generator: Generator) -> RealBatch:
        """A fresh random real batch of all classes, augmented by their draw."""
        number = self.matching.real_batch_per_class
        with stage("real batch"):
            if self.strata is None:
                at = draw_class_batches(self.whole, number, generator)
            else:
                at = self.strata.draw(number, generator).to(self.whole.labels.device, non_blocking=True)
        at_once = REAL_CHUNKS * self.extract.chunk_size
        if self.recompute_batch_norms:
            # Every batch has images of all classes, on every rank: a part of them has other statistics.
            rows = max(at_once // self.num_classes, 1)
            first = self._real_images(self.whole, at[:, :rows], draw).transpose(0, 1)
            recompute_batch_norms(self.pool.blended, first.flatten(0, 1).split(max(self.extract.chunk_size, 2)))
        at, draw = at[self.classes] - self.first_image, draw.of(self.classes)
        return RealBatch(self._features_at, at, draw, at_once)

    def _features_at(self, at: Tensor, draw: AugmentParameters) -> Features:
        """Features (C, n, d) of the real images at positions (C, n)."""
        images = self._real_images(self.real, at, draw)
        with stage("real features"):
            return self.extract.without_gradient(images.flatten(0, 1)).unflatten(0, at.shape)

    def _real_images(self, split: ImageSplit, at: Tensor, draw: AugmentParameters) -> GroupedImages:
        """Images of a split at positions (C, n) as a network sees them, (C, n, c, h, w)."""
        with stage("real batch"):
            stored = to_device(split.batch(at.flatten()), self.images.tensors[0].device)
            batch = self.normalize(to_float(stored).unflatten(0, at.shape))
        with stage("augmentation"):
            return self.augment.apply(batch, draw)

    def training_images(self, draw: AugmentParameters, part: slice = ALL) -> GroupedImages:
        """The synthetic images of a part of the classes as a network sees them: decoded, normalised, augmented by the
        part's draw, (C, m, c, h, w)."""
        return self.as_seen(self.images.tensors[0][part], draw)

    def as_seen(self, stored: GroupedImages, draw: AugmentParameters) -> GroupedImages:
        """Stored images (P, ipc, c, h, w) as `training_images`."""
        with stage("decoding"):
            decoded = self.normalize(self.formation.decode(stored))
        with stage("augmentation"):
            return self.augment.apply(decoded, draw)

    def features_of(self, training: GroupedImages, part: slice = ALL) -> Features:
        """Features with gradient, (C, m, d); of unequal classes (M, d), those of the images in use."""
        sizes = self.sizes.of(part)
        return sizes.features(self.extract(sizes.images(training)))

    @torch.no_grad()
    def synthetic_features(self, draw: AugmentParameters) -> Features:
        """The features of all synthetic images without gradient, some classes at a time."""
        found = []
        for classes in class_slices(self.images_of_class, ALL, REAL_CHUNKS * self.extract.chunk_size):
            sizes, training = self.sizes.of(classes), self.training_images(draw.of(classes), classes)
            found.append(sizes.features(self.extract.without_gradient(sizes.images(training))))
        return torch.cat(found)
