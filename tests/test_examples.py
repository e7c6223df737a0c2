"""The examples for clusters: they are sound as files, and what Slurm would start runs and resumes here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ncfm
import warm
from ncfm.config.recipes import recipe_names
from tiny import SETTINGS

EXAMPLES = Path(__file__).parents[1] / "examples"
WANTED = "imagenet-1k --ipc 10 --recipe imagenet-1k-ipc1"


def shell_accepts(text, shell):
    return subprocess.run([shell, "-n"], input=text, text=True, capture_output=True, check=False).returncode == 0


def test_recipes_of_the_examples_exist():
    for name in ("slurm.sbatch", "kubernetes.yaml"):
        assert WANTED in (EXAMPLES / name).read_text()
    assert "imagenet-1k-ipc1" in recipe_names()


def test_the_pods_find_each_other():
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert service["spec"]["clusterIP"] == "None"  # headless: a name for every pod
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert spec["completionMode"] == "Indexed"
    (container,) = pod["containers"]
    assert container["command"] == ["/bin/sh", "-c"]
    (script,) = container["args"]
    assert shell_accepts(script, "sh")
    assert f"--nnodes {spec['parallelism']} " in script
    assert spec["completions"] == spec["parallelism"]
    assert f"--rdzv-endpoint {job['metadata']['name']}-0.{pod['subdomain']}:29500" in script  # the first pod's name
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    assert all(entry["value"].startswith(mounts["shared"]) for entry in container["env"])


@pytest.fixture
def cluster(tmp_path, built_kernels):
    """Commands of Slurm that know one machine, this one, and the script for it with the digits."""
    (tmp_path / "ncfm").mkdir()  # its cache
    (tmp_path / "ncfm" / "kernels").symlink_to(built_kernels)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, script in {
        "scontrol": "echo localhost",
        "srun": 'shift; echo "$@" >> "$CALLS"; if [ -z "$ONLY_NOTE" ]; then exec "$@"; fi',  # its one option first
        "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    text = (EXAMPLES / "slurm.sbatch").read_text()
    assert shell_accepts(text, "bash")
    settings = " ".join(f"--set {key}={value}" for key, value in SETTINGS.items())
    for before, after in (
        ("/shared", str(tmp_path)),
        (WANTED, f"digits --ipc 1 --recipe none {settings}"),
        ("--nproc-per-node 8", "--nproc-per-node 2"),
        (":29500", ":0"),
    ):
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "job.sh").write_text(text)

    def submit(only_note=""):
        environment = os.environ | {
            "ONLY_NOTE": only_note,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_NNODES": "1",
            "SLURM_JOB_ID": "7",
            "OMP_NUM_THREADS": "1",
        }
        command = [shutil.which("bash") or "bash", str(tmp_path / "job.sh")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)

    return submit


@pytest.mark.skipif(sys.platform != "linux", reason="a script for Linux")
def test_what_slurm_starts_runs_and_resumes(cluster, tmp_path):
    done = cluster()
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "runs" / "imagenet-1k-ipc10"
    assert ncfm.load(run).num_classes == 10
    again = cluster(only_note="yes")  # a job that was put back into the queue
    assert again.returncode == 0, again.stdout + again.stderr
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert "--resume" not in first
    assert second == first + " --resume"
    _, _, command = second.partition(" -m ncfm ")
    resumed = warm.run_ranks(2, warm.ncfm, *command.split(), NCFM_CACHE=str(tmp_path / "ncfm"))
    assert resumed.code == 0, resumed.err
    assert "Distilled 10 classes" in resumed.out
