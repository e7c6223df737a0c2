"""Ranks on a GPU: NCCL with one rank, and two ranks that share a GPU and meet by Gloo.

NCCL refuses two ranks on one GPU. What it does between GPUs is therefore not tested on a machine with one: with a
single rank every message of a run goes through it, and comes back as it was.
"""

import os
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

import ncfm
from ncfm._utils.distributed import Ranks
from on_device import DEVICE, needs_cuda, needs_device
from tiny import SETTINGS

pytestmark = [pytest.mark.cuda, needs_device]

SHORT = SETTINGS | {"machine.device": DEVICE.type, "machine.precision": "float32", "machine.tf32": False}


@needs_cuda
def test_every_message_goes_through_nccl(tmp_path, monkeypatch):
    monkeypatch.setattr(Ranks, "is_single", property(lambda self: False))  # a group of one is not passed over
    dist.init_process_group("cpu:gloo,cuda:nccl", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        ranks = Ranks.here()
        tensors = [torch.arange(6.0, device=DEVICE).view(2, 3), torch.tensor(3, device=DEVICE)]
        assert all(torch.equal(one, other) for one, other in zip(ranks.sum(tensors), tensors, strict=True))
        assert torch.equal(ranks.gather(tensors[0], 2), tensors[0])
        ranks.broadcast(tensors, source=0)
        assert tensors[0].sum() == 15
        assert ranks.gather_objects({"a": 1}) == [{"a": 1}]
        assert float(ranks.sum([torch.tensor(2.0)])[0]) == 2
    finally:
        dist.destroy_process_group()


def test_two_ranks_on_one_gpu_are_one_process(tmp_path):
    settings = [f"--set={key}={value}" for key, value in SHORT.items()]
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ncfm"),
            *("distill", "digits", "--ipc", "1", "--out", str(tmp_path / "two"), *settings),
        ],
        check=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    alone = ncfm.distill("digits", ipc=1, settings=SHORT, out=tmp_path / "one").synthetic
    together = ncfm.load(tmp_path / "two")
    torch.testing.assert_close(together.images, alone.images, atol=2e-2, rtol=0)  # two steps of Adam of 0.01
    assert float((together.images - alone.images).abs().mean()) < 1e-4
