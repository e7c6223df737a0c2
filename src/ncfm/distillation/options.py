"""Options of the two loops: what is matched in an iteration, and how.

Each setting stands here once, with its default, its limits and its description; the configuration's sections
``distill``, ``teachers`` and ``trajectory`` are made of these classes (see `ncfm.config.schema`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ncfm._utils.options import Count, NonNegative, Options, Positive, WholeNumber

DSA = "color_crop_cutout_flip_scale_rotate"


@dataclass(frozen=True)
class Matching(Options):
    """An iteration of distribution matching: batches, the two players, the weights of the two losses."""

    augment: str = DSA
    """Shared by the real and the synthetic half of a class."""
    real_batch_per_class: Count = 64
    """Fresh real images of each class in an iteration."""
    real_pool_per_class: Count | None = None
    """Images of a class that batches are drawn from, the first ones of the data; default all."""
    adversary_lr: Positive = 1e-3
    """Adam's learning rate of the adversary, constant."""
    ascent_steps: WholeNumber = 1
    """Updates of the adversary per iteration; 0 leaves it as it starts."""
    descent_steps: Count = 1
    """Updates of the images per iteration. One of each share a backward pass and update at the same time; otherwise the
    adversary updates first."""
    classes_per_step: Count | None = None
    """Classes that an optimizer step sees; default all, as it should be. 1 is the published code's way: Adam's moments
    of an image then decay on the zero gradients of the other classes' steps. For comparison; one process, objectives
    without state."""
    matching_weight: NonNegative = 10.0
    """On the sum of the discrepancy over classes."""
    calibration_weight: NonNegative = 1.0
    """On the cross-entropy of the synthetic images under a trained teacher; 0 switches it off."""
    normalize_features: bool = True
    """Project features onto the unit sphere."""


@dataclass(frozen=True)
class Extraction(Options):
    """The network that extracts an iteration's features."""

    extractor: Literal["blended", "trained", "random"] = "blended"
    """A teacher blended between its start and its end, a trained one, or a fresh random network; see
    `TeacherPool.draw`."""
    batch_norm: Literal["recomputed", "blended"] = "recomputed"
    """Statistics of an extractor with BatchNorm: recomputed from the iteration's real images, or blended as the weights
    are. Blended weights have other activations than those that blended statistics come from."""


@dataclass(frozen=True)
class Experts(Options):
    """The networks whose training trajectories are matched."""

    experts: Count = 2
    """Recorded networks (100 in the papers), of the architecture teachers.network."""
    epochs: Count = 8
    """Recorded of each (50 to 100 in the papers)."""
    lr: Positive = 0.01
    """Of plain SGD, constant."""
    batch_size: Count = 64
    augment: str = DSA
    """Of the experts' batches."""


@dataclass(frozen=True)
class Trajectories(Options):
    """An iteration of trajectory matching: where students start, how they train, what is learned besides the images."""

    start_low: WholeNumber = 0
    """Students start where an expert was after start_low to start_high epochs."""
    start_high: WholeNumber = 4
    start_first_high: WholeNumber | None = None
    """datm: start_high at the beginning; it grows. Default: half of start_high."""
    start_growth: WholeNumber = 200
    """datm: iterations until start_high is reached."""
    matched_epochs: Count = 2
    """Epochs of the expert between a student's start and its target."""
    student_steps: Count = 30
    """Steps of the student on the synthetic set."""
    student_batch_size: Count | None = None
    """Decoded images per step; default all."""
    differentiation: Literal["replayed", "unrolled", "tesla"] = "replayed"
    """Through the student's steps: replayed and unrolled are exact, the first in the memory of one step; tesla leaves
    out how a step changes the gradients of later ones."""
    step_size: Positive = 0.01
    """Initial step size of the student; it is learned."""
    step_size_lr: NonNegative = 0.01
    """Adam's learning rate of the step size's logarithm."""
    label_lr: NonNegative = 0.01
    """datm: Adam's learning rate of the labels' logits."""
