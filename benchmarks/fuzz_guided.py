"""`python -m benchmarks.fuzz_guided`: the readers of `benchmarks.fuzz`, with inputs that libFuzzer looks for (atheris).

The package's own code is instrumented: an input that reaches a new branch is kept and changed further, so that the
search goes where random changes do not come. What counts as a finding is the same.
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
    from benchmarks.records import FuzzRow
    from ncfm._utils.checks import NcfmError
    from ncfm.results.files import Conditions, append_rows

import torch
from rich.console import Console
from rich.table import Table

LEFT_OUT = ("report", "torch data set")  # seconds an input; no file
FINDINGS = 20  # after which a reader is left


def play(reader: fuzz.Reader, home: Path, runs: int, seed: int) -> fuzz.Counts:
    """Let atheris give a reader so many inputs, in a process that is forked from this one and works below ``home``."""
    counts = fuzz.Counts()
    told, tell = os.pipe()
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _child(reader, Path(tempfile.mkdtemp(dir=home)), runs, seed, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        for line in pipe:
            kind, _, more = line.decode("utf-8", "replace").rstrip().partition(" ")
            counts.inputs += kind in ("read", "refused", "finding")
            counts.read += kind == "read"
            counts.refused += kind == "refused"
            if kind == "finding":
                counts.findings.append(more)
    _, status = os.waitpid(pid, 0)
    if status and len(counts.findings) < FINDINGS:
        counts.findings.append(f"the process ended with {os.waitstatus_to_exitcode(status)}")
    return counts


def _child(reader: fuzz.Reader, home: Path, runs: int, seed: int, tell: int) -> None:
    """In the child: hand over to libFuzzer, which ends the process. An input's first byte says which file it is."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")
    os.environ["NCFM_CACHE"] = str(home / "cache")
    work, corpus = home / "work", home / "corpus"
    shutil.copytree(reader.folder, work)
    corpus.mkdir()
    longest = 1
    for i, name in enumerate(reader.changed):
        content = bytes([i]) + (reader.folder / name).read_bytes()
        (corpus / str(i)).write_bytes(content)
        longest = max(longest, 2 * len(content))
    findings = 0

    def one(data: bytes) -> None:
        nonlocal findings
        name = reader.changed[data[0] % len(reader.changed)] if data else reader.changed[0]
        (work / name).write_bytes(data[1:])
        signal.signal(signal.SIGALRM, fuzz._hung)
        signal.alarm(fuzz.SECONDS)
        try:
            reader.read(work)
            line = "read"
        except NcfmError:
            line = "refused"
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            line = f"finding {' '.join(said.split())[:300]}"
            findings += 1
        signal.alarm(0)
        os.write(tell, f"{line}\n".encode("utf-8", "replace"))
        shutil.copyfile(reader.folder / name, work / name)
        if findings >= FINDINGS:
            os._exit(1)

    options = [f"-runs={runs}", f"-seed={seed + 1}", f"-max_len={longest}", "-timeout=60", "-rss_limit_mb=6000"]
    atheris.Setup([sys.argv[0], str(corpus), *options, f"-artifact_prefix={home}/"], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz every reader, print the table, append the rows; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz_guided", description=__doc__)
    parser.add_argument("--inputs", type=int, default=120_000, help="over all readers")
    parser.add_argument("--only", help="readers whose name has this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="append rows to this file (results/fuzz.csv)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="ncfm-fuzz-", dir=fuzz.IN_MEMORY))
    os.environ["NCFM_CACHE"] = str(home / "cache")
    try:
        readers = [r for r in fuzz.readers(home) if (options.only or "") in r.name and r.name not in LEFT_OUT]
        share = -(-options.inputs // len(readers))
        counts = {}
        for reader in readers:
            begun = time.monotonic()
            counts[reader.name] = play(reader, home, share, options.seed)
            print(f"{reader.name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    table = Table("reader", "inputs", "read", "refused", "findings", caption=f"{time.monotonic() - began:.0f} s")
    for name, count in counts.items():
        table.add_row(name, *map(str, (count.inputs, count.read, count.refused, len(count.findings))))
    Console().print(table)
    for name, count in counts.items():
        for finding in count.findings:
            print(f"{name}: {finding}", file=sys.stderr)
    if options.results:
        here = asdict(Conditions.here(torch.device("cpu")))
        here.pop("peak_memory_mb")
        append_rows(
            options.results,
            [
                FuzzRow(f"{name}, guided", c.inputs, c.read, c.refused, len(c.findings), **here)
                for name, c in counts.items()
            ],
        )
    return int(any(count.findings for count in counts.values()))


if __name__ == "__main__":
    raise SystemExit(main())
