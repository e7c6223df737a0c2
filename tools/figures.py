"""Draw the pictures of docs/explanation/method.md with the package's functions: ``python tools/figures.py [folder]``.

Every number comes from seeded generators; the same versions of torch and matplotlib draw the same pictures.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from matplotlib.axes import Axes
from torch import Generator, Tensor

from ncfm import CharacteristicDiscrepancy
from ncfm.discrepancy import amplitude_gap, characteristic_function, ncfd, phase_gap, root_mean_gap
from ncfm.results.figures import (
    COLORS,
    GUIDE,
    TEXT,
    framed_axis,
    legend_below,
    mosaic_figure,
    name_panel,
    new_figure,
    save_figure,
)

REAL, SYNTHETIC, AMPLITUDE, PHASE = COLORS[0], COLORS[1], COLORS[2], COLORS[3]
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def rng(seed: int) -> Generator:
    """A generator of one picture."""
    return torch.Generator().manual_seed(seed)


def draw_cloud(axis: Axes, real: Tensor, synthetic: Tensor, title: str, reach: float = 3.2) -> None:
    """Two clouds in the plane."""
    axis.scatter(*real.T.tolist(), s=5, color=REAL, alpha=0.3, linewidths=0, label="real")
    axis.scatter(*synthetic.T.tolist(), s=9, color=SYNTHETIC, alpha=0.85, linewidths=0, label="synthetic")
    axis.set_title(title, fontsize=TEXT)
    framed_axis(axis, (reach, reach))


def terms(folder: Path) -> None:
    """What each term sees: location in the phase, spread in the amplitude, shape in both."""
    real = torch.randn(1500, 2, generator=rng(0))
    side = torch.where(torch.rand(1500, 1, generator=rng(1)) < 0.5, 1.0, -1.0)
    first = 0.9 * side + 0.436 * torch.randn(1500, 1, generator=rng(2))  # of variance 0.9^2 + 0.436^2 = 1
    two = torch.cat([first, torch.randn(1500, 1, generator=rng(3))], dim=1)
    others = {
        "shifted": torch.randn(1500, 2, generator=rng(4)) + torch.tensor([1.2, 0.0]),
        "wider": 1.6 * torch.randn(1500, 2, generator=rng(5)),
        "two parts, same moments": two,
    }
    length = torch.linspace(0.05, 4.5, 90)
    along = torch.stack([length, torch.zeros_like(length)], dim=1)  # frequencies along the first axis
    figure, panels = new_figure(3, 2, height=2.5)
    for i, (title, synthetic) in enumerate(others.items()):
        draw_cloud(panels[2 * i], real[:400], synthetic[:400], title, 4.2)
        phi_x, phi_y = (characteristic_function(z, along) for z in (real, synthetic))
        axis = panels[2 * i + 1]
        axis.plot(length, amplitude_gap(phi_x, phi_y), color=AMPLITUDE, label="amplitude term")
        axis.plot(length, phase_gap(phi_x, phi_y), color=PHASE, linestyle="--", label="phase term")
        axis.set(xlabel="length of t", ylabel="gap at t", ylim=(-0.02, 0.72))
    legend_below(figure, *panels[:2], columns=2, markerscale=2)
    save_figure(figure, folder / "method-terms.png")


def spiral(number: int, seed: int) -> Tensor:
    """Points (number, 2) of two arms."""
    draws = rng(seed)
    angle = 1.5 * math.pi * torch.rand(number, generator=draws).sqrt() + 0.4
    arm = torch.where(torch.rand(number, generator=draws) < 0.5, 0.0, math.pi)
    points = torch.stack([(angle + arm).cos(), (angle + arm).sin()], 1) * (angle / 2)[:, None]
    return points + 0.08 * torch.randn(number, 2, generator=draws)


def match(real: Tensor, start: Tensor, amplitude_weight: float, stops: tuple[int, ...]) -> list[Tensor]:
    """The points after so many steps of descending NCFD."""
    points, seen = start.clone().requires_grad_(), []
    loss = CharacteristicDiscrepancy(2, num_frequencies=128, scale=2.0, amplitude_weight=amplitude_weight)
    optimizer = torch.optim.Adam([points], lr=0.03)
    for i in range(max(stops) + 1):
        if i in stops:
            seen.append(points.detach().clone())
        optimizer.zero_grad()
        loss(real, points).backward()
        optimizer.step()
    return seen


def matching(folder: Path) -> None:
    """Eighty points become the distribution of two thousand; and what each term does alone."""
    real, start = spiral(2000, 0), 0.3 * torch.randn(80, 2, generator=rng(1)) + torch.tensor([0.8, -0.9])
    stops = (0, 30, 100, 600)
    held = CharacteristicDiscrepancy(2, num_frequencies=2000, scale=2.0, redraw=False, seed=7)
    figure, panels = new_figure(2, 2)
    for axis, step, points in zip(panels, stops, match(real, start, 0.5, stops), strict=True):
        draw_cloud(axis, real, points, f"step {step}: NCFD {float(held(real, points)):.3f}")
    legend_below(figure, panels[0], markerscale=2)
    save_figure(figure, folder / "method-matching.png")
    figure, panels = new_figure(1, 3, height=2.4)
    names = {0.0: "phase only\n(α = 0)", 0.5: "both\n(α = 0.5)", 1.0: "amplitude only\n(α = 1)"}
    for axis, (weight, name) in zip(panels, names.items(), strict=True):
        draw_cloud(axis, real, match(real, start, weight, (600,))[0], name)
    legend_below(figure, panels[0], markerscale=2)
    save_figure(figure, folder / "method-alpha.png")


def frequencies(folder: Path) -> None:
    """Where to look: the information ends where the sampling noise begins, and an adversary finds the direction."""
    figure, panels = mosaic_figure([["gap", "modulus"], ["learned", "legend"]], height=2.6)
    draw_noise(panels["gap"], panels["modulus"])
    draw_learned(panels["learned"])
    handles, labels = panels["gap"].get_legend_handles_labels()
    points = panels["learned"].get_legend_handles_labels()
    panels["legend"].set_axis_off()
    first = panels["legend"].legend(handles, labels, title="Above left", loc="upper left", frameon=False)
    first.set_alignment("left")
    panels["legend"].add_artist(first)
    second = panels["legend"].legend(*points, title="Left", loc="lower left", frameon=False, markerscale=2)
    second.set_alignment("left")
    save_figure(figure, folder / "method-frequencies.png")


def draw_noise(gap: Axes, modulus: Axes) -> None:
    """The gap of two samples by the scale of t, from two distributions and from one; the modulus of the real Phi."""
    d, n, m = 64, 256, 40
    sizes = torch.logspace(-1.0, 0.9, 24)
    unit = torch.randn(2000, d, generator=rng(0)) / math.sqrt(d)  # rows of norm about 1
    other = 0.75 * torch.randn(m, d, generator=rng(1)) / math.sqrt(d) + 0.03
    same = torch.randn(m, d, generator=rng(2)) / math.sqrt(d)
    z = torch.randn(512, d, generator=rng(3))
    for rows, color, style, name in (
        (other, SYNTHETIC, "-", "another distribution"),
        (same, GUIDE, "--", "the same: noise"),
    ):
        gaps = [float(root_mean_gap(unit[:n], rows, float(s) * z).square()) for s in sizes]
        gap.plot(sizes, gaps, color=color, linestyle=style, label=name)
    gap.set_ylim(-0.003, 0.09)
    name_panel(gap, "mean squared gap")
    moduli = [float(characteristic_function(unit, float(s) * z).real.abs().mean()) for s in sizes]
    modulus.plot(sizes, moduli, color=REAL)
    modulus.set_ylim(0, 1.05)
    name_panel(modulus, "modulus of the real Φ")
    for axis in (gap, modulus):
        axis.set(xscale="log", xlabel="scale of t")
        axis.xaxis.set_major_formatter("{x:g}")


def draw_learned(axis: Axes) -> None:
    """Frequencies in the plane before and after an adversary learned them from samples of unequal spread."""
    x, y = torch.randn(600, 2, generator=rng(4)), torch.randn(600, 2, generator=rng(5)) * torch.tensor([0.5, 1.0])
    learned = CharacteristicDiscrepancy(2, "direct", num_frequencies=256, scale=1.0, adversary_lr=0.01)
    with torch.no_grad():
        before = learned.draw(rng(6))
        value = float(ncfd(x, y, before))
    for _ in range(200):
        learned.ascend(x, y)
    with torch.no_grad():
        after = learned.draw(rng(6))
    axis.scatter(*before.T.tolist(), s=6, color=GUIDE, alpha=0.6, linewidths=0, label=f"before: NCFD {value:.3f}")
    label = f"after: NCFD {float(ncfd(x, y, after)):.3f}"
    axis.scatter(*after.T.tolist(), s=9, color=SYNTHETIC, alpha=0.8, linewidths=0, label=label)
    framed_axis(axis, (1.9, 1.9))
    name_panel(axis, "learned frequencies, 2-D")


def main() -> None:
    """Draw all of them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    torch.set_num_threads(1)
    for draw in (terms, matching, frequencies):
        draw(folder)


if __name__ == "__main__":
    main()
