"""Several processes that share one piece of work: forked ranks, and in the slow tests those of torchrun."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import meetings
import unequal_ranks
import warm
from ncfm import NcfmError, load
from ncfm._utils.distributed import ALONE, Ranks, backend_here, joined
from ncfm.data.augment import SiameseAugment
from ncfm.data.class_batches import draw_class_batches
from ncfm.distillation.checkpoint import is_by_class
from strategies import rng
from tiny import DSA, SETTINGS

PER_TEACHER = "a sampler per teacher, halves"  # a case of the benchmark of ranks


@given(st.integers(1, 40), st.integers(1, 40))
def test_shares_are_all_of_it_in_order_and_differ_by_one_at_most(count, total):
    if total < count:
        with pytest.raises(NcfmError, match=rf"{count} ranks cannot share {total} class(es)?; start at most {total}"):
            Ranks(0, count).share(total)
        return
    shares = [range(total)[Ranks(rank, count).share(total)] for rank in range(count)]
    assert [i for share in shares for i in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert sorted(i for rank in range(count) for i in Ranks(rank, count).mine(total)) == list(range(total))


def test_a_process_alone_meets_nobody():
    tensors = [torch.rand(3), torch.rand(2, 2)]
    assert Ranks.here() == ALONE
    assert [a is b for a, b in zip(ALONE.sum(tensors), tensors, strict=True)] == [True, True]
    assert ALONE.gather(tensors[0], 3) is tensors[0]
    assert ALONE.gather_objects("x") == ["x"]
    assert ALONE.main_process_first(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        ALONE.on_main_process(lambda: 1 / 0)


def test_without_torchrun_nobody_is_joined(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as ranks:
        assert ranks == ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as ranks:
        assert ranks == ALONE


def test_a_rank_takes_its_own_gpu_unless_a_certain_one_is_asked_for(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "5")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert Ranks(9, 16).own_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert chosen == [torch.device("cuda", 1)]
    assert Ranks(9, 16).own_device(torch.device("cuda:3")) == torch.device("cuda:3")
    assert Ranks(9, 16).own_device(torch.device("cpu")) == torch.device("cpu")
    assert ALONE.own_device(torch.device("cuda")) == torch.device("cuda")


@pytest.mark.parametrize(
    ("gpus", "ranks", "backend"),
    [(0, "2", "gloo"), (2, "2", "cpu:gloo,cuda:nccl"), (1, "2", "gloo"), (4, None, "cpu:gloo,cuda:nccl")],
)
def test_ranks_that_share_a_gpu_meet_by_gloo(monkeypatch, gpus, ranks, backend):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if ranks is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert backend_here() == backend


def test_the_images_of_some_classes(digits):
    some = digits.train.of_classes(slice(3, 6))
    assert some.counts.tolist() == digits.train.counts[3:6].tolist()
    for i in range(3):
        assert torch.equal(some.of_class(i), digits.train.of_class(3 + i))
    assert some.labels.unique().tolist() == [0, 1, 2]
    assert some.images.data_ptr() == digits.train.of_class(3).data_ptr()  # nothing is copied
    at = draw_class_batches(digits.train, 4, rng(0))[3:6] - int(digits.train.offsets[3])
    assert torch.equal(some.labels[at], torch.arange(3)[:, None].expand(3, 4))


def test_the_draw_of_some_groups_is_that_part_of_the_draw():
    augment, images = SiameseAugment(DSA), torch.rand(5, 2, 3, 8, 8)
    draw = augment.draw(5, 8, rng(0))
    whole = augment.apply(images, draw)
    assert torch.equal(augment.apply(images[1:3], draw.of(slice(1, 3))), whole[1:3])


@pytest.mark.parametrize(
    ("name", "shape", "shared"),
    [
        ("images", (10, 1, 3, 8, 8), True),
        ("images_optimizer.0.exp_avg", (10, 1, 3, 8, 8), True),
        ("images_optimizer.0.step", (), False),
        ("memory.mean", (10, 5), True),
        ("memory.iterations", (), False),
        ("adversary.direction", (10, 5), False),
        ("adversary_optimizer.0.exp_avg", (10, 5), False),
        ("stream.batches", (5056,), False),
    ],
)
def test_what_ranks_share_of_a_state(name, shape, shared):
    assert is_by_class(name, torch.zeros(shape)) == shared


# --- several processes --------------------------------------------------------------------------------------


def test_three_ranks_meet_in_every_way():
    ended = warm.run(meetings.play)
    assert ended.code == 0, ended.err


def test_three_ranks_distil_unequal_classes_like_one():
    ended = warm.run(unequal_ranks.play)
    assert ended.code == 0, ended.err


def test_two_and_four_ranks_come_to_what_one_process_comes_to(tmp_path):
    results = tmp_path / "ranks.csv"
    ended = warm.run(warm.module, "benchmarks.ranks", "--ranks", "2,4", "--iterations", "5", "--results", results)
    assert ended.code == 0, ended.out + ended.err
    with results.open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["case"], row["ranks"], row["iterations"]) for row in rows} == {
        (case, ranks, iterations)
        for case in ("ncfm", "two moves of each player", "BatchNorm", PER_TEACHER, "dsdm (a memory)")
        for ranks in ("2", "4")
        for iterations in ("1", "5")
    }
    assert all(row["same_twice"] == "True" for row in rows)
    for row in rows:
        assert float(row["difference_max"]) < (2e-5 if row["iterations"] == "1" else 2e-3), row
        if row["case"].startswith("dsdm"):  # nothing of it is summed over classes
            assert float(row["difference_max"]) == 0


def forked(number, work, *arguments):
    """Ranks of a server that has imported everything."""
    return warm.run_ranks(number, work, *arguments)


def torchrun(number, work, *arguments):
    """Ranks of torchrun itself, which are new interpreters."""
    command = {warm.ncfm: ("-m", "ncfm"), warm.program: ("-m", "program")}[work]
    if work is warm.program:
        text, *arguments = arguments
        Path("program.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(number), *command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return warm.Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(params=[forked, pytest.param(torchrun, marks=pytest.mark.slow)], ids=lambda launch: launch.__name__)
def launch(request, monkeypatch, tmp_path):
    """A launcher of ranks. `tests/test_examples.py` starts torchrun in every run of the tests."""
    monkeypatch.chdir(tmp_path)
    return request.param


LEAVING = """
import os, torch
from ncfm._utils.distributed import joined

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
with joined() as ranks:
    assert ranks.sum([torch.ones(3)])[0].tolist() == [2.0] * 3
    import torch.distributed.nn.functional  # as a compiler does, and keeps the group as a default
    assert threads() > before
assert threads() == before
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_rank_that_leaves_ends_the_threads_of_the_backend(launch):
    ended = launch(2, warm.program, LEAVING)
    assert ended.code == 0, ended.err


def test_ranks_distil_and_evaluate_with_one_voice(launch, ncfm_):
    options = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    both = launch(2, warm.ncfm, "distill", "digits", "--ipc", "1", "--out", "two", *options)
    assert both.code == 0, both.err
    assert both.out.count("Distilled 10 classes x 1 image") == 1
    assert both.err.count("distilling: done") == 1
    assert {path.name for path in Path("two").iterdir()} >= {
        "synthetic", "images.png", "report.html", "state.safetensors", "metrics.jsonl", "config.json",
    }  # fmt: skip
    alone = ncfm_("distill", "digits", "--ipc", "1", "--out", "one", *options)
    assert alone.code == 0, alone.err
    assert "teachers: done" in alone.err
    assert torch.allclose(load("one").images, load("two").images, atol=1e-4)

    both = launch(2, warm.ncfm, "evaluate", "two", "--json")
    assert both.code == 0, both.err
    one = ncfm_("evaluate", "two", "--json", "--fresh")
    assert one.code == 0, one.err
    assert [line for line in both.out.splitlines() if "seconds" not in line] == [
        line for line in one.out.splitlines() if "seconds" not in line
    ]


def test_what_ranks_cannot_do_is_said(launch):
    ended = launch(2, warm.ncfm, "recipes", "list")
    assert ended.code != 0
    assert "ncfm recipes runs in one process; start it without torchrun" in ended.err
    assert 'File "' not in ended.err.partition("ncfm:")[2].partition("\n")[0]
