"""The table of README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ncfm.results.formatting import of_row, part_of
from ncfm.workflows import rows as table_rows
from tools.pages.sources import results

PAGE = "README.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    return {"results": overview_table(overview(results("accuracy")))}


def overview_table(rows: Iterable[tuple[str, dict[str, str], float | None, dict[str, str] | None]]) -> str:
    """A Markdown table of a few recipes: the README's.

    Args:
        rows: of each recipe its name, its committed row, the paper's accuracy in percent, and the row of random images
            at the same storage under the same protocol.
    """
    lines = ["| data | IPC | accuracy | 95 % interval | paper | random |", "|---|---:|---:|:---:|---:|---:|"]
    for name, row, paper, random in rows:
        part = part_of(name, row)
        data, ipc = name.split("-ipc")
        told = [f"{data} ({part} images)" if part != "all" else data, ipc.split("-")[0], *of_row(row)]
        told += ["-" if paper is None else f"{paper:.1f}", "-" if random is None else of_row(random)[0]]
        lines.append(f"| {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


README_ROWS = (
    "cifar10-ipc1",
    "cifar10-ipc10",
    "cifar10-ipc50",
    "cifar100-ipc10",
    "imagenette-ipc1",
    "fashion-mnist-ipc10",
)


def overview(
    rows: list[dict[str, str]], names: Sequence[str] = README_ROWS
) -> Iterator[tuple[str, dict[str, str], float | None, dict[str, str] | None]]:
    """Rows of the README or of the site's first page, each with the paper's accuracy and the last row of random images.

    Random images are those under the same conditions.
    """
    for name in names:
        of, own = table_rows.find_row(name), table_rows.committed_row(name)
        assert own is not None, name
        wanted = (of.data, str(of.ipc), "random", own["network"], own["protocol"])
        random = [r for r in rows if tuple(r[c] for c in ("dataset", "ipc", "method", "network", "protocol")) == wanted]
        yield name, own, of.paper, random[-1] if random else None
