"""`python -m benchmarks.trace`: what an iteration computes on a fixed batch, tensor by tensor, next to another loop.

The package's step and the published loop of DANCE (`benchmarks.published`) get the same images, networks and random
draws. A table has the size of every tensor, and how far the two are apart. With ``--out`` everything is saved, the
inputs among it, so that a third program can compute its own tensors from them; with ``--against`` those are compared
in place of `benchmarks.published`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.published import Draw, iteration
from ncfm import kernels
from ncfm._utils.compute import Compute
from ncfm._utils.seeding import Streams
from ncfm.config.build import build_data, build_machine, build_teachers
from ncfm.config.resolve import resolve_config
from ncfm.data.augment import AugmentParameters
from ncfm.data.class_batches import draw_class_batches
from ncfm.data.image_set import ImageSet
from ncfm.data.levels import to_float
from ncfm.distillation import MinMaxStep, Player
from ncfm.distillation.objectives import MeanMatching
from ncfm.distillation.options import Extraction, Matching
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import start_images
from ncfm.training.teachers import TeacherPool, untrained_pool

AUGMENT = "dsa:color_crop_cutout"
FACTOR = 2


class Recorder(Player):
    """A player that notes its gradients, and steps by plain gradient descent."""

    def __init__(self, pixels: Tensor, lr: float) -> None:
        super().__init__([pixels], torch.optim.SGD([pixels], lr=lr))
        self.seen: list[tuple[Tensor, Tensor]] = []  # gradients, and the images after them

    def update(self, gradients: object) -> None:
        """A step."""
        (gradient,) = tuple(gradients)  # type: ignore[arg-type]
        super().update([gradient])
        self.seen.append((gradient.clone(), self.tensors[0].detach().clamp(0, 1).clone()))


def in_tile_order(images: Tensor) -> Tensor:
    """Decoded images (C, ipc factor^2, ...), image by image here, in the published order: tile place by tile place."""
    groups = images.unflatten(1, (-1, FACTOR**2))
    return groups.transpose(1, 2).flatten(1, 2)


def make_step(images: ImageSet, pool: TeacherPool, *, ipc: int, real_batch: int, lr: float, seed: int) -> MinMaxStep:
    """A step with DANCE's settings, and images that move by gradient descent."""
    streams = Streams(seed)
    start = start_images(images, ipc=ipc, factor=FACTOR, init="first", generator=streams["init"], shrink="nearest")
    matching = Matching(
        augment=AUGMENT,
        real_batch_per_class=real_batch,
        matching_weight=1.0,
        calibration_weight=1.0,
        calibration_reduction="sum",
        calibration_step="separate",
        normalize_features=False,
    )
    return MinMaxStep(
        images.train,
        Recorder(start.requires_grad_(), lr),
        None,
        objective=MeanMatching(),
        pool=pool,
        streams=streams,
        formation=Formation(FACTOR),
        matching=matching,
        extraction=Extraction(),
        compute=Compute(),
    )


def draws_of(parameters: AugmentParameters, size: int) -> list[Draw]:
    """The package's draw of every class in the units of the published code."""
    shift = (parameters.affine[:, :, 2] * size / 2).round().int().tolist()  # columns, rows
    return [
        Draw(float(b), float(s), float(c), rows, columns, (int(row), int(column)))
        for b, s, c, (columns, rows), (row, column) in zip(
            parameters.brightness,
            parameters.saturation,
            parameters.contrast,
            shift,
            parameters.cutout.tolist(),
            strict=True,
        )
    ]


def trace(step: MinMaxStep) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, list[Draw]]]:
    """One iteration of a step: its inputs, its tensors by the names of `benchmarks.published`, and its draws."""
    before = step.streams.state()
    size, count = step.images.tensors[0].shape[-1], step.classes.num_classes
    at = draw_class_batches(step.real.whole, step.matching.real_batch_per_class, step.streams["batches"])
    drawn = [step.views.draw(step.streams[name]) for name in ("augment", "calibration")]
    stored = step.images.tensors[0].detach().clone()
    step.streams.load_state(before)
    record = step()  # draws the same again
    (by_matching, after_matching), (by_calibration, after_calibration) = step.images.seen
    real = step.views.of_real(step.real.whole, at, drawn[0])
    with torch.no_grad():
        shown = {
            "matching": step.views.of_stored(stored, drawn[0]),
            "calibration": step.views.of_stored(after_matching, drawn[1]),
        }
        features = step.extract(shown["matching"].flatten(0, 1)).unflatten(0, shown["matching"].shape[:2])
        of_real = step.extract.without_gradient(real.flatten(0, 1)).unflatten(0, real.shape[:2])
        logits = step.pool.whole(shown["calibration"].flatten(0, 1)).unflatten(0, shown["calibration"].shape[:2])
    labels = torch.arange(count)[:, None].expand(logits.shape[:2])
    tensors = {
        "real_augmented": real,
        "decoded": in_tile_order(step.views.formation.decode(stored)),
        "synthetic_augmented": in_tile_order(shown["matching"]),
        "real_features": of_real,
        "synthetic_features": in_tile_order(features),
        "discrepancy": step.objective.discrepancy(of_real, features, torch.Generator()),
        "matching_gradient": by_matching,
        "after_matching": after_matching,
        "calibration_logits": in_tile_order(logits),
        "calibration_loss": -logits.log_softmax(-1).gather(2, labels[..., None]).mean((1, 2)),
        "calibration_gradient": by_calibration,
        "after_calibration": after_calibration,
    }
    assert math.isclose(float(record.discrepancy), float(tensors["discrepancy"].mean()), rel_tol=1e-3)
    inputs = {"stored": stored, "real": to_float(step.real.whole.batch(at.flatten())).unflatten(0, at.shape)}
    return inputs, tensors, {"matching": draws_of(drawn[0], size), "calibration": draws_of(drawn[1], size)}


def published(step: MinMaxStep, inputs: Mapping[str, Tensor], draws: Mapping[str, list[Draw]]) -> dict[str, Tensor]:
    """The same iteration by the published loop."""
    with kernels.switched_off():
        return iteration(
            inputs["stored"],
            inputs["real"],
            extractor=step.pool.blended,
            teacher=step.pool.whole,
            statistics=step.pool.statistics[:2],
            draws=draws,
            factor=FACTOR,
            lr=float(step.images.optimizer.param_groups[0]["lr"]),
        )


def differences(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, float]:
    """The norm of the difference of every tensor that both have, over the norm of theirs."""
    norm = torch.linalg.vector_norm
    return {
        name: float(norm(value - theirs[name]) / norm(theirs[name]).clamp(min=1e-12))
        for name, value in ours.items()
        if name in theirs
    }


def main() -> None:
    """Trace, compare, print, and save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trace", description=__doc__)
    parser.add_argument("data", nargs="?", default="cifar10")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--real", type=int, default=128, help="real images per class")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trained", action="store_true", help="with the teachers of cifar10-ipc10-dance")
    parser.add_argument("--no-kernels", action="store_true", help="PyTorch's operators in place of the package's")
    parser.add_argument("--out", type=Path, help="save inputs and tensors (.safetensors)")
    parser.add_argument("--against", type=Path, help="compare with the tensors of this file")
    options = parser.parse_args()
    config = resolve_config(options.data, options.ipc, "cifar10-ipc10-dance", None, options.seed)
    images = build_data(options.data, config, options.data_dir)
    machine = build_machine(config.machine, images.image_size)
    pool = (
        build_teachers(images, config, machine)
        if options.trained
        else untrained_pool(images, config.teachers.network, device=torch.device("cpu"))
    )
    made = make_step(images, pool, ipc=options.ipc, real_batch=options.real, lr=options.lr, seed=options.seed)
    kernels.enable(not options.no_kernels)
    inputs, ours, draws = trace(made)
    theirs = load_file(options.against) if options.against else published(made, inputs, draws)
    apart = differences(ours, theirs)
    table = Table("tensor", "shape", "mean", "deviation", "largest", "difference")
    for name, value in ours.items():
        shape = " x ".join(map(str, value.shape))
        numbers = (value.mean(), value.std(), value.abs().max())
        difference = f"{apart[name]:.1e}" if name in apart else "-"
        table.add_row(name, shape, *(f"{float(number):.4g}" for number in numbers), difference)
    Console().print(table)
    if options.out:
        networks = {f"extractor.{k}": v for k, v in made.pool.blended.state_dict().items()}
        networks |= {f"teacher.{k}": v for k, v in made.pool.whole.state_dict().items()}
        everything = {f"input.{k}": v for k, v in inputs.items()} | networks | dict(ours)
        save_file({k: v.detach().contiguous().clone() for k, v in everything.items()}, options.out)


if __name__ == "__main__":
    main()
