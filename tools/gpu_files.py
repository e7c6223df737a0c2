"""What `tools/gpu_check.sh` needs on a machine without a network: packages as wheels, and CIFAR-10 in parts.

    python tools/gpu_files.py wheels .gpu/wheels            # download the packages that images of PyTorch lack
    python tools/gpu_files.py parts DATA/cifar10 .gpu/parts --mb 30   # .gpu/parts/1, .gpu/parts/2, ...
    python tools/gpu_files.py check .gpu/work/data/cifar10  # on that machine: what is missing, in words

Parts hold the images as they are, some rows of the parquet files each. They are moved one after the other where a
transfer has a limit, and put together in any order.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WHEELS = ("pydantic", "pydantic_core", "annotated-types", "typing-inspection", "typing_extensions")
"""Packages that an image with PyTorch and the usual scientific packages lacks."""
OPTIONAL = ("datasets",)
"""Dependencies that nothing in the check imports."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
TESTS = ("pytest", "hypothesis")
PART = re.compile(r"(?P<split>train|test)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet")


def download_wheels(folder: Path, python: str) -> None:
    """Download the wheels of `WHEELS` in the versions of constraints.txt."""
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line
    )
    named = {name.lower().replace("_", "-"): version.strip() for name, version in pinned.items() if name[0] != "#"}
    wanted = [f"{name}=={named[name.lower().replace('_', '-')]}" for name in WHEELS]
    options = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", *options, *platforms, "-d", str(folder), *wanted], check=True
    )


def write_parts(source: Path, folder: Path, megabytes: float) -> None:
    """Write the parquet files of a folder in parts of at most so many megabytes, each in a folder of its own."""
    import pyarrow.parquet as pq

    number = 0
    for split in ("train", "test"):
        pieces = []
        for path in sorted(source.glob(f"{split}*.parquet")):
            table = pq.read_table(path)
            count = -(-path.stat().st_size // int(megabytes * 2**20))
            rows = -(-len(table) // count)
            pieces += [table.slice(first, rows) for first in range(0, len(table), rows)]
        for index, piece in enumerate(pieces):
            number += 1
            (folder / str(number)).mkdir(parents=True, exist_ok=True)
            pq.write_table(piece, folder / str(number) / f"{split}-{index:05d}-of-{len(pieces):05d}.parquet")


def missing_packages() -> list[str]:
    """Packages that are missing or too old, with what is needed."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = []
    for requirement in map(Requirement, (*project["dependencies"], *TESTS)):
        if requirement.name in OPTIONAL:
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{requirement} (not installed)")
        else:
            if not requirement.specifier.contains(version, prereleases=True):
                found.append(f"{requirement} (found {version})")
    return found


def missing_parts(folder: Path) -> list[str]:
    """Names of parts that are still to come, by the numbers in the names of those that are there."""
    there = [match for path in folder.glob("*.parquet") if (match := PART.fullmatch(path.name))]
    expected = {
        f"{match['split']}-{i:05d}-of-{match['count']}.parquet" for match in there for i in range(int(match["count"]))
    }
    missing = sorted(expected - {match[0] for match in there})
    return missing + [f"{split}-*.parquet" for split in ("train", "test") if split not in {m["split"] for m in there}]


def check(folder: Path) -> int:
    """Print what is missing. 1 if packages are, 2 if only images are, else 0."""
    packages, parts = missing_packages(), missing_parts(folder)
    if packages:
        print(f"Missing packages: {', '.join(packages)}. Put wheels into .gpu/wheels (tools/gpu_files.py wheels).")
    if parts:
        print(f"Missing images of CIFAR-10 in {folder}: {', '.join(parts)} (tools/gpu_files.py parts).")
    return 1 if packages else 2 if parts else 0


def main() -> int:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    wheels = commands.add_parser("wheels")
    wheels.add_argument("folder", type=Path)
    wheels.add_argument("--python", default="3.12", help="version of Python on the other machine")
    parts = commands.add_parser("parts")
    parts.add_argument("source", type=Path)
    parts.add_argument("folder", type=Path)
    parts.add_argument("--mb", type=float, default=30.0, help="size of a part at most")
    commands.add_parser("check").add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.command == "wheels":
        download_wheels(options.folder, options.python)
    elif options.command == "parts":
        write_parts(options.source, options.folder, options.mb)
    else:
        return check(options.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
