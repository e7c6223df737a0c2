"""One iteration of the min-max: the images descend, the adversary ascends.

Images S and adversary psi play ``min_S max_psi  w_1 sum_c D_c(S, psi) + w_2 L(S)``. D_c is the discrepancy of class c
between real and synthetic features, and L the cross-entropy of S under a trained teacher. An iteration

1. draws an extractor, an augmentation for each class, and a real batch;
2. updates psi by the gradient of D with S frozen, ``ascent_steps`` times;
3. updates S by the gradient of the loss with psi frozen, ``descent_steps`` times, and clamps it to [0, 1].

With one update of each, both come from one backward pass. Two players, two optimizers, two gradient buffers: each
player gets the gradients of its own tensors only (`torch.autograd.grad`), so neither can cancel the other's. The
published code accumulates the gradients of ``loss`` and ``-loss`` in one buffer, where they cancel, and never trains
its sampler.

Reference:
    Wang et al., "Dataset Distillation with Neural Characteristic Function: A Minmax Perspective", CVPR 2025,
    arXiv 2502.20653.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from ncfm._utils.compute import Compute
from ncfm._utils.seeding import Streams
from ncfm._utils.stages import stage
from ncfm._utils.types import Features
from ncfm.data.augment import AugmentParameters
from ncfm.data.image_set import ImageSplit
from ncfm.data.strata import Strata
from ncfm.distillation.calibration import Calibration
from ncfm.distillation.class_sizes import ByGroups
from ncfm.distillation.diagnosis import Diagnosis, Spectrum
from ncfm.distillation.drawn_extractor import DrawnExtractor
from ncfm.distillation.objective import ALL
from ncfm.distillation.objectives import Objective
from ncfm.distillation.options import Extraction, Matching
from ncfm.distillation.players import Player, ascend
from ncfm.distillation.real_batch import RealBatch, RealBatches
from ncfm.distillation.step_checks import check_together
from ncfm.distillation.step_classes import StepClasses
from ncfm.distillation.step_gradients import StepGradients
from ncfm.distillation.step_memory import choose_passes, halve_passes
from ncfm.distillation.step_record import StepRecord, total
from ncfm.distillation.synthetic_batch import SyntheticBatch
from ncfm.distillation.views import Views
from ncfm.synthetic.formation import Formation
from ncfm.training.teachers import TeacherPool


class MinMaxStep:
    """One iteration of distribution matching; calling the object runs it.

    Classes are processed together, as many as memory allows: real batch (C, n, c, h, w), features (C, n, d), one
    projection, means by class. How many these are changes rounding, not the result.

    Several ranks share the classes. Each rank draws the random numbers of all classes and uses those of its own, so
    that the images are updated as in one process. All ranks hold the adversary, and update it with the sum of their
    gradients.

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
        counts: stored images of each class of all ranks, if they are unequal; None: all of them.
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
        self.images, self.adversary, self.pool, self.streams = images, adversary, pool, streams
        self.matching, self.ranks = matching, compute.ranks
        stored, num_classes = images.tensors[0], len(real.counts)
        device, size = stored.device, stored.shape[-1]
        self.classes = StepClasses.of(num_classes, self.ranks.share(num_classes), stored, formation, counts)
        self.parts = self.classes.parts(matching.classes_per_step)
        self.objective = objective if counts is None else ByGroups(objective, self.classes.images_of_class, device)
        check_together(objective, len(self.parts), compute, is_equal=counts is None)
        self.extractor = DrawnExtractor(
            pool, extraction, objective.adversary, normalize=matching.normalize_features, compute=compute
        )
        self.extract = self.extractor.features
        self.views = Views(
            matching.augment, pool.statistics, formation, num_classes=num_classes, image_size=size, device=device
        )
        self.real = RealBatches(
            real,
            self.ranks,
            self.views,
            self.extract,
            per_class=matching.real_batch_per_class,
            strata=strata,
            recomputed=self.extractor.recomputed,
        )
        self.synthetic = SyntheticBatch(stored, self.classes, self.views, self.extract)
        self.calibration = Calibration(matching, pool, self.classes, self.extract, compute.precision)
        self.gradients = StepGradients(
            self.objective,
            self.synthetic,
            self.calibration,
            matching_weight=matching.matching_weight,
            in_one_graph=compute.compile_step,
        )
        num_kept = len(self.classes) * matching.real_batch_per_class if self.keeps_real_features else 0
        self.extract.chunk_size, self.extract.gradient_chunk_size = choose_passes(
            self.gradients, compute, num_kept=num_kept, drawn_on=streams["frequencies"].device
        )

    def __call__(self) -> StepRecord:
        """Run one iteration: draw, extract, ascend, descend, clamp."""
        self.extractor.draw(self.streams["teachers"])
        drawn = self.views.draw(self.streams["augment"])
        real, draw = self.real.batch(drawn, self.streams["batches"]), drawn.of(self.classes.own)
        features = real[ALL] if self.keeps_real_features else real
        if self.ascent_steps and not self.updates_together:
            self.ascend(features[ALL], draw)
        for _ in range(self.matching.descent_steps):
            records = [self.descend(features, draw, part, with_ascent=self.updates_together) for part in self.parts]
        record = total(records)
        if self.calibration.is_separate:
            record = record._replace(calibration=self.calibrate())
        if self.objective.state():
            self.objective.remember(features[ALL])
        return record

    @property
    def ascent_steps(self) -> int:
        """Updates of the adversary per iteration: none without one."""
        return 0 if self.adversary is None else self.matching.ascent_steps

    @property
    def updates_together(self) -> bool:
        """Whether one backward pass gives the gradients of both players: of one update each."""
        return self.ascent_steps == self.matching.descent_steps == 1

    @property
    def keeps_real_features(self) -> bool:
        """Whether the real features of all classes are kept: for several updates, or for the objective's memory."""
        return self.ascent_steps > 1 or self.matching.descent_steps > 1 or bool(self.objective.state())

    def ascend(self, real: Features, draw: AugmentParameters) -> None:
        """The updates of the adversary with the images frozen, by the real features of all classes."""
        assert self.adversary is not None
        synthetic = self.synthetic.features(draw)
        for _ in range(self.ascent_steps):
            ascend(self.objective, self.adversary, real, synthetic, self.streams["frequencies"], self.ranks)

    def descend(
        self, real: Features | RealBatch, draw: AugmentParameters, part: slice = ALL, *, with_ascent: bool = False
    ) -> StepRecord:
        """One update of the images with the adversary frozen; or of both from one backward pass.

        Real features and draw are of all classes. Only those of ``part`` enter the loss, and the record holds their
        share of the means.
        """
        if self.calibration.joint_weight:
            self.calibration.draw_teacher(self.streams["calibration"])
        theirs = self.adversary.active if with_ascent and self.adversary is not None else []
        found = self.gradients(real, draw, part, theirs, self.streams["frequencies"])
        with stage("optimizer"):
            self.images.update([found.images])
        share = self.classes.share(part)
        means = {name: share * values.mean() for name, values in found.measured._asdict().items() if values is not None}
        # One message for everything that ranks sum.
        summed = self.ranks.sum([*found.others, found.calibration, *means.values()])
        with stage("adversary"):
            if with_ascent and self.adversary is not None:
                self.adversary.update(summed[: len(theirs)])
        self._clamp()
        calibrated, *values = summed[len(theirs) :]
        return StepRecord(calibration=calibrated, **dict(zip(means, values, strict=True)))

    def calibrate(self) -> Tensor:
        """One more update of the images, by the calibration alone, with an augmentation of its own; the loss before it.

        The teacher is that of the iteration's extractor, or a random one if the extractor is not a teacher.
        """
        draw = self.views.draw(self.streams["calibration"]).of(self.classes.own)
        self.calibration.take_teacher_of_extractor(self.streams["calibration"])
        loss = self.images.tensors[0].new_zeros(())
        for part in self.parts:
            of_part, gradient = self.gradients.of_calibration(draw, part)
            self.images.update([gradient])
            loss = loss + of_part
            self._clamp()
        return self.ranks.sum([loss])[0]

    @torch.no_grad()
    def _clamp(self) -> None:
        """Keep the images in [0, 1]."""
        self.images.tensors[0].clamp_(0, 1)

    def diagnose(self) -> Diagnosis | None:
        """Diagnosis of the adversary on new features; None for an objective without frequencies, and for
        unequal classes.

        A random stream of its own draws them, so that the run is not changed.
        """
        if not self.objective.has_frequencies or isinstance(self.objective, ByGroups):
            return None
        rng = self.streams["diagnosis"]
        self.extractor.draw(rng)
        draw = self.views.draw(rng)
        own = self.real.features(draw, rng), self.synthetic.features(draw.of(self.classes.own))
        real, synthetic = (self.ranks.gather(features, self.classes.num_classes) for features in own)
        return self.objective.diagnose(real, synthetic, rng)

    def spectrum(self) -> Spectrum | None:
        """Spectrum of the adversary's frequencies for a fixed noise; None if nothing is learned."""
        if self.adversary is None or not self.objective.has_frequencies:
            return None
        rng = torch.Generator(device=self.images.tensors[0].device).manual_seed(0)
        return self.objective.spectrum(rng)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that iterations change: images, weights and buffers of the adversary, state of the objective."""
        named = {"images": self.images.tensors[0]}
        if self.objective.adversary is not None:
            named |= {f"adversary.{name}": value for name, value in self.objective.adversary.state_dict().items()}
        return named | {f"memory.{name}": value for name, value in self.objective.state().items()}

    def optimizers(self) -> dict[str, Optimizer]:
        """The optimizers of the players."""
        players = {"images_optimizer": self.images, "adversary_optimizer": self.adversary}
        return {name: player.optimizer for name, player in players.items() if player is not None}

    @property
    def images_per_pass(self) -> int | None:
        """Synthetic images per pass with gradient; None for all."""
        return self.extract.gradient_chunk_size

    def halve_chunks(self) -> bool:
        """Halve the passes after a failed allocation. False if they are single images already."""
        return halve_passes(self.synthetic)

    @property
    def can_be_repeated(self) -> bool:
        """Whether an iteration can be repeated: in one process, or if ranks communicate only at its end."""
        once = self.matching.descent_steps == 1 and self.ascent_steps <= 1 and not self.calibration.is_separate
        return self.ranks.is_single or once
