"""Train a generator of points in the plane by the characteristic function discrepancy, and test its points.

    python examples/generator_2d.py                      # two moons; half a minute on one core
    python examples/generator_2d.py --data ring --frequencies mixture    # eight Gaussians; a smooth map connects them

A small network maps noise to points. Its loss is `ncfm.CharacteristicDiscrepancy` between a batch of data and a batch
of generated points. There is no discriminator; with learned frequencies the adversary is a network of directions in
the plane. At the end the two-sample test compares held-out data with new points.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

import ncfm

RING = 8  # Gaussians
NOISE = 4  # width of the generator's input
SCALE = 3.0  # of the frequencies


def ring(number: int, generator: Generator) -> Tensor:
    """Points (number, 2) of eight narrow Gaussians on the unit circle."""
    angle = 2 * math.pi / RING * torch.randint(0, RING, (number,), generator=generator)
    return torch.stack([angle.cos(), angle.sin()], dim=1) + 0.1 * torch.randn(number, 2, generator=generator)


def moons(number: int, generator: Generator) -> Tensor:
    """Points (number, 2) of two interleaved half circles."""
    angle = math.pi * torch.rand(number, generator=generator)
    upper = torch.rand(number, generator=generator) < 0.5
    side = torch.where(upper, 1.0, -1.0)
    x, y = side * (angle.cos() - 0.5), side * (angle.sin() - 0.25)
    return torch.stack([x, y], dim=1) + 0.06 * torch.randn(number, 2, generator=generator)


DATA = {"ring": ring, "moons": moons}


def train(
    draw: nn.Module, discrepancy: ncfm.CharacteristicDiscrepancy, data: Tensor, iterations: int, generator: Generator
) -> None:
    """Descend the discrepancy of batches. Where frequencies are learned, their adversary ascends before each step."""
    optimizer = torch.optim.Adam(draw.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for _ in range(iterations):
        real = data[torch.randint(0, len(data), (512,), generator=generator)]
        made = draw(torch.randn(512, NOISE, generator=generator))
        if discrepancy.is_learned:
            discrepancy.ascend(real, made)
        optimizer.zero_grad()
        discrepancy(real, made).backward()
        optimizer.step()
        schedule.step()


def picture(path: Path, held_out: Tensor, before: Tensor, after: Tensor) -> None:
    """Plot the data, and generated points before and after training."""
    from ncfm.results.figures import COLORS, TEXT, framed_axis, new_figure, save_figure

    figure, panels = new_figure(1, 3, height=1.6)
    shown = (("held-out data", held_out), ("made, before", before), ("made, after", after))
    for axis, (title, points), color in zip(panels, shown, (COLORS[0], COLORS[1], COLORS[1]), strict=True):
        axis.scatter(*points.T.tolist(), s=3, color=color, alpha=0.6, linewidths=0)
        axis.set_title(title, fontsize=TEXT)
        framed_axis(axis, (1.9, 1.3))
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, print and return the results, write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", choices=sorted(DATA), default="moons")
    parser.add_argument("--frequencies", default="student", help="gaussian, student, mixture or direct")
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--points", type=int, default=1000, help="held-out points, and generated points to test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("generator_2d.png"))
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)  # for the initial weights of the generator
    generator = Generator().manual_seed(options.seed)
    data, held_out = (DATA[options.data](number, generator) for number in (5000, options.points))
    draw = nn.Sequential(nn.Linear(NOISE, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 2))
    # Details of size s are visible at frequencies of about 1 / s; those of "student" have many lengths.
    loss = ncfm.CharacteristicDiscrepancy(
        2,
        options.frequencies,
        num_frequencies=128,
        scale=SCALE,
        seed=options.seed,
    )
    judge = ncfm.CharacteristicDiscrepancy(2, num_frequencies=1000, scale=SCALE, redraw=False)

    @torch.no_grad()
    def made() -> Tensor:
        return draw(torch.randn(options.points, NOISE, generator=generator))

    first, began = made(), time.perf_counter()
    train(draw, loss, data, options.iterations, generator)
    seconds, last = time.perf_counter() - began, made()
    test = ncfm.two_sample_test(held_out, last, num_frequencies=500, scale=SCALE)
    found = {
        "before": float(judge(held_out, first)),
        "after": float(judge(held_out, last)),
        "data": float(judge(held_out, DATA[options.data](options.points, generator))),
        "p_value": test.p_value,
    }
    print(f"{options.iterations} iterations in {seconds:.1f} s")
    print(f"discrepancy to held-out data: {found['before']:.4f} before, {found['after']:.4f} after")
    print(f"    of new data from the same distribution: {found['data']:.4f}")
    print(f"two-sample test of {options.points} against {options.points} points: p = {test.p_value:.3f}")
    picture(options.out, held_out, first, last)
    print(f"Look at {options.out}")
    return found


if __name__ == "__main__":
    main()
