"""The rows of the files in ``results/``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AccuracyRow:
    """One row of ``results/accuracy.csv``. Accuracies are fractions."""

    dataset: str
    ipc: float  # stored images per class; the mean, if they are unequal
    method: str  # ncfm, mean, random, herding, mosaic, full, ...
    variant: str  # differences from the recipe: gaussian, alpha=1, ...
    network: str
    protocol: str
    accuracy_mean: float  # after the last epoch
    accuracy_std: float
    accuracy_low: float  # 95 % interval of the mean
    accuracy_high: float
    accuracy_best_mean: float | None  # best over the test evaluations, if there are several
    num_runs: int
    teacher_seconds: float | None
    distill_seconds: float | None
    iterations: int | None
    distill_memory_mb: float | None  # peak memory of the iterations, without the data and the program
    storage: float | None  # stored images per class; soft labels are counted as images
    evaluate_seconds: float
    peak_memory_mb: float
    device: str
    threads: int
    seed: int
    command: str
    commit: str
    date: str
    versions: str = ""  # of Python and the numerical libraries: "python=3.13.1 torch=2.13.0 ..."
    training_images: int | None = None  # of the real data, which may be a part of the named dataset
    energy_wh: float | None = None  # of the whole machine during the measurement, if it can be read
    teacher_accuracy: float | None = None  # mean over the teachers whose features were matched, on the test split


@dataclass(frozen=True)
class ScoreRow:
    """One row of ``results/scores.csv``: DD-Ranking scores of a set. Accuracies are fractions."""

    dataset: str
    ipc: float  # stored images per class; the mean, if they are unequal
    method: str
    variant: str
    network: str
    protocol: str
    hard_label_recovery: float
    improvement_over_random: float
    label_robust_score: float
    label_robust_low: float  # 95 % interval
    label_robust_high: float
    augmentation_robust_score: float
    augmentation_robust_low: float
    augmentation_robust_high: float
    full_accuracy: float  # trained on the full split, hard labels
    full_protocol: str
    num_runs: int
    seconds: float  # of all students together
    device: str
    threads: int
    seed: int
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class ContinualRow:
    """One row of ``results/continual.csv``: the accuracy of a memory after a step of class-incremental learning."""

    dataset: str
    ipc: float  # stored images per class; the mean, if they are unequal
    method: str  # of the set
    variant: str
    memory: str  # set, random, herding, ...
    network: str
    protocol: str
    steps: int
    classes_seen: int
    accuracy_mean: float  # on the test images of the classes seen
    accuracy_std: float
    accuracy_low: float  # 95 % interval over runs
    accuracy_high: float
    num_runs: int
    device: str
    threads: int
    seed: int
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class SearchRow:
    """One row of ``results/search.csv``: one network of an architecture search by proxy."""

    dataset: str
    ipc: float  # stored images per class; the mean, if they are unequal
    method: str
    variant: str
    network: str
    protocol: str
    proxy_accuracy: float  # trained on the set
    full_accuracy: float  # trained on the full split
    full_protocol: str
    num_networks: int
    spearman: float  # rank correlation over the whole grid
    spearman_low: float  # 95 % bootstrap interval
    spearman_high: float
    device: str
    threads: int
    seed: int
    command: str
    commit: str
    date: str


@dataclass(frozen=True)
class LedgerRow:
    """One row of ``results/ledger.csv``: a published set, re-evaluated. Accuracies are fractions but ``published``."""

    name: str  # of the file or folder
    content: str  # hash of the files
    dataset: str
    ipc: float  # stored images per class; the mean, if they are unequal
    method: str
    normalized_by: str  # how its floats were normalised; empty for pixels
    published: float | None  # percent, as the authors report it
    network: str
    protocol: str
    num_runs: int
    num_images: int  # decoded training images
    accuracy_mean: float  # after the last epoch
    accuracy_std: float
    accuracy_low: float  # 95 % interval of the mean
    accuracy_high: float
    random_mean: float  # of random real images, as many as the set stores
    random_std: float
    random_low: float
    random_high: float
    herding_mean: float  # of herded real images, as many as the set stores
    herding_std: float
    herding_low: float
    herding_high: float
    seconds: float  # of all students
    source: str
    note: str
    seed: int
    device: str
    threads: int
    command: str
    commit: str
    date: str
