"""`python -m benchmarks.faults`: what kills, cuts, fills and crowds a run, and whether it ends as if nothing had been.

A chain of commands on a few small images: `ncfm data` (decoding into the cache), `pretrain`, `distill`, `evaluate`,
`evaluate --results`, `export`. A trial takes the folder as it is before a command, lets something happen to the
command, gives the command again as its message says, and compares everything that it should leave with a run that
nothing happened to, byte for byte. A trial is survived if they agree, and nobody saw a traceback. Lost are iterations
played and not in the state.

Commands run in processes that are forked from this one, so that a trial takes as long as its work and no longer.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from benchmarks.failing_calls import KINDS, calls_made, count_below, fail_from, preload
from benchmarks.records import FaultRow
from ncfm._utils.signals import STOPPING
from ncfm.cli import main as cli
from ncfm.distillation.checkpoint import CHECKPOINT_FILE, has_checkpoint
from ncfm.distillation.runner import Run
from ncfm.results.files import CONDITIONS, REPEATED, Conditions, append_rows

SETTINGS = {
    "teachers.network": "convnet1w8",
    "teachers.number": 2,
    "teachers.epochs": 4,
    "frequencies.number": 64,
    "distill.iterations": 60,
    "distill.real_batch_per_class": 8,
    "evaluate.network": "convnet1w8",
    "evaluate.runs": 3,
    "evaluate.epochs": 20,
    "machine.checkpoint_seconds": 0.03,
    "machine.kernels": "off",
    "machine.threads": 1,
}
IMAGES_PER_CLASS = 30
OPTIONS = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
SLOW_IMPORTS = (
    *("ncfm.workflows.compare", "ncfm.workflows.distill", "ncfm.workflows.evaluate", "ncfm.workflows.report"),
    *("ncfm.formats", "matplotlib.backends.backend_agg", "datasets", "torch._dynamo"),
)
AGENT_PATIENCE = 10.0  # seconds that ranks have to notice that one is lost, before they are told
PATIENCE = 120.0  # seconds that a command may take: what takes longer hangs


class Stage(NamedTuple):
    """A command of the chain."""

    name: str
    arguments: Callable[[Path], list[str]]
    again: Callable[[Path], list[str]]  # options to give with it after a fault
    outcome: Callable[[Path], Any]  # of its folder: what must be the same


def _bytes_below(*names: str) -> Callable[[Path], Any]:
    """The content of all files below some folders, but hidden ones and a teacher's times."""

    def read(work: Path) -> dict[str, bytes]:
        files = [path for name in names for path in (work / name).rglob("*") if path.is_file()]
        return {str(p.relative_to(work)): p.read_bytes() for p in files if not _is_aside(p.relative_to(work))}

    return read


def _is_aside(path: Path) -> bool:
    """Hidden, or with times that differ between runs."""
    return any(part.startswith(".") for part in path.parts) or path.suffix == ".json"


def _result_of(work: Path) -> Any:
    return {
        "set": load_file(work / "run" / "synthetic" / "images.safetensors"),
        "state": load_file(work / "run" / CHECKPOINT_FILE),
    }


def _set_of(work: Path) -> Any:
    return _result_of(work) | {
        "metrics": [
            {key: value for key, value in json.loads(line).items() if key != "seconds"}
            for line in (work / "run" / "metrics.jsonl").read_text().splitlines()
        ],
        "film": _bytes_below("run/film")(work),
    }


def _scores_of(work: Path) -> Any:
    scores = json.loads((work / "run" / "scores.json").read_text())
    return [{key: value for key, value in score.items() if key not in ("seconds", "date")} for score in scores]


def _rows_of(work: Path) -> Any:
    """The rows of the results file, without what is measured."""
    with (work / "rows.csv").open() as file:
        return [{key: row[key] for key in row if key not in (*REPEATED, *CONDITIONS)} for row in csv.DictReader(file)]


def _export_of(work: Path) -> Any:
    return {p.name: p.read_bytes() for p in (work / "exported").rglob("*") if p.is_file() and p.suffix != ".md"}


def _nothing(work: Path) -> list[str]:
    return []


STAGES = [
    Stage("caching", lambda w: ["data", str(w / "images")], _nothing, _bytes_below("cache/data")),
    Stage("pretraining", lambda w: ["pretrain", str(w / "images"), *OPTIONS], _nothing, _bytes_below("cache/teachers")),
    Stage(
        "distilling",
        lambda w: ["distill", str(w / "images"), "--ipc", "1", "--out", str(w / "run"), *OPTIONS],
        lambda w: ["--resume"] if has_checkpoint(w / "run") else [],
        _set_of,
    ),
    Stage("evaluating", lambda w: ["evaluate", str(w / "run"), *OPTIONS], _nothing, _scores_of),
    Stage(
        "recording",
        lambda w: ["evaluate", str(w / "run"), "--results", str(w / "rows.csv"), *OPTIONS, "--set", "seed=1"],
        _nothing,
        _rows_of,
    ),
    Stage(
        "exporting",
        lambda w: ["export", str(w / "run"), "--to", "hf", "--out", str(w / "exported")],
        lambda w: ["--force"] if (w / "exported").exists() else [],
        _export_of,
    ),
]


def same(a: Any, b: Any) -> bool:
    """Whether two outcomes agree to the last bit."""
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        return isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


class Ended(NamedTuple):
    """How a command ended."""

    code: int | None  # negative: by a signal; None: it hung and was killed
    said: str  # on standard error


class Command:
    """A command in a process of its own, forked from this one."""

    def __init__(
        self,
        arguments: list[str],
        work: Path,
        prepare: Callable[[], None] = lambda: None,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.played = multiprocessing.Value("q", 0)  # iterations, shared with the child
        self.heard = Path(tempfile.mkstemp(prefix="ncfm-faults-")[1])
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = self._run(arguments, work, prepare)
            at_end()
            os._exit(code)

    def _run(self, arguments: list[str], work: Path, prepare: Callable[[], None]) -> int:
        """In the child: run the command; its exit code."""
        for stream, target in ((1, os.devnull), (2, self.heard)):
            os.dup2(os.open(target, os.O_WRONLY), stream)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115 - for the rest of the process
        os.environ["NCFM_CACHE"] = str(work / "cache")
        sys.argv = ["ncfm", *arguments]
        sys.modules["__main__"].__spec__ = None  # rows are to be those of a command, not of a benchmark
        iterate = Run._iterate

        def counted(run: Run) -> Any:
            self.played.value = run.progress.iteration + 1
            return iterate(run)

        Run._iterate = counted  # type: ignore[method-assign]
        code: Any = 0
        try:
            prepare()
            cli.main()
        except SystemExit as exit_:
            code = exit_.code
        except BaseException:  # what a user would see
            import traceback

            traceback.print_exc()
            code = 99
        with contextlib.suppress(OSError):
            sys.stdout.flush(), sys.stderr.flush()
        return code if isinstance(code, int) else int(code is not None)

    def end(self, after: float | None = None, by: int = signal.SIGKILL) -> Ended:
        """Wait for it; with ``after`` send it a signal so many seconds from now."""
        until = time.monotonic() + (PATIENCE if after is None else after)
        sent = False
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() >= until:
                os.kill(self.pid, by if after is not None and not sent else signal.SIGKILL)
                hung = after is None or sent
                sent, until = True, time.monotonic() + PATIENCE
                if hung:
                    os.waitpid(self.pid, 0)
                    return Ended(None, "it hung")
            time.sleep(0.001)
        said = self.heard.read_text(errors="replace")
        self.heard.unlink()
        return Ended(os.waitstatus_to_exitcode(status), said)


@dataclass
class Counts:
    """Of the trials of one fault at one stage."""

    tried: int = 0
    survived: int = 0
    lost_iterations: list[int] = field(default_factory=list)
    left_behind: int = 0  # temporary files that nobody will remove
    failures: list[str] = field(default_factory=list)

    def note(self, trouble: str, lost: int | None = None, left: int = 0) -> None:
        """One trial; ``trouble`` is empty if it was survived."""
        self.tried += 1
        self.survived += not trouble
        self.left_behind += left
        if lost is not None:
            self.lost_iterations.append(lost)
        if trouble:
            self.failures.append(trouble)


class Campaign:
    """The folder in which all happens, and the folders as they are before each stage.

    All trials are at the same place, since sets say where they come from.
    """

    def __init__(self, seed: int) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ncfm-faults-"))
        self.work = self.home / "work"
        self.rng = random.Random(seed)
        self.outcomes: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.counts: dict[tuple[str, str], Counts] = {}

    def prepare(self) -> None:
        """Make the images, and run the chain once without faults."""
        _write_images(self.work / "images")
        for stage in STAGES:
            shutil.copytree(self.work, self.home / stage.name)
            began = time.monotonic()
            ended = Command(stage.arguments(self.work), self.work).end()
            if ended.code != 0:
                raise SystemExit(f"{stage.name} fails without any fault: {ended.said}")
            self.seconds[stage.name] = time.monotonic() - began
            self.outcomes[stage.name] = stage.outcome(self.work)
        shutil.copytree(self.work, self.home / "all")

    def place(self, before: str) -> None:
        """Put the folder in the state before a stage, or after "all"."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.home / before, self.work)

    def again(self, stage: Stage) -> str:
        """Give the command again; what is wrong with how that ends, or nothing."""
        ended = Command([*stage.arguments(self.work), *stage.again(self.work)], self.work).end()
        if ended.code != 0:
            return f"{stage.name}, again: exit {ended.code}: {ended.said[-300:]}"
        return "" if self.is_as_ever(stage) else f"{stage.name}: another result"

    def is_as_ever(self, stage: Stage) -> bool:
        """Whether a stage left what it leaves without faults."""
        try:
            found, wanted = stage.outcome(self.work), self.outcomes[stage.name]
            if stage.outcome is _result_of:
                wanted = {key: wanted[key] for key in found}
            return same(found, wanted)
        except (OSError, ValueError):
            return False

    def note(self, fault: str, stage: Stage, trouble: str, lost: int | None = None) -> None:
        """Count a trial."""
        left = sum(1 for path in self.work.rglob(".*.tmp"))
        self.counts.setdefault((fault, stage.name), Counts()).note(trouble, lost, left)


def _write_images(folder: Path) -> None:
    """Digits as a folder of PNG files by class."""
    digits = load_digits()
    for label in range(10):
        for i, pixels in enumerate(digits.images[digits.target == label][:IMAGES_PER_CLASS]):
            split = "train" if i < IMAGES_PER_CLASS - 10 else "test"
            path = folder / split / f"class{label}" / f"{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 15.9).astype(np.uint8)).save(path)


def told(ended: Ended) -> str:
    """What is wrong with how a command refused: it must tell in a sentence, with a code of its own."""
    if ended.code is None:
        return "it hung"
    if "Traceback" in ended.said or ended.code not in (0, 1, 2, 130):
        return f"exit {ended.code}: {ended.said[-300:]}"
    return ""


def kills(campaign: Campaign, number: int) -> None:
    """kill -9 at random moments, shared out over the stages; then the command again."""
    for i in range(number):
        stage = STAGES[i % len(STAGES)]
        campaign.place(stage.name)
        command = Command(stage.arguments(campaign.work), campaign.work)
        command.end(after=campaign.rng.uniform(0, 1.05 * campaign.seconds[stage.name]))
        lost = None
        if stage.name == "distilling":
            lost = command.played.value - _iterations_saved(campaign.work / "run")
        campaign.note("kill -9", stage, campaign.again(stage), lost)


def stops(campaign: Campaign, number: int) -> None:
    """SIGTERM and Ctrl-C at random moments: nothing is lost at all once iterations have begun."""
    for i in range(number):
        stage = STAGES[2]
        campaign.place(stage.name)
        command = Command(stage.arguments(campaign.work), campaign.work)
        by = (signal.SIGTERM, signal.SIGINT)[i % 2]
        ended = command.end(after=campaign.rng.uniform(0.5, 1) * campaign.seconds[stage.name], by=by)
        lost = max(command.played.value - _iterations_saved(campaign.work / "run"), 0) if ended.code == 130 else 0
        trouble = told(ended) if ended.code is None or ended.code >= 0 else ""  # before its handlers are there it dies
        campaign.note("SIGTERM, Ctrl-C", stage, trouble or campaign.again(stage), lost)


def signals(campaign: Campaign) -> None:
    """Every signal to stop, at a random moment of every stage: no temporary file is left, and the command goes on."""
    for stage in STAGES:
        for by in STOPPING:
            campaign.place(stage.name)
            command = Command(stage.arguments(campaign.work), campaign.work)
            ended = command.end(after=campaign.rng.uniform(0.2, 1) * campaign.seconds[stage.name], by=by)
            trouble = told(ended) if ended.code is None or ended.code >= 0 else ""  # before its handlers are there
            campaign.note("signals", stage, trouble or campaign.again(stage))


def lost_ranks(campaign: Campaign, number: int) -> None:
    """kill -9 of one of several ranks at a random moment; then the command again, by as many ranks or by others.

    By as many the result is the same to the bit, by others up to rounding. As torchrun does, ranks that have not ended
    by themselves some seconds after another one has are sent SIGTERM.
    """
    stage = STAGES[2]
    usual: dict[int, tuple[Any, float]] = {}
    for i in range(number):
        count, again = 2 + i % 3, 1 + i % 4
        if count not in usual:
            campaign.place(stage.name)
            began = time.monotonic()
            for command in _ranks(stage.arguments(campaign.work), campaign.work, count):
                command.end()
            usual[count] = _result_of(campaign.work), time.monotonic() - began
        whole, seconds = usual[count]
        campaign.place(stage.name)
        commands = _ranks(stage.arguments(campaign.work), campaign.work, count)
        lost_one = commands.pop(campaign.rng.randrange(count))
        lost_one.end(after=campaign.rng.uniform(0, 1.05 * seconds))
        ends = [command.end(after=AGENT_PATIENCE, by=signal.SIGTERM) for command in commands]
        trouble = next((t for t in (told(end) for end in ends if end.code != -signal.SIGTERM) if t), "")
        played = max(command.played.value for command in (lost_one, *commands))
        lost = max(played - _iterations_saved(campaign.work / "run"), 0)
        ends = [
            command.end()
            for command in _ranks([*stage.arguments(campaign.work), *stage.again(campaign.work)], campaign.work, again)
        ]
        if not trouble and any(end.code != 0 for end in ends):
            trouble = f"again: {[(end.code, end.said[-200:]) for end in ends]}"
        if not trouble:
            found = _result_of(campaign.work)
            alike = same(found, whole) if again == count else _near(found["set"]["images"], whole["set"]["images"])
            trouble = "" if alike else f"{count} ranks, then {again}: another result"
        campaign.note("rank killed", stage, trouble, lost)


def _ranks(arguments: list[str], work: Path, count: int) -> list[Command]:
    """A command started as torchrun starts it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]

    def prepare(rank: int) -> Callable[[], None]:
        meeting = {"RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        return lambda: os.environ.update({name: str(value) for name, value in meeting.items()})

    return [Command(arguments, work, prepare(rank)) for rank in range(count)]


def _near(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether stored images differ by no more than rounding explains after some tens of iterations."""
    return a.shape == b.shape and float((a.float() - b.float()).abs().mean()) < 1e-3


def _iterations_saved(run: Path) -> int:
    """Of the last state; 0 without one."""
    from safetensors import safe_open

    for name in (CHECKPOINT_FILE, "state-before.safetensors"):
        if (run / name).is_file():
            with safe_open(run / name, framework="pt") as file:
                return int(json.loads(file.metadata()["progress"])["iteration"])
    return 0


def full_disks(campaign: Campaign, sizes: int) -> None:
    """A disk that is full after some more blocks; then one with space, and the command again."""
    for stage in STAGES:
        used = sum(path.stat().st_size + 4096 for path in (campaign.home / stage.name).rglob("*"))
        for _ in range(sizes):
            with _small_disk(campaign.work, "64m") as resize:
                shutil.copytree(campaign.home / stage.name, campaign.work, dirs_exist_ok=True)
                resize(f"size={used + 4096 * round(2 ** campaign.rng.uniform(0, 8))}")
                ended = Command(stage.arguments(campaign.work), campaign.work).end()
                resize("size=64m")
                campaign.note("full disk", stage, told(ended) or campaign.again(stage))


def read_only(campaign: Campaign) -> None:
    """A disk that nothing can be written to; then one that can be."""
    for stage in STAGES:
        with _small_disk(campaign.work, "64m") as resize:
            shutil.copytree(campaign.home / stage.name, campaign.work, dirs_exist_ok=True)
            resize("ro")
            ended = Command(stage.arguments(campaign.work), campaign.work).end()
            resize("rw")
            campaign.note("read-only disk", stage, told(ended) or campaign.again(stage))


@contextlib.contextmanager
def _small_disk(place: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A tmpfs at a place; gives a function that mounts it anew with an option."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "ncfm-faults", str(place))
    try:
        yield lambda option: _mount("-o", f"remount,{option}", str(place))
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def can_mount() -> bool:
    """Whether disks may be mounted here."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, check=False)
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=False)
        return done.returncode == 0


def cuts(campaign: Campaign, number: int | None) -> None:
    """Each file of a stopped run and of the cache, cut at its start, its header, each tensor, its middle and end; or so
    many of these places at random. Records of iterations that are past (metrics, film) cannot be made again: of them
    only the result has to be the same."""
    stage = STAGES[2]
    campaign.place(stage.name)
    for attempt in range(20):  # until it is stopped between two states
        command = Command(stage.arguments(campaign.work), campaign.work)
        command.end(after=(0.5 + 0.02 * attempt) * campaign.seconds[stage.name], by=signal.SIGTERM)
        if (campaign.work / "run" / "state-before.safetensors").is_file():
            break
        campaign.place(stage.name)
    stopped = campaign.home / "stopped"
    shutil.copytree(campaign.work, stopped)
    files = [p.relative_to(stopped) for name in ("run", "cache") for p in sorted((stopped / name).rglob("*"))]
    whole = [name for name in files if (stopped / name).is_file() and not name.name.startswith(".")]
    places = [(name, length) for name in whole for length in _boundaries(stopped / name)]
    for name, length in places if number is None else campaign.rng.sample(places, number):
        campaign.place("stopped")
        path = campaign.work / name
        path.write_bytes(path.read_bytes()[:length])
        record = "film" in name.parts or name.suffix == ".jsonl"
        trouble = campaign.again(stage._replace(outcome=_result_of) if record else stage)
        fault = "record cut" if record else "file cut"
        campaign.note(fault, stage, trouble and f"{name} at {length}: {trouble}")


def _boundaries(path: Path) -> list[int]:
    """Where a file may be cut: its parts begin and end there."""
    content = path.read_bytes()
    found = {0, 1, len(content) // 2, len(content) - 1}
    if path.suffix == ".safetensors":
        header = int.from_bytes(content[:8], "little")
        found |= {8, 8 + header // 2, 8 + header}
        for entry in json.loads(content[8 : 8 + header]).values():
            found |= {8 + header + offset for offset in entry.get("data_offsets", ())}
    return sorted(place for place in found if 0 <= place < len(content))


def failing_calls(campaign: Campaign, number: int) -> None:
    """A call of a kind fails, or all from there on: opening, writing, syncing, renaming, chmod. Then the command again.

    Each stage is played once to count its calls, and then so many times for every kind, the first to fail at random.
    """
    for stage in STAGES:
        counts = _calls_of(campaign, stage)
        for kind in KINDS:
            for i in range(min(number, counts[kind])):
                campaign.place(stage.name)
                after = campaign.rng.randrange(counts[kind])
                prepare = partial(fail_from, kind, after, 1 if i % 2 else 10**9, campaign.work)
                ended = Command(stage.arguments(campaign.work), campaign.work, prepare).end()
                trouble = told(ended) or campaign.again(stage)
                campaign.note(f"{kind} fails", stage, trouble and f"from call {after}: {trouble}")


def _calls_of(campaign: Campaign, stage: Stage) -> dict[str, int]:
    """How many calls of each kind a stage makes below the folder."""
    campaign.place(stage.name)
    told_of = campaign.home / "calls.json"

    counting, tell = partial(count_below, campaign.work), partial(_tell_calls, told_of)
    Command(stage.arguments(campaign.work), campaign.work, counting, tell).end()
    found: dict[str, int] = json.loads(told_of.read_text())
    return found


def _tell_calls(path: Path) -> None:
    path.write_text(json.dumps({kind: calls_made(kind) for kind in KINDS}))


def clock_jumps(campaign: Campaign) -> None:
    """A clock that jumps by years at every look."""
    jumps = random.Random(7)
    now = time.time

    def prepare() -> None:
        time.time = lambda: now() + jumps.uniform(-3e8, 3e8)

    for stage in STAGES:
        campaign.place(stage.name)
        ended = Command(stage.arguments(campaign.work), campaign.work, prepare).end()
        trouble = told(ended) or ("" if ended.code == 0 and campaign.is_as_ever(stage) else f"exit {ended.code}")
        campaign.note("clock jumps", stage, trouble)


def two_at_once(campaign: Campaign, number: int) -> None:
    """The same command twice at once: on a run folder the second is told of the first, or comes after it."""
    for i in range(number):
        stage = STAGES[i % len(STAGES)]
        campaign.place(stage.name)
        first = Command(stage.arguments(campaign.work), campaign.work)
        time.sleep(campaign.rng.uniform(0, 0.5) * campaign.seconds[stage.name])
        second = Command(stage.arguments(campaign.work), campaign.work)
        ends = [command.end() for command in (first, second)]
        trouble = next((t for t in map(told, ends) if t), "")
        if not trouble and not any(end.code == 0 for end in ends):
            trouble = f"both failed: {ends[0].said[-150:]} / {ends[1].said[-150:]}"
        campaign.note("two at once", stage, trouble or ("" if campaign.is_as_ever(stage) else "another result"))


def short_memory(campaign: Campaign, number: int) -> None:
    """An address space that ends somewhere above what the process has; then one that does not, and again.

    Passes that were halved round otherwise: what is asked is an end without a traceback, and a command that works.
    """
    for i in range(number):
        stage = STAGES[1 + i % 3]
        campaign.place(stage.name)
        more = int(campaign.rng.uniform(0, 200)) * 2**20

        def prepare(more: int = more) -> None:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more,) * 2)

        ended = Command(stage.arguments(campaign.work), campaign.work, prepare).end()
        trouble = told(ended)
        if not trouble and ended.code != 0:
            again = Command([*stage.arguments(campaign.work), *stage.again(campaign.work)], campaign.work).end()
            trouble = "" if again.code == 0 else f"again: exit {again.code}: {again.said[-300:]}"
        campaign.note("short of memory", stage, trouble)


def main() -> None:
    """Run the campaign, print its table, append its rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kill -9 so many times; the other faults in proportion")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cuts", type=int, help="cut files at so many places; default: at all of their boundaries")
    parser.add_argument("--only", help="faults whose name has this")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/faults.csv)")
    options = parser.parse_args()
    can_fail_calls = preload()
    torch.set_num_threads(1)
    for module in SLOW_IMPORTS:  # the forked processes have them
        importlib.import_module(module)
    campaign = Campaign(options.seed)
    tenth = max(options.kills // 10, 5)
    faults: dict[str, Callable[[], None]] = {
        "kills": lambda: kills(campaign, options.kills),
        "stops": lambda: stops(campaign, tenth),
        "signals": lambda: signals(campaign),
        "two at once": lambda: two_at_once(campaign, tenth),
        "short memory": lambda: short_memory(campaign, tenth),
        "clock": lambda: clock_jumps(campaign),
        "ranks": lambda: lost_ranks(campaign, tenth),
    }
    if can_fail_calls:
        faults["failing calls"] = lambda: failing_calls(campaign, max(options.kills // 40, 1))
    if can_mount():
        faults["full disk"] = lambda: full_disks(campaign, max(options.kills // 40, 1))
        faults["read-only disk"] = lambda: read_only(campaign)
    faults["cuts"] = lambda: cuts(campaign, options.cuts)
    began = time.monotonic()
    try:
        campaign.prepare()
        for name, play in faults.items():
            if (options.only or "") not in name:
                continue
            play()
            print(f"{name}: done after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(campaign.home, ignore_errors=True)
    rows = _rows(campaign)
    Console().print(_table(rows, time.monotonic() - began))
    for (fault, stage), counts in campaign.counts.items():
        for failure in counts.failures:
            print(f"{fault}, {stage}: {failure}", file=sys.stderr)
    if options.results:
        append_rows(options.results, rows)
    if any(row.survived < row.tried for row in rows):
        sys.exit(1)


def _rows(campaign: Campaign) -> list[FaultRow]:
    here = asdict(Conditions.here(torch.device("cpu")))
    here.pop("peak_memory_mb")
    return [
        FaultRow(
            fault=fault,
            stage=stage,
            tried=counts.tried,
            survived=counts.survived,
            lost_iterations_mean=sum(counts.lost_iterations) / max(len(counts.lost_iterations), 1),
            lost_iterations_max=max(counts.lost_iterations, default=0),
            left_behind=counts.left_behind,
            **here,
        )
        for (fault, stage), counts in campaign.counts.items()
    ]


def _table(rows: list[FaultRow], seconds: float) -> Table:
    table = Table(
        "fault", "stage", "tried", "survived", "lost iter.\nmean (most)", "left\nbehind", caption=f"{seconds:.0f} s"
    )
    for row in rows:
        lost = f"{row.lost_iterations_mean:.1f} ({row.lost_iterations_max})" if row.stage == "distilling" else "-"
        table.add_row(row.fault, row.stage, str(row.tried), str(row.survived), lost, str(row.left_behind))
    return table


if __name__ == "__main__":
    main()
