"""The rows that only benchmarks write, and the names of their cases."""

from __future__ import annotations

from dataclasses import dataclass

COUNTED = ("kill -9", "SIGTERM, Ctrl-C")  # faults of which it is known how far the run was
DRAWS = "random numbers of 1000 classes of 1281 images, which every rank draws"
MESSAGE = "the message of an iteration"


@dataclass(frozen=True)
class CostRow:
    """One row of ``results/cost.csv``: the time of an iteration and the memory of the process that played it."""

    benchmark: str
    implementation: str
    dataset: str
    ipc: int
    real_batch_per_class: int
    num_frequencies: int
    image_size: int
    num_classes: int
    seconds_median: float
    seconds_min: float
    seconds_max: float
    peak_memory_mb: float
    ratio_to_reference: float | None  # of the medians, above 1 is faster
    device: str
    threads: int
    command: str
    commit: str
    date: str
    cpu_seconds_median: float | None = None  # of all threads
    iteration_memory_mb: float | None = None  # above what the process held before the iteration


@dataclass(frozen=True)
class ProfileRow:
    """One row of ``results/profile.csv``: a stage of an iteration or of an epoch of a teacher, or the whole of it."""

    dataset: str
    ipc: int
    real_batch_per_class: int
    num_frequencies: int
    unit: str  # "iteration", "teacher epoch"
    stage: str  # "all" is the sum
    seconds: float  # by the clock
    clock: str  # "CPU seconds" of all threads, or "seconds"
    share: float
    gflop: float  # of matrix products and convolutions as they are defined
    share_of_ceiling: float | None  # of the rate of a large matrix product
    ceiling_float32: float  # GFLOP per second by the clock
    ceiling_precision: float  # the same in the precision of the networks
    precision: str
    training_images: int  # of an epoch
    device: str
    threads: int
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class WeightRow:
    """One row of ``results/weights.csv``: how long an objective's gradient on the images is at the start of a run."""

    dataset: str
    ipc: int
    method: str
    iterations: int  # the norms are of
    gradient_norm_mean: float  # of the sum over classes of the discrepancy, at weight 1, without calibration
    gradient_norm_min: float
    gradient_norm_max: float
    weight_alike: float  # with which it is as long as that of ncfm at its own weight
    weight_used: float  # by ncfm compare
    device: str
    threads: int
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class CoverageRow:
    """One row of ``results/coverage.csv``: how often the reported 95 % interval holds the mean of other seeds."""

    dataset: str
    ipc: int
    method: str
    network: str
    protocol: str
    num_runs: int  # students of an interval
    num_seeds: int  # intervals
    share_covered: float
    share_low: float  # 95 % interval of the share
    share_high: float
    accuracy_mean: float  # of all students
    accuracy_std: float
    seconds: float
    device: str
    threads: int
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class AdversaryRow:
    """One row of ``results/adversary.csv``: what a fitted adversary finds under an extractor."""

    dataset: str
    ipc: int
    teacher_epochs: int
    teachers: int  # that turns are drawn from
    training: str  # under one teacher, or in turns: one sampler for all, or one for each
    form: str
    criterion: str  # that it ascended
    extractor: str  # A, A blended 0.2, ..., B
    steps: int  # for each teacher that is drawn from
    lr: float
    fits: int  # with seeds of their own
    fixed_gap: float  # at fixed Gaussian frequencies, squared, on real images that nothing was trained on
    ratio_mean: float  # of the gap over that one, over fits
    ratio_std: float
    ratio_low: float  # 95 % interval of the mean
    ratio_high: float
    modulus_squared: float  # of the real characteristic function at its frequencies, mean over fits
    frequency_rms: float
    device: str
    threads: int
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class EvaluatorRow:
    """One row of ``results/evaluators.csv``: a set evaluated by the published functions, or by a protocol of ours."""

    evaluator: str
    set: str
    images_hash: str  # the first digits, as in the gallery's table
    source: str  # of the functions, with the first digits of the file's SHA-256
    epochs: int
    num_runs: int  # students
    seed: int
    accuracy_mean: float  # after the last epoch
    accuracy_std: float
    accuracy_low: float  # 95 % interval of the mean
    accuracy_high: float
    cpu_seconds: float  # of all students, with their tests
    device: str
    threads: int
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class FaultRow:
    """One row of ``results/faults.csv``: what happened to a command, how often, and how often it ended as ever."""

    fault: str
    stage: str
    tried: int
    survived: int
    lost_iterations_mean: float  # of distilling: played, and not in the state
    lost_iterations_max: int
    left_behind: int  # temporary files, over all trials
    device: str
    threads: int
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class FuzzRow:
    """One row of ``results/fuzz.csv``: damaged and made-up files that a reader was given."""

    reader: str
    inputs: int
    read: int
    refused: int  # with the package's own error
    findings: int  # anything else: another exception, a crash, a hang, too much memory
    device: str
    threads: int
    command: str
    commit: str
    date: str
    slowest_seconds: float | None = None  # processor time of the slowest input


@dataclass(frozen=True)
class PlannedRow:
    """One row of ``results/planned.csv``: how long a row of `ncfm reproduce` would take, from a few timed steps."""

    row: str
    training_images: int  # of the whole set
    teacher_seconds: float  # of all teachers
    distill_seconds: float
    evaluate_seconds: float  # of all students
    device: str
    threads: int
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class SoakRow:
    """One row of ``results/soak.csv``: what a process held over a minute of a long run."""

    minutes: float  # since it began, at the end of the window
    iteration: int  # of distilling, as last written to the metrics; 0 before the first
    looks: int
    peak_mb: float  # of resident memory
    mean_mb: float
    floor_mb: float
    open_files: int  # at most
    process_threads: int  # at most
    device: str
    threads: int  # that compute
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class RankRow:
    """One row of ``results/ranks.csv``: what several ranks came to beside one process, or how long they took.

    Differences are of pixels in [0, 1].
    """

    case: str
    ranks: int
    iterations: int  # compared after so many, or timed
    difference_max: float | None  # of their images from those of one process
    difference_mean: float | None
    rounding_max: float | None  # of one process whose teachers differ in their last bit
    rounding_mean: float | None
    same_twice: bool | None  # two runs of as many ranks, to the bit; and the adversaries of all ranks
    seconds_median: float | None  # of an iteration
    speedup: float | None  # over one rank
    device: str
    threads: int  # of a rank
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class TrialRow:
    """One row of ``results/defaults.csv``: a method with default settings on data without a recipe."""

    dataset: str
    field: str
    held_out: bool  # whether its field was not looked at when the rules of the defaults were made
    ipc: int
    method: str
    accuracy_mean: float  # after the last epoch, a fraction
    accuracy_std: float
    accuracy_low: float  # 95 % interval of the mean
    accuracy_high: float
    num_runs: int
    chosen: str  # the settings that follow from the data, with their reasons
    warned: str  # what was said before the work; empty for nothing
    distill_seconds: float | None
    training_images: int | None
    device: str
    threads: int
    command: str
    commit: str
    date: str
