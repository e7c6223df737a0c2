"""Compare this checkout with an earlier commit: the same seeds must give the same bits.

    python tools/same_bits.py 27e9f2b                 # digits: every method, students, scores; about 2 minutes
    python tools/same_bits.py 27e9f2b --cifar10 DIR   # also CIFAR-10 at one image per class, 20 iterations

Both versions run the same probe in processes of their own, with the interpreter that runs this script. The earlier one
is checked out with `git worktree` into a temporary folder. Only public functions and commands are used, so that the
probe outlives any move of a module. Bits depend on the machine and its number of threads, so nothing is stored but the
answers of an earlier commit on this machine (``--keep FILE``). Exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SHORT = {"teachers.epochs": 2, "teachers.number": 2, "evaluate.runs": 1, "evaluate.epochs": 3}
METHODS = ["ncfm", "gaussian", "mean", "mse", "mmd", "dsdm", "dm", "mtt", "datm", "random", "herding", "kcenter"]
METHODS += ["kmeans", "mosaic", "rded", "rded-teacher", "full"]
FORMS: dict[str, dict[str, Any]] = {
    "direct": {"frequencies.family": "direct", "distill.ascent_steps": 2},
    "student": {"frequencies.family": "student", "objective.corrected": True},
    "descents": {"distill.descent_steps": 2, "distill.factor": 2, "distill.mode": "multi"},
    "classes": {"distill.classes_per_step": 1, "distill.init": "noise"},
    "rded": {"distill.init": "rded", "labels.kind": "soft", "teachers.network": "convnet2-batch"},
}


def tensor_hash(*tensors: Any) -> str:
    """Of shapes, types and bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def students(evaluation: Any) -> dict[str, Any]:
    """What students of an evaluation came to, exactly."""
    return {
        "accuracies": list(evaluation.accuracies),
        "confusion": tensor_hash(evaluation.confusion),
        "calibration": evaluation.calibration_error.mean,
    }


def distilled(result: Any) -> dict[str, Any]:
    """A distillation's images, labels and logged losses, exactly."""
    timed = ("seconds", "seconds_per_iteration", "memory_mb")
    history = [{key: value for key, value in entry.items() if key not in timed} for entry in result.history]
    return {
        "images": tensor_hash(result.synthetic.images),
        "start": tensor_hash(result.start.images),
        "history": hashlib.sha256(json.dumps(history).encode()).hexdigest()[:16],
        "decoded": tensor_hash(*result.synthetic.decoded()),
    }


def probe(cifar10: str | None) -> dict[str, Any]:
    """Everything that must not change, by name; runs in either version."""
    import ncfm

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        result = ncfm.distill("digits", ipc=1, seed=0, out=out / "digits")
        found["digits ipc1"] = distilled(result)
        found["digits ipc1, students"] = students(
            ncfm.evaluate(result.synthetic, settings={"evaluate.runs": 2, "evaluate.epochs": 60})
        )
        scores = [sys.executable, "-m", "ncfm", "score", str(out / "digits"), "--runs", "1", "--epochs", "5"]
        told = subprocess.run([*scores, "--full-epochs", "1", "--json", "--quiet"], capture_output=True, text=True)
        found["digits ipc1, scores"] = json.loads(told.stdout)
        short = {
            **SHORT,
            "distill.iterations": 4,
            "trajectory.epochs": 4,
            "trajectory.start_high": 2,
            "trajectory.student_steps": 3,
        }
        for scored in ncfm.compare("digits", ipc=1, methods=METHODS, settings=short, seeds=1, out=out / "compared"):
            found[f"compare {scored.name}"] = students(scored.evaluation) | {"variant": scored.variant}
            folder = out / "compared" / scored.name
            if (folder / "set").is_dir():
                found[f"compare {scored.name}"]["images"] = tensor_hash(ncfm.load(folder).images)
    for name, settings in FORMS.items():
        found[f"form {name}"] = distilled(
            ncfm.distill("digits", ipc=2, seed=1, settings={**SHORT, "distill.iterations": 4, **settings})
        )
    for path in sorted((ROOT / "gallery").glob("*/set.json")):
        found[f"gallery {path.parent.name}"] = tensor_hash(*ncfm.load(path.parent).decoded())
    if cifar10 is not None:
        settings = {"distill.iterations": 20, "teachers.epochs": 1, "teachers.number": 2}
        result = ncfm.distill("cifar10", ipc=1, seed=0, data_dir=cifar10, settings=settings)
        found["cifar10 ipc1"] = distilled(result)
        judged = ncfm.evaluate(result.synthetic, data_dir=cifar10, settings={"evaluate.runs": 1, "evaluate.epochs": 20})
        found["cifar10 ipc1, students"] = students(judged)
    return found


def answers(source: Path, cache: Path, cifar10: str | None) -> dict[str, Any]:
    """The probe's, of the package in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(source), "NCFM_CACHE": str(cache)}
    environment.setdefault("OMP_NUM_THREADS", "2")
    command = [sys.executable, __file__, "--probe", *([] if cifar10 is None else ["--cifar10", cifar10])]
    told = subprocess.run(command, env=environment, capture_output=True, text=True)
    if told.returncode:
        sys.exit(f"The probe failed in {source}:\n{told.stderr}")
    return json.loads(told.stdout.splitlines()[-1])


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", help="the earlier version")
    parser.add_argument("--cifar10", metavar="DIR", help="folder that has cifar10/*.parquet")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="answers of the earlier commit, made once")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="one cache for both: what one writes the other reads")
    parser.add_argument("--probe", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.probe:
        print(json.dumps(probe(given.cifar10)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        if given.keep is not None and given.keep.is_file():
            before = json.loads(given.keep.read_text())
        else:
            earlier = Path(temporary) / "earlier"
            subprocess.run(
                ["git", "worktree", "add", "--quiet", "--detach", earlier, given.commit], cwd=ROOT, check=True
            )
            try:
                before = answers(earlier / "src", given.cache or Path(temporary) / "a", given.cifar10)
            finally:
                subprocess.run(["git", "worktree", "remove", "--force", earlier], cwd=ROOT, check=True)
            if given.keep is not None:
                given.keep.write_text(json.dumps(before, indent=1))
        after = answers(ROOT / "src", given.cache or Path(temporary) / "b", given.cifar10)
    compared = [name for name in before if name in after or given.cifar10 or "cifar10 ipc1" not in name]
    differing = 0
    for name in compared:
        same = before[name] == after.get(name)
        differing += not same
        print(f"{'same' if same else 'DIFFERS':8}{name}" + ("" if same else f"\n  {before[name]}\n  {after.get(name)}"))
    print(f"{differing} of {len(compared)} differ")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
