"""The tables that a visitor of the site sees first: accuracies by data and images per class, the best first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ncfm.results.formatting import of_row, part_of, spaced
from ncfm.results.published import published

Rows = Sequence[Mapping[str, str]]
SELECTIONS = ("random", "herding", "kcenter", "kmeans", "mosaic")  # of real images, which a distilled set must beat
NAMES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits": "Digits",
    "fashion-mnist": "Fashion-MNIST",
    "imagenette": "Imagenette",
    "tiny-imagenet": "Tiny ImageNet",
}


def data_name(data: str) -> str:
    """The name of a dataset for people."""
    return NAMES.get(data, data)


def grouped(rows: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], Rows]:
    """Rows by data and images per class, both in ascending order; within a group the highest accuracy first."""
    groups: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for row in sorted(rows, key=lambda row: (row["dataset"], float(row["ipc"]), -float(row["accuracy_mean"]))):
        groups.setdefault((row["dataset"], row["ipc"]), []).append(row)
    return dict(groups)


def glance_table(rows: Iterable[Mapping[str, str]]) -> str:
    """A narrow Markdown table with a line for each data and number of images: distilled, real images, the paper.

    The paper's number stands only where the whole training split was used, as there.
    """
    lines = ["| data | IPC | ncfm | real images | paper |", "|---|---:|---:|---:|---:|"]
    for (data, ipc), group in grouped(rows).items():
        distilled = [row for row in group if row["method"] == "ncfm" and "gaussian" not in row["variant"]]
        selected = [row for row in group if row["method"] in SELECTIONS]
        whole = all(part_of(f"{data}-ipc{ipc}", row) == "all" for row in group)
        paper = published(data, float(ipc), distilled[0]["network"]) if distilled and whole else None
        name = data_name(data) + ("" if whole else " (part)")
        own = f"**{_mean(distilled[0])}**" if distilled else "-"
        real = f"{_mean(selected[0])} ({selected[0]['method']})" if selected else "-"
        lines.append(f"| {name} | {ipc} | {own} | {real} | {'-' if paper is None else f'{paper:.1f}'} |")
    return "\n".join(lines) + "\n"


def grouped_tables(rows: Iterable[Mapping[str, str]]) -> str:
    """A heading and a narrow Markdown table for each data and number of images; what all rows share stands below."""
    parts = []
    for (data, ipc), group in grouped(rows).items():
        lines = ["| method | accuracy, % | 95 % interval |", "|---|---:|:---:|"]
        for row in group:
            accuracy, between = of_row(row)
            method = row["method"] + (f" ({spaced(row['variant'])})" if row["variant"] else "")
            lines.append(f"| {f'**{method}**' if row['method'] == 'ncfm' else method} | {accuracy} | {between} |")
        images = "1 image" if ipc == "1" else f"{ipc} images"
        parts.append(
            f"### {data_name(data)}, {images} per class\n\n" + "\n".join(lines) + f"\n\n*{_conditions(group)}*\n"
        )
    return "\n".join(parts)


def home_table(rows: Iterable[tuple[str, Mapping[str, str], Mapping[str, str] | None]]) -> str:
    """A Markdown table of a few rows: name of the row, the row, and random real images under the same conditions."""
    lines = ["| trained on | IPC | distilled images | random real images |", "|---|---:|---:|---:|"]
    for name, row, random in rows:
        data, ipc = name.split("-ipc")
        other = "-" if random is None else f"{_mean(random)} %"
        lines.append(f"| {data_name(data)} | {ipc} | **{_mean(row)} %** | {other} |")
    return "\n".join(lines) + "\n"


def _mean(row: Mapping[str, str]) -> str:
    return f"{100 * float(row['accuracy_mean']):.1f}"


def _conditions(group: Rows) -> str:
    """Network, protocol and number of networks, of all rows or of each kind."""
    found = dict.fromkeys(f"{r['num_runs']} x {r['network']}, {spaced(r['protocol'])}" for r in group)
    return "Trained and tested: " + "; ".join(found) + "."
