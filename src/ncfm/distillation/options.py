"""Options of the two loops: what is matched in an iteration, and how.

Each setting stands here once, with its default, its limits and its description; the configuration's sections
``distill``, ``teachers`` and ``trajectory`` are made of these classes (see `ncfm.config.schema`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ncfm._utils.checks import InputError
from ncfm._utils.options import Bounds, Count, Fraction, NonNegative, Options, Positive, WholeNumber

DSA = "color_crop_cutout_flip_scale_rotate"


@dataclass(frozen=True)
class Matching(Options):
    """An iteration of distribution matching: batches, the two players, the weights of the two losses."""

    augment: str = DSA
    """Shared by the real and the synthetic half of a class; of alternatives joined by | each class draws its own."""
    real_batch_per_class: Annotated[int, Bounds(ge=1, le=2**20)] = 64
    """Fresh real images of each class in an iteration."""
    real_pool_per_class: Count | None = None
    """Images of a class that batches are drawn from, the first ones of the data; default all."""
    real_batches: Literal["random", "clustered"] = "random"
    """How batches are drawn: uniformly over a class, or evenly over its k-means clusters (DREAM), as many from each."""
    num_clusters: Count | None = None
    """clustered: clusters of a class; default real_batch_per_class."""
    cluster_space: Literal["features", "pixels"] = "features"
    """clustered: of the first trained teacher's features, or of the pixels."""
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
    calibration_reduction: Literal["mean", "sum"] = "mean"
    """Of the cross-entropy over classes: the mean of all images, or the sum of the classes' means. The discrepancy is
    summed, so with sum the two weights are those of a class, whatever the number of classes."""
    calibration_step: Literal["joint", "separate"] = "joint"
    """One update of the images by both terms; or one more by the cross-entropy alone, with augmentations of its own,
    under the teacher of the iteration's extractor (DANCE and the published NCFM)."""
    normalize_features: bool = True
    """Project features onto the unit sphere."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_clusters is not None and self.real_batches != "clustered":
            raise InputError("distill.num_clusters is for distill.real_batches=clustered; set both, or neither.")
        if self.real_pool_per_class is not None and self.real_batches == "clustered":
            raise InputError(
                "distill.real_batches=clustered draws from all images of a class; leave out "
                "distill.real_pool_per_class."
            )


@dataclass(frozen=True)
class Extraction(Options):
    """The network that extracts an iteration's features."""

    extractor: Literal["blended", "trained", "random", "checkpoint"] = "blended"
    """A teacher blended between its start and its end, a trained one, a fresh random network, or a teacher as it was
    after an epoch of its training; see `TeacherPool.draw`."""
    batch_norm: Literal["recomputed", "blended"] = "recomputed"
    """Statistics of an extractor with BatchNorm: recomputed from the iteration's real images, or blended as the weights
    are. Blended weights have other activations than those that blended statistics come from."""
    blend_low: Fraction = 0.0
    """blended: least share of the initial weights, which is uniform up to blend_high."""
    blend_high: Fraction = 1.0
    """blended: largest share of the initial weights."""
    first_epoch: WholeNumber = 0
    """checkpoint: first of the epochs that are drawn uniformly; 0 is before the training."""
    last_epoch: WholeNumber | None = None
    """checkpoint: last of the epochs that are drawn; default the end of the training."""
    layers: Literal["last", "all"] = "last"
    """Features that are matched: those of the last block, or of all blocks together, see `FeatureExtractor`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range("teachers.blend_low", self.blend_low, "teachers.blend_high", self.blend_high)
        if self.last_epoch is not None:
            _check_range("teachers.first_epoch", self.first_epoch, "teachers.last_epoch", self.last_epoch)
        for name, value, unset, kind in (
            ("blend_low", self.blend_low, 0.0, "blended"),
            ("blend_high", self.blend_high, 1.0, "blended"),
            ("first_epoch", self.first_epoch, 0, "checkpoint"),
            ("last_epoch", self.last_epoch, None, "checkpoint"),
        ):
            if value != unset and self.extractor != kind:
                raise InputError(
                    f"teachers.{name}={value} is for teachers.extractor={kind}, and it is {self.extractor}; leave one "
                    "of them out."
                )


def _check_range(first: str, low: float, last: str, high: float) -> None:
    """Raise InputError unless the first setting of a range is at most the last."""
    if low > high:
        raise InputError(f"{first} must be at most {last}, got {low} and {high}.")


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
