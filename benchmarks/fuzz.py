"""`python -m benchmarks.fuzz`: files that somebody damaged or made up, given to everything that reads a file.

Each input is a good file of its kind with a few random changes: bits flipped, bytes cut out, put in, repeated or
exchanged, numbers made absurd. A reader may read it, or refuse it with the package's own error; any other exception,
a crash of the process, a hang (10 seconds) or an allocation beyond 4 GiB is a finding.

Readers run in processes that are forked from this one, some hundred inputs each, so that a crash is one finding.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch.optim.lr_scheduler import LambdaLR

import ncfm
from benchmarks.choices import Choices
from benchmarks.fuzz_files import written
from benchmarks.fuzz_kinds import kinds
from benchmarks.records import FuzzRow
from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import Streams
from ncfm._utils.types import Statistics
from ncfm.config.keys import nest, parse_setting
from ncfm.config.layers import make_config
from ncfm.config.methods import read_ablation
from ncfm.config.recipes import read_recipe
from ncfm.data import images_of, load_images
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.distillation.checkpoint import CHECKPOINT_FILE, Progress, load_checkpoint, take_checkpoint
from ncfm.distillation.history import METRICS_FILE, read_lines
from ncfm.distillation.snapshots import Snapshot, read_snapshots, snapshot_images, write_snapshot
from ncfm.evaluation.student_cache import Student, StudentCache
from ncfm.formats import export
from ncfm.formats.reading import read_external
from ncfm.results.files import Conditions, append_rows, read_rows
from ncfm.synthetic.score_file import read_scores
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.workflows.report import write_report

SECONDS = 10  # a reader that takes longer hangs
MEMORY = 4 * 2**30  # bytes of address space beyond what the process has
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # nothing here has to last
SLOW = {"report": 25}  # readers that get a part of the inputs, since each takes so many times as long
AT_ONCE = 400  # inputs of a forked process
ABSURD = (b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7, b"-1", b"1e999", b"NaN", b"99999999999999999999")
SPLICES = (
    b"../../etc/passwd",
    b"\x00",
    b"<script>",
    b"[[[[[[[[",
    b'{"a":' * 40,
    b'"',
    b"'",
    b"\xf0\x9f\x90\x9e",
    b"null",
)


class Reader(NamedTuple):
    """Something that reads files."""

    name: str
    folder: Path  # with good files
    changed: tuple[str, ...]  # of them one is changed
    read: Callable[[Path], Any]  # the folder


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with one to four changes."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(content) + 1)
        until = min(at + rng.choice((1, 1, 2, 8, 64)), len(content))
        how = rng.randrange(8)
        if how == 0 and at < len(content):
            content = content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        elif how == 1:
            content = content[:at]
        elif how == 2:
            content = content[:at] + content[until:]
        elif how == 3:
            content = content[:at] + content[at:until] * rng.choice((2, 3, 200)) + content[until:]
        elif how == 4:
            content = content[:at] + rng.choice(SPLICES) + content[until:]
        elif how == 5:
            absurd = rng.choice(ABSURD)
            content = content[:at] + absurd + content[at + len(absurd) :]
        elif how == 6:
            content = content[:at] + rng.randbytes(until - at) + content[until:]
        else:  # a number in a text becomes another
            digits = [i for i in range(len(content)) if content[i : i + 1].isdigit()][:500]
            if digits:
                i = rng.choice(digits)
                content = content[:i] + rng.choice((b"-", b"0", b"9" * 12, b".", b"e9")) + content[i + 1 :]
    return content


def readers(home: Path) -> list[Reader]:
    """Good files of every kind, and who reads them."""
    images, names = torch.rand(3, 2, 3, 8, 8), ("cat", "dog", "emu")
    statistics = Statistics((0.5,) * 3, (0.2,) * 3)
    soft = SoftLabels.of(torch.log_softmax(torch.randn(6, 3), 1))
    made = SyntheticSet(images, names, statistics, factor=1, soft_labels=soft, facts={"data": "x", "seed": 1})
    split = ImageSplit.of((torch.rand(30, 3, 8, 8) * 255).to(torch.uint8), torch.arange(30) % 3, 3)
    real = ImageSet("real", split, split, names)
    found: list[Reader] = []

    def add(name: str, read: Callable[[Path], Any], *changed: str, folder: Path | None = None) -> Path:
        place = home / (folder or name)
        place.mkdir(parents=True, exist_ok=True)
        found.append(Reader(name, place, changed, read))
        return place

    ncfm.save(made, add("set", ncfm.load, "set.json", "images.safetensors"))
    for to, suffix in (("npz", ".npz"), ("pt", ".pt"), ("parquet", ".parquet")):
        place = add(f"foreign {to}", lambda p, s=suffix: read_external(p / f"set{s}", real), f"set{suffix}")
        export(made, place / f"set{suffix}", to=to)
    place = add("foreign safetensors", lambda p: read_external(p / "x.safetensors", real), "x.safetensors")
    save_file({"images": images.flatten(0, 1), "labels": torch.arange(3).repeat_interleave(2)}, place / "x.safetensors")

    pixels = (torch.rand(8, 8, 3) * 255).to(torch.uint8).numpy()
    for kind in ("png", "jpeg", "gif", "bmp", "tiff", "webp"):
        place = add(f"image folder, {kind}", lambda p: load_images(str(p)), f"train/a/0.{kind}")
        for label in "ab":
            for i in range(3):
                path = place / "train" / label / f"{i}.{kind}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    cells = [{"bytes": buffer.getvalue(), "path": None}] * 6
    table = pa.table({"image": cells, "label": [0, 1, 2, 0, 1, 2]})
    pq.write_table(table, add("parquet", lambda p: load_images(str(p)), "train.parquet") / "train.parquet")
    for packed in (False, True):
        end = ".gz" if packed else ""
        stems = [
            f"{split}-{what}{end}" for split in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
        ]
        place = add(f"idx{end}", lambda p: load_images(str(p)), *stems)
        for stem in stems:
            shape = (6, 8, 8) if "images" in stem else (6,)
            array = np.arange(6, dtype=np.uint8) % 3 if len(shape) == 1 else np.zeros(shape, np.uint8)
            content = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + array.tobytes()
            (place / stem).write_bytes(gzip.compress(content) if packed else content)

    tensors = {"images": images.clone(), "adversary.w": torch.rand(4)}
    optimizer = torch.optim.Adam([tensors["images"]])
    streams = Streams(0)
    place = add(
        "state",
        lambda p: load_checkpoint(p, dict(tensors), {"images_optimizer": optimizer}, Streams(0)),
        CHECKPOINT_FILE,
    )
    take_checkpoint(Progress(3, 1.0), tensors, {"images_optimizer": optimizer}, streams).write(place)
    place = add("film", read_snapshots, "film/00000003.png")
    write_snapshot(place, Snapshot(3, snapshot_images(images)))
    found[-1] = found[-1]._replace(changed=tuple(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()))
    place = add("metrics", lambda p: read_lines(p / METRICS_FILE), METRICS_FILE)
    (place / METRICS_FILE).write_text('{"iteration": 1, "discrepancy": 0.5}\n' * 3)
    place = add("scores", lambda p: read_scores(p / "scores.json"), "scores.json")
    (place / "scores.json").write_text(json.dumps([{"accuracy_mean": 0.5, "accuracies": [0.5]}]))
    place = add("results", lambda p: read_rows(p / "rows.csv"), "rows.csv")
    (place / "rows.csv").write_text("a,b\n1,2\n")

    place = add("student", lambda p: StudentCache("key", folder=p).get(0), "key-0.json")
    StudentCache("key", folder=place).put(0, Student((0.5,), ((1, 0), (0, 1)), 0.1, 1.0, {"device": "x"}))
    place = add("training under way", lambda p: TrainingCheckpoint(p / "u").resume(*_training()), "u")
    TrainingCheckpoint(place / "u").save(3, *_training())
    place = add("recipe", lambda p: make_config(read_recipe(str(p / "r.toml"))), "r.toml", "base.toml")
    (place / "r.toml").write_text('extends = "base.toml"\n[distill]\nimage_lr = 0.01\n')
    (place / "base.toml").write_text('extends = "paper"\n[teachers]\nnumber = 2\nnetwork = "convnet"\n')
    place = add("ablation", lambda p: read_ablation(str(p / "a.toml")), "a.toml")
    (place / "a.toml").write_text('method = "ncfm"\n[variants."a=1"]\n"distill.iterations" = { times = 0.5 }\n')
    place = add(
        "settings", lambda p: make_config(nest(dict([parse_setting((p / "s").read_text("utf-8", "replace"))]))), "s"
    )
    (place / "s").write_text("distill.image_lr=0.01")

    place = home / "report"
    ncfm.distill(real, ipc=1, recipe="none", settings=TINY, out=place)
    (place / "report.html").unlink(missing_ok=True)
    parts = ("config.json", "metrics.jsonl", CHECKPOINT_FILE, "synthetic/set.json", "synthetic/images.safetensors")
    add("report", lambda p: write_report(p, with_data=False), *parts, folder=Path("report"))
    place = add("torch data set", lambda p: images_of(_Made((p / "d").read_bytes())), "d")
    (place / "d").write_bytes(bytes(range(64)))
    for name, content in written(home / "written").items():
        place = add(name, _reader_of(content, real), content.name)
        shutil.copytree(content.parent, place, dirs_exist_ok=True)
    for name, read in kinds(real, made, home).items():
        (add(name, _chosen(read), "d") / "d").write_bytes(bytes(64))
    return found


def _reader_of(path: Path, real: ImageSet) -> Callable[[Path], Any]:
    """Reads a file of a good data set, or of a set next to its soft labels."""
    if "soft" in path.parent.name:
        return lambda p: read_external(p, real).decoded()
    return lambda p: load_images(str(p / path.name if path.suffix in (".zip", ".gz") else p), image_size=8)


def _chosen(read: Callable[[Choices, Path], Any]) -> Callable[[Path], Any]:
    """Reads what the bytes of a file decide; what is written for it goes to an empty folder."""

    def reading(p: Path) -> Any:
        place = p / "made"
        place.mkdir()
        try:
            return read(Choices((p / "d").read_bytes()), place)
        finally:
            shutil.rmtree(place)

    return reading


def _training() -> tuple[torch.nn.Module, torch.optim.Optimizer, LambdaLR, torch.Generator]:
    """What a training under way consists of."""
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return network, optimizer, LambdaLR(optimizer, lambda step: 1 / (1 + step)), torch.Generator()


class _Made(torch.utils.data.Dataset):
    """Images and labels of any shape and kind, from bytes."""

    def __init__(self, content: bytes) -> None:
        self.rng = random.Random(content)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        if index >= 4:
            raise IndexError
        rng = self.rng
        image, label = np.ones((8, 8, 3), np.uint8), index % 2
        if rng.random() < 0.2:
            shape = rng.choice(((0, 0, 3), (1, 1), (3, 8, 8), (8,), (8, 8, 4), (9, 8, 3), ()))
            image = np.ones(shape, rng.choice((np.uint8, np.float32, np.int64, bool, np.complex64)))
        if rng.random() < 0.2:
            label = rng.choice((-1, 2.5, "a", None, True, 10**12, float("nan"), 2.0, np.int8(1), [1]))
        return (image, label) if rng.random() < 0.95 else rng.choice((None, (), image, {"image": image}, (image,)))


TINY = {
    "teachers.network": "convnet1w8",
    "teachers.number": 1,
    "teachers.epochs": 0,
    "frequencies.number": 8,
    "distill.iterations": 2,
    "distill.factor": 1,
    "distill.real_batch_per_class": 2,
    "machine.kernels": "off",
}


@dataclass
class Counts:
    """Of the inputs of one reader."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    findings: list[str] = field(default_factory=list)


def play(reader: Reader, seed: int, number: int) -> Counts:
    """Give a reader so many inputs, in forked processes."""
    counts, at = Counts(), 0
    while at < number:
        begin, end = at, min(at + AT_ONCE, number)
        told, tell = os.pipe()
        sys.stdout.flush(), sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(told)
            _child(reader, seed, range(begin, end), tell)
        os.close(tell)
        with os.fdopen(told, "rb") as pipe:
            lines = pipe.read().decode("utf-8", "replace").splitlines()
        _, status = os.waitpid(pid, 0)
        for line in lines:
            kind, _, more = line.partition(" ")
            counts.read += kind == "read"
            counts.refused += kind == "refused"
            if kind == "finding":
                counts.findings.append(more)
        at = begin + len(lines)
        counts.inputs += len(lines)
        if status and at < end:
            how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status}"
            counts.findings.append(f"input {at}: {how}: the process died")
            at, counts.inputs = at + 1, counts.inputs + 1
    return counts


def _child(reader: Reader, seed: int, numbers: range, tell: int) -> None:
    """In the child: read the inputs, a line for each."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    signal.signal(signal.SIGALRM, _hung)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")
    home = Path(tempfile.mkdtemp(prefix="ncfm-fuzz-", dir=IN_MEMORY))
    os.environ["NCFM_CACHE"] = str(home / "cache")
    work = home / "work"
    shutil.copytree(reader.folder, work)
    for number in numbers:
        rng = random.Random(f"{reader.name} {seed} {number}")
        name = rng.choice(reader.changed)
        (work / name).write_bytes(mutated((reader.folder / name).read_bytes(), rng))
        signal.alarm(SECONDS)
        try:
            reader.read(work)
            line = "read"
        except NcfmError:
            line = "refused"
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            line = f"finding input {number}: {' '.join(said.split())[:300]}"
        signal.alarm(0)
        os.write(tell, f"{line}\n".encode("utf-8", "replace"))
        for place in (reader.folder, work):
            if place == work and (work / name).exists():
                shutil.copyfile(reader.folder / name, work / name)
    shutil.rmtree(home, ignore_errors=True)
    os._exit(0)


def _hung(*_: object) -> None:
    raise TimeoutError("it hung")


def main() -> None:
    """Fuzz every reader, print the table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=130_000, help="over all readers, less for `SLOW` ones")
    parser.add_argument("--only", help="readers whose name has this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="append rows to this file (results/fuzz.csv)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for module in ("matplotlib.backends.backend_agg", "ncfm.workflows.report"):
        importlib.import_module(module)
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="ncfm-fuzz-", dir=IN_MEMORY))
    os.environ["NCFM_CACHE"] = str(home / "cache")
    try:
        chosen = [reader for reader in readers(home) if (options.only or "") in reader.name]
        share = -(-options.inputs // len(chosen))
        counts = {}
        for reader in chosen:
            begun = time.monotonic()
            counts[reader.name] = play(reader, options.seed, share // SLOW.get(reader.name, 1))
            print(f"{reader.name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    table = Table("reader", "inputs", "read", "refused", "findings", caption=f"{time.monotonic() - began:.0f} s")
    for name, count in counts.items():
        table.add_row(name, *map(str, (count.inputs, count.read, count.refused, len(count.findings))))
    Console().print(table)
    for name, count in counts.items():
        for finding in count.findings[:20]:
            print(f"{name}: {finding}", file=sys.stderr)
    if options.results:
        here = asdict(Conditions.here(torch.device("cpu")))
        here.pop("peak_memory_mb")
        rows = [FuzzRow(name, c.inputs, c.read, c.refused, len(c.findings), **here) for name, c in counts.items()]
        append_rows(options.results, rows)
    if any(count.findings for count in counts.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
