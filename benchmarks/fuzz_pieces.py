"""A long search in pieces: what was found so far lies in a folder, and the next command goes on with it.

The folder has a corpus for each reader, of the inputs that reached something new, and `COUNTS_FILE` with a line for
each piece. A command plays pieces of the readers that are furthest behind, until all have their share or the time is
over.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

COUNTS_FILE = "counts.jsonl"


@dataclass
class Counts:
    """Of the inputs of one reader."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    slowest: float = 0.0  # seconds of an input
    findings: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add those of another piece."""
        self.inputs += other.inputs
        self.read += other.read
        self.refused += other.refused
        self.slowest = max(self.slowest, other.slowest)
        self.findings += other.findings

    def note(self, line: str) -> None:
        """Count an input as it is told: its outcome, its seconds, and what was found."""
        kind, _, more = line.partition(" ")
        seconds, _, said = more.partition(" ")
        self.inputs += 1
        self.read += kind == "read"
        self.refused += kind == "refused"
        self.slowest = max(self.slowest, float(seconds))
        if kind == "finding":
            self.findings.append(said)


def counts_so_far(folder: Path) -> dict[str, list[Counts]]:
    """The pieces of each reader."""
    found: dict[str, list[Counts]] = {}
    path = folder / COUNTS_FILE
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        entry = json.loads(line)
        found.setdefault(entry.pop("reader"), []).append(Counts(**entry))
    return found


def play_pieces(
    folder: Path,
    readers: Sequence[str],
    inputs: int,
    piece: int,
    minutes: float,
    play: Callable[[str, int, int], Counts],
) -> dict[str, Counts]:
    """Play pieces until all readers have had their inputs, or the time is over.

    Args:
        folder: of the counts.
        readers: by name.
        inputs: of each reader, those of earlier commands included.
        piece: inputs of a piece.
        minutes: after which no further piece is begun.
        play: plays a piece: the reader, its number of inputs, and the number of the piece, which is its seed.

    Returns:
        The sums over all pieces.
    """
    until = time.monotonic() + 60 * minutes
    done = {name: counts_so_far(folder).get(name, []) for name in readers}
    while time.monotonic() < until:
        name = min(readers, key=lambda name: sum(c.inputs for c in done[name]))
        left = inputs - sum(c.inputs for c in done[name])
        if left <= 0:
            break
        counts = play(name, min(piece, left), len(done[name]))
        done[name].append(counts)
        with (folder / COUNTS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"reader": name} | asdict(counts)) + "\n")
    return {name: _sum(pieces) for name, pieces in done.items()}


def _sum(pieces: Sequence[Counts]) -> Counts:
    total = Counts()
    for counts in pieces:
        total.add(counts)
    return total
