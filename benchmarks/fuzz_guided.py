"""`python -m benchmarks.fuzz_guided`: the readers of `benchmarks.fuzz`, with inputs that libFuzzer looks for (atheris).

The package's own code is instrumented: an input that reaches a new branch is kept and changed further, so that the
search goes where random changes do not come. What counts as a finding is the same.

A search of a million inputs takes hours. With ``--state FOLDER`` it goes on where the last command with this folder
ended, and ``--minutes`` ends a command early: see `benchmarks.fuzz_pieces`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ncfm"]):
    from benchmarks import fuzz
    from benchmarks.fuzz_pieces import Counts, play_pieces
    from benchmarks.records import FuzzRow
    from ncfm._utils.checks import NcfmError
    from ncfm.results.files import Conditions, append_rows

import torch
from rich.console import Console
from rich.table import Table

LEFT_OUT = ("report", "torch data set")  # seconds an input; no decisions that can be changed one by one
FINDINGS = 20  # after which a piece is left
PIECE = 2000  # inputs
EMPTIED = 500  # inputs, after which the cache is emptied: every one may leave something there


def play(reader: fuzz.Reader, home: Path, corpus: Path, runs: int, seed: int) -> Counts:
    """Let atheris give a reader so many inputs, in a process that is forked from this one and works below ``home``."""
    counts = Counts()
    told, tell = os.pipe()
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _child(reader, Path(tempfile.mkdtemp(dir=home)), corpus, runs, seed, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        for line in pipe:
            counts.note(line.decode("utf-8", "replace").rstrip())
    _, status = os.waitpid(pid, 0)
    if status and len(counts.findings) < FINDINGS:
        counts.findings.append(f"the process ended with {os.waitstatus_to_exitcode(status)}")
    return counts


def _child(reader: fuzz.Reader, home: Path, corpus: Path, runs: int, seed: int, tell: int) -> None:
    """In the child: hand over to libFuzzer, which ends the process. An input's first byte says which file it is."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")
    cache = home / "cache"
    os.environ["NCFM_CACHE"] = str(cache)
    work = home / "work"
    shutil.copytree(reader.folder, work)
    corpus.mkdir(parents=True, exist_ok=True)
    longest = 1
    for i, name in enumerate(reader.changed):
        content = bytes([i]) + (reader.folder / name).read_bytes()
        (corpus / str(i)).write_bytes(content)
        longest = max(longest, 2 * len(content))
    findings = number = 0

    def one(data: bytes) -> None:
        nonlocal findings, number
        number += 1
        if number % EMPTIED == 0:
            shutil.rmtree(cache, ignore_errors=True)
        name = reader.changed[data[0] % len(reader.changed)] if data else reader.changed[0]
        (work / name).write_bytes(data[1:])
        signal.signal(signal.SIGALRM, fuzz._hung)
        signal.alarm(fuzz.SECONDS)
        began = time.process_time()
        try:
            reader.read(work)
            kind, said = "read", ""
        except NcfmError:
            kind, said = "refused", ""
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            kind, said = "finding", f"{' '.join(text.split())[:300]} [{data[:64].hex()}]"
            findings += 1
        signal.alarm(0)
        os.write(tell, f"{kind} {time.process_time() - began:.3f} {said}\n".encode("utf-8", "replace"))
        shutil.copyfile(reader.folder / name, work / name)
        if findings >= FINDINGS or number >= runs:
            shutil.rmtree(home, ignore_errors=True)
            os._exit(int(findings >= FINDINGS))

    options = [f"-runs={runs}", f"-seed={seed + 1}", f"-max_len={longest}", "-timeout=60", "-rss_limit_mb=6000"]
    atheris.Setup([sys.argv[0], str(corpus), *options, f"-artifact_prefix={home}/"], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz every reader, print the table, append the rows; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz_guided", description=__doc__)
    parser.add_argument("--inputs", type=int, default=120_000, help="over all readers")
    parser.add_argument("--only", help="readers whose name has one of these: A,B")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, help="go on with the search whose corpus and counts this folder has")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no further piece after so many")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/fuzz.csv)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="ncfm-fuzz-", dir=fuzz.IN_MEMORY))
    os.environ["NCFM_CACHE"] = str(home / "cache")
    state = home / "state" if options.state is None else options.state
    state.mkdir(parents=True, exist_ok=True)
    try:
        words = (options.only or "").split(",")
        found = {r.name: r for r in fuzz.readers(home) if any(w in r.name for w in words) and r.name not in LEFT_OUT}

        def piece(name: str, runs: int, number: int) -> Counts:
            corpus = state / "corpus" / name.replace(" ", "-")
            return play(found[name], home, corpus, runs, options.seed + number)

        share = -(-options.inputs // len(found))
        counts = play_pieces(state, list(found), share, PIECE, options.minutes, piece)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    Console().print(_table(counts, time.monotonic() - began))
    for name, count in counts.items():
        of_each = {finding.partition(" [")[0]: finding for finding in count.findings}
        for finding in of_each.values():
            print(f"{name}: {finding}", file=sys.stderr)
    if options.results:
        append_rows(options.results, _rows(counts))
    return int(any(count.findings for count in counts.values()))


def _table(counts: dict[str, Counts], seconds: float) -> Table:
    table = Table("reader", "inputs", "read", "refused", "slowest, s", "findings", caption=f"{seconds:.0f} s")
    for name, c in counts.items():
        table.add_row(name, *map(str, (c.inputs, c.read, c.refused)), f"{c.slowest:.2f}", str(len(c.findings)))
    table.add_row("all", str(sum(c.inputs for c in counts.values())), "", "", "", "")
    return table


def _rows(counts: dict[str, Counts]) -> list[FuzzRow]:
    here = asdict(Conditions.here(torch.device("cpu")))
    here.pop("peak_memory_mb")
    return [
        FuzzRow(f"{name}, guided", c.inputs, c.read, c.refused, len(c.findings), **here, slowest_seconds=c.slowest)
        for name, c in counts.items()
        if c.inputs
    ]


if __name__ == "__main__":
    raise SystemExit(main())
