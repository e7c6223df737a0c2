"""The settings: one frozen model per stage, each setting with its type, limits, default and description.

`ncfm.config.layers` makes a configuration of settings, and `ncfm.config.keys` has their dotted names. Configurations
stop in `ncfm.config`: nothing below takes one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic.dataclasses import dataclass

from ncfm._utils.checks import InputError, check_known
from ncfm._utils.outside import is_outside
from ncfm.data.fitting import LARGEST_SIDE, Fit
from ncfm.discrepancy.frequencies import SAMPLERS
from ncfm.discrepancy.halves import Criterion
from ncfm.distillation.budget import Budget
from ncfm.distillation.control import RunControl
from ncfm.distillation.objectives import OBJECTIVES
from ncfm.distillation.options import Experts, Extraction, Matching, Trajectories
from ncfm.evaluation.protocols import MOST_RUNS
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import Start

TRAJECTORY_OBJECTIVES = ("mtt", "datm")
"""Objectives that match training trajectories (`ncfm.config.trajectory_matching`), not distributions of features."""


def _known_or_outside(known: Iterable[str], what: str) -> AfterValidator:
    """Accepts a name of a table, or ``module:callable``, which is not imported here."""
    return AfterValidator(lambda name: name if is_outside(name) else check_known(name, known, what))


Options = dict[str, JsonValue]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, **_STRICT)


class DataConfig(_Section):
    """The real set."""

    image_size: int | None = Field(None, ge=4, le=LARGEST_SIDE)
    """Side in pixels; needed if the images differ in size or are not square."""
    channels: int | None = Field(None, ge=1, le=1024)
    """1 (grey) or 3 (RGB); default: 1 if every image is grey. Another number only where the source has so many."""
    fit: Fit = "crop"
    """How images become square: crop (short side resized, centre cut out), pad (long side resized, black bars added),
    stretch."""
    zca: bool = False
    """Show networks ZCA-whitened images (up to 36 px in colour); the distilled images stay ordinary ones."""
    deviation: Literal["pixels", "images"] = "pixels"
    """Standard deviation by which networks are shown images: of all pixels, or the mean of that of each image, as in
    the published code (CIFAR-10: 0.247, 0.243, 0.262 or 0.202, 0.199, 0.201)."""
    max_unreadable: float = Field(0.01, ge=0, lt=1)
    """Share of images that may be unreadable; they are left out and listed. More fail the run."""
    test_fraction: float = Field(0.2, gt=0, lt=1)
    """Share of every class set aside for testing where the data have no test split."""
    validation: float | None = Field(None, gt=0, lt=1)
    """Share of the training split held out for evaluation instead of the test split: for tuning."""
    image_column: str | None = Field(None, min_length=1)
    """Column of a table that holds the images, or names their files; default: the one with a usual name."""
    label_column: str | None = Field(None, min_length=1)
    """Column of a table that holds the labels; default: the one with a usual name."""
    train_split: str | None = Field(None, min_length=1)
    """File, folder or table to train on; default: by the words of their names."""
    test_split: str | None = Field(None, min_length=1)
    """File, folder or table to test on; default: by the words of their names."""


class TeachersConfig(_Section):
    """The pool of networks whose features are matched."""

    pool: str | None = Field(None, min_length=1)
    """Folder of trained teachers, written by ncfm pretrain --out; network, number and training are those recorded."""
    network: str = "convnet"
    """convnet (depth from the image size), convnet4w64-batch, resnet18-batch, ..., timm:NAME, module:maker."""
    number: int = Field(3, ge=1)
    """Networks in the pool (20 in the paper)."""
    epochs: int = Field(4, ge=0)
    """Epochs each is trained on the real set (60 in the paper)."""
    optimizer: Literal["sgd", "heavy-ball", "adamw"] = "sgd"
    lr: float = Field(0.03, gt=0)
    batch_size: int = Field(64, ge=1)
    schedule: Literal["one-cycle", "cosine", "step", "half", "fifths", "constant"] = "one-cycle"
    augment: str = "crop_flip"
    """Operations joined by _: color, crop, cutout, flip, scale, rotate; or none."""
    cutmix: float = Field(0.0, ge=0, le=1)
    """Probability that a batch is mixed."""
    seed: int | None = Field(None, ge=0)
    """Of their weights and training; default: the run's. Runs of several seeds can share teachers."""
    extractor: Literal["blended", "trained", "random", "checkpoint"] = Extraction.extractor
    """What matches features: a teacher blended between its start and its end, one at its end, a fresh network, or one
    as it was after an epoch of its training."""
    batch_norm: Literal["recomputed", "blended"] = Extraction.batch_norm
    """Of a BatchNorm extractor: statistics from the iteration's real images, or blended as its weights are."""
    blend_low: float = Field(Extraction.blend_low, ge=0, le=1)
    """blended: least share of the initial weights; the share is uniform between it and blend_high."""
    blend_high: float = Field(Extraction.blend_high, ge=0, le=1)
    """blended: largest share of the initial weights."""
    first_epoch: int = Field(Extraction.first_epoch, ge=0)
    """checkpoint: first epoch that is drawn; 0 is before the training."""
    last_epoch: int | None = Field(Extraction.last_epoch, ge=0)
    """checkpoint: last epoch that is drawn; default the end of the training."""
    layers: Literal["last", "all"] = Extraction.layers
    """Features that are matched: of the last block, or of all blocks (convnet, resnet)."""

    @model_validator(mode="after")
    def _check_extraction(self) -> Self:
        """Refuse settings of an extractor that is not the chosen one."""
        Extraction.of(self)
        if self.pool is not None and self.extractor == "checkpoint":
            raise InputError(
                "teachers.extractor=checkpoint needs the epochs of a training, and teachers.pool has its start and its "
                "end only; leave teachers.pool out, or choose another extractor."
            )
        for name, epoch in (("first_epoch", self.first_epoch), ("last_epoch", self.last_epoch)):
            if epoch is not None and epoch > self.epochs:
                raise InputError(f"teachers.{name} must be at most teachers.epochs={self.epochs}, got {epoch}.")
        return self


class ObjectiveConfig(_Section):
    """What is matched."""

    name: Annotated[str, _known_or_outside((*OBJECTIVES, *TRAJECTORY_OBJECTIVES), "objective")] = "ncfd"
    """ncfd: characteristic functions; fisher, entropic: the same with an adversary in closed form; mean, mse, mmd,
    dsdm: means, random pairs, kernel, means with covariances; mtt, datm: training trajectories (section trajectory);
    module:callable: your own."""
    options: Options = Field(default_factory=dict)
    """Keyword arguments of your own objective, each a key: objective.options.temperature."""
    amplitude_weight: float = Field(0.5, ge=0, le=1)
    """alpha: weight of the amplitude term; the phase term gets the rest."""
    corrected: bool = False
    """Correct amplitudes for their finite samples."""
    gradient_rows: int | None = Field(256, ge=1)
    """Real images of a class for the unbiased estimate of the adversary's gradient; none: all of the batch."""
    bandwidths: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(None, min_length=1)
    """mmd: of the kernels that are averaged; default: bandwidth_factors."""
    bandwidth_factors: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.5, 1.0, 2.0), min_length=1)
    """mmd: bandwidths as multiples of the median distance of a class's features."""
    covariance_weight: float = Field(1.0, ge=0)
    """dsdm: weight of the covariances; the means have 1."""
    history_weight: float = Field(1.0, ge=0)
    """dsdm: weight of the class means under earlier extractors."""
    history_decay: float = Field(0.99, ge=0, le=1)
    """dsdm: decay of those means per iteration; they are averaged over about 1 / (1 - decay) iterations."""
    shrinkage: float = Field(1.0, gt=0)
    """fisher: of the covariance towards the identity, relative to its mean eigenvalue; large: all directions alike."""
    weight_temperature: float = Field(10.0, gt=0)
    """entropic: of the weights of frequencies; large: all frequencies alike."""
    num_directions: int = Field(64, ge=0)
    """entropic: frequencies along principal directions of the features, in addition to the sampler's."""


class FrequenciesConfig(_Section):
    """Where characteristic functions are compared."""

    family: Annotated[str, _known_or_outside(SAMPLERS, "family of frequencies")] = "mixture"
    """mixture: learned scale mixture of normals; direct: learned, of any distribution; gaussian and student: fixed;
    module:callable: your own sampler."""
    options: Options = Field(default_factory=dict)
    """Keyword arguments of your own sampler, each a key: frequencies.options.depth."""
    number: int = Field(1024, ge=1)
    """Frequencies k."""
    scale: float = Field(1.5, gt=0)
    """Standard deviation of the frequencies (bandwidth), for features of norm 1."""
    spread: float = Field(3.0, gt=1)
    """mixture, direct: scales lie between scale / spread and scale * spread."""
    fixed_bandwidth: bool = True
    """mixture, direct: normalise the scales so that only directions are learned."""
    degrees_of_freedom: int = Field(3, ge=1)
    """student: the fewer, the heavier the tails (1: Cauchy)."""
    criterion: Criterion = "discrepancy"
    """What learned frequencies maximise: the discrepancy, which sampling noise raises too; halves: the squared gap from
    two halves of the real batch, without that noise; studentised: the same in units of its standard deviation."""
    per_teacher: bool = False
    """Learned frequencies: one sampler for each teacher, for it and its blends, in place of one for all."""


@dataclass(frozen=True, config=_STRICT)
class DistillConfig(Matching, Formation, Budget):
    """The min-max."""

    init: Literal["noise", "real", "mosaic", "first", "rded"] = Start.init
    """mosaic, real: of random images; first: mosaics of a class's first images; rded: of the crops that the teachers
    find most realistic."""
    shrink: Literal["area", "nearest"] = Start.shrink
    """mosaic, first: how images become tiles: a pixel is a mean of theirs, or one of them (published code)."""
    extend: str | None = None
    """A set, its run folder, or an external set, whose images the start has first in each class; init makes the
    others."""
    extend_normalized_by: str | None = None
    """How the floats of an external set to extend were normalised, as ncfm evaluate --normalized-by."""
    extend_factor: Annotated[int, Field(ge=1)] | None = None
    """Tiles per side, if an external set to extend consists of mosaics; default: whole images."""


@dataclass(frozen=True, config=_STRICT)
class TrajectoryConfig(Trajectories, Experts):
    """Trajectory matching (objectives mtt and datm): experts on the real set, students on the synthetic one."""

    correct_start: bool = True
    """datm: begin with images that an expert classifies correctly."""


class LabelsConfig(_Section):
    """The labels stored with the set."""

    kind: Literal["hard", "soft"] = "hard"
    """soft: the teachers' probabilities of each decoded image, stored next to its class."""
    top_k: int | None = Field(None, ge=1)
    """Classes kept of each soft label; default all."""
    precision: Literal["float16", "uint8"] = "float16"
    """Of a stored log-probability."""


class EvaluateConfig(_Section):
    """How a set is evaluated."""

    protocol: str = "quick"
    network: str = "convnet"
    runs: int | None = Field(None, ge=1, le=MOST_RUNS)
    """Students; default: the protocol's."""
    epochs: int | None = Field(None, ge=0)
    augment: str | None = None
    """In place of the protocol's, for data that must not be mirrored, say."""
    labels: Literal["auto", "hard", "soft", "teacher"] = "auto"
    """What students learn from; auto: soft labels where the set has them; teacher: teachers asked of every batch."""
    temperature: float = Field(1.0, gt=0)
    """Of soft labels, stored or from teachers."""
    soft_weight: float = Field(1.0, ge=0, le=1)
    """Of the loss to soft labels; that to hard ones gets the rest."""
    looks: int | None = Field(None, ge=1)
    """Looks at the test split for the best-over-looks column; the last one is the result."""


class MachineConfig(_Section):
    """Where and how it is computed; changes time and rounding, not the method."""

    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: Literal["auto", "on", "off", "step"] = "auto"
    """Networks compiled; step: also an iteration from the images to its losses as one, on CUDA as graphs."""
    tf32: bool = True
    """On CUDA, float32 products in TF32: networks in float32, and the projections onto frequencies."""
    kernels: Literal["auto", "off"] = "auto"
    """Own CPU kernels where they serve; off: PyTorch's operators."""
    chunk_size: int | None = Field(None, ge=1)
    """Images per pass without gradient; default by device and memory."""
    gradient_chunk_size: int | None = Field(None, ge=1)
    """Synthetic images per pass with gradient; default by memory."""
    memory_mb: int | None = Field(None, ge=1)
    """Memory of an iteration of distribution matching in MiB, above what the process holds before; default: on a CPU as
    little as costs no time, elsewhere a share of what is free. Passes hold as many images as fit."""
    students: Literal["auto", "together", "one by one"] = "auto"
    """How the students of an evaluation are trained: in one stacked pass or in turn; auto: together on CUDA."""
    teachers: Literal["auto", "together", "one by one"] = "auto"
    """How teachers are trained: in stacked passes or in turn; auto: together on CUDA. Networks from outside in turn."""
    threads: int | None = Field(None, ge=1, le=4096)
    checkpoint_seconds: float = Field(RunControl.checkpoint_seconds, gt=0)
    diagnose_every: int | None = Field(RunControl.diagnose_every, ge=1)
    """Iterations between looks at the adversary, written to diagnosis.jsonl; changes no result."""
    log: Literal["tensorboard", "wandb"] | None = None
    """Logger of the metrics in addition to metrics.jsonl; needs the extra of that name."""


class RunConfig(_Section):
    """Everything that a run depends on, except the code."""

    data: DataConfig = DataConfig()
    teachers: TeachersConfig = TeachersConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    frequencies: FrequenciesConfig = FrequenciesConfig()
    distill: DistillConfig = DistillConfig()
    trajectory: TrajectoryConfig = TrajectoryConfig()
    labels: LabelsConfig = LabelsConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    machine: MachineConfig = MachineConfig()
    seed: int = Field(0, ge=0)
