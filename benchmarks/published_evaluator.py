"""`python -m benchmarks.published_evaluator`: a set evaluated by the published functions and by the package's own.

The published functions are read from the user's copy of DatasetCondensation, of which nothing is in this repository:

    git clone https://github.com/VICO-UoE/DatasetCondensation
    python -m benchmarks.published_evaluator gallery/cifar10-ipc10 --utils DatasetCondensation/utils.py

Both evaluators train the package's ConvNet with initial weights of the same distribution, on the same decoded images:
the published one by its functions ``evaluate_synset`` and ``DiffAugment``, with its normalisation of CIFAR-10, in
float32; the package's one by the protocol ``dsa-2021``. Both test after the last epoch.
"""

from __future__ import annotations

import argparse
import ast
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

import ncfm
from benchmarks.records import EvaluatorRow
from ncfm import kernels
from ncfm._utils.checks import InputError
from ncfm._utils.device import choose_device
from ncfm._utils.files import read_json
from ncfm._utils.seeding import derive_seed
from ncfm._utils.types import Interval
from ncfm.data import load_images
from ncfm.data.image_set import ImageSet
from ncfm.evaluation.statistics import accuracy_interval
from ncfm.networks.registry import create_network
from ncfm.results.files import Conditions, append_rows
from ncfm.results.formatting import mean_of

PUBLISHED, OWN = "published functions", "dsa-2021"
NEEDED = ("evaluate_synset", "epoch", "DiffAugment", "ParamDiffAug", "TensorDataset", "AUGMENT_FNS")
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # get_dataset, of CIFAR-10
STRATEGY = "color_crop_cutout_flip_scale_rotate"  # --dsa_strategy; one operation is drawn for each batch
LR, BATCH = 0.01, 256  # --lr_net, --batch_train


def published_functions(path: Path) -> SimpleNamespace:
    """The functions of the published ``utils.py`` by name, without its imports, some of which are not installed.

    Raises:
        InputError: if one that is needed is not there.
    """
    names = {"torch": torch, "np": np, "nn": nn, "F": F, "time": time, "Dataset": torch.utils.data.Dataset}
    kept = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if _is_definition(node)]
    exec(compile(ast.Module(kept, type_ignores=[]), str(path), "exec"), names)
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise InputError(f"Expected utils.py of DatasetCondensation, but {path} has no {', '.join(missing)}.")
    return SimpleNamespace(**names)


def _is_definition(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign)


def normalised(images: Tensor) -> Tensor:
    """Images (n, 3, h, w) in [0, 1], by the published mean and deviation."""
    mean, deviation = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, DEVIATION))
    return (images - mean) / deviation


def published_accuracies(
    published: SimpleNamespace, train: tuple[Tensor, Tensor], images: ImageSet, *, epochs: int, runs: int, seed: int
) -> Iterator[float]:
    """Test accuracy after the last epoch of each student that the published functions train.

    Args:
        published: see `published_functions`.
        train: decoded images (n, 3, h, w) in [0, 1] and labels (n,).
        images: the real data.
        epochs, runs, seed: of the students.
    """
    test = images.require_test()
    seen = published.TensorDataset(normalised(test.images.float() / 255), test.labels)
    options = SimpleNamespace(
        device="cpu",
        lr_net=LR,
        epoch_eval_train=epochs,
        batch_train=BATCH,
        dsa=True,
        dsa_strategy=STRATEGY,
        dsa_param=published.ParamDiffAug(),
    )
    for run in range(runs):
        drawn = derive_seed(seed, "published evaluator", run)
        torch.manual_seed(drawn)  # the published functions draw from the global generator
        network = create_network(
            "convnet", channels=3, num_classes=images.num_classes, image_size=images.image_size, seed=drawn
        )
        loader = DataLoader(seen, batch_size=BATCH)
        *_, accuracy = published.evaluate_synset(
            run, _ChannelsLast(network), normalised(train[0]), train[1], loader, options
        )
        yield float(accuracy)


class _ChannelsLast(nn.Module):
    """A network whose input has the layout that the kernels take."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.contiguous(memory_format=torch.channels_last))


def own_accuracies(synthetic: ncfm.SyntheticSet, *, epochs: int, runs: int, seed: int) -> Sequence[float]:
    """The same of students by the package's protocol."""
    settings = {"evaluate.protocol": OWN, "evaluate.epochs": epochs, "evaluate.runs": runs}
    return ncfm.evaluate(synthetic, settings=settings, seed=seed, fresh=True).accuracies


def images_hash(folder: Path) -> str:
    """The first digits of a stored set's hash, as the gallery's table shows them."""
    return str(read_json(folder / "set.json")["images_hash"])[:8]


def timed(accuracies: Callable[[], Any]) -> tuple[Interval, float]:
    """The interval of some students' accuracies, and the CPU seconds that they took."""
    began = time.process_time()
    found = accuracy_interval(tuple(accuracies()))
    return found, time.process_time() - began


def main() -> None:
    """Evaluate the set by both, print the table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published_evaluator", description=__doc__)
    parser.add_argument("set", help="of CIFAR-10")
    parser.add_argument("--utils", type=Path, required=True, help="utils.py of a copy of DatasetCondensation")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="append rows to this file (results/evaluators.csv)")
    options = parser.parse_args()
    synthetic, published = ncfm.load(options.set), published_functions(options.utils)
    images, decoded = load_images("cifar10"), synthetic.decoded()
    students = {"epochs": options.epochs, "runs": options.runs, "seed": options.seed}
    kernels.enable(True)
    found = {
        PUBLISHED: timed(lambda: published_accuracies(published, decoded, images, **students)),
        OWN: timed(lambda: own_accuracies(synthetic, **students)),
    }
    here = {k: v for k, v in asdict(Conditions.here(choose_device("cpu"))).items() if k != "peak_memory_mb"}
    rows = [
        EvaluatorRow(
            evaluator=name,
            set=Path(options.set).name,
            images_hash=images_hash(Path(options.set)),
            source=f"utils.py {sha256(options.utils.read_bytes()).hexdigest()[:12]}" if name == PUBLISHED else "ncfm",
            epochs=options.epochs,
            num_runs=options.runs,
            seed=options.seed,
            accuracy_mean=accuracy.mean,
            accuracy_std=accuracy.std,
            accuracy_low=accuracy.low,
            accuracy_high=accuracy.high,
            cpu_seconds=seconds,
            **here,
        )
        for name, (accuracy, seconds) in found.items()
    ]
    table = Table("evaluator", "accuracy", "CPU s")
    for row in rows:
        shown = mean_of(row.accuracy_mean, row.accuracy_std, row.accuracy_low)
        table.add_row(row.evaluator, shown, f"{row.cpu_seconds:.0f}")
    Console().print(table)
    if options.results:
        append_rows(options.results, rows)


if __name__ == "__main__":
    main()
