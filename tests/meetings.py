"""Run by test_distributed.py in a process of its own, since it forks: three ranks meet in every way that there is."""

import pytest
import torch
from benchmarks.ranks import together

from ncfm._utils.checks import NcfmError
from ncfm._utils.distributed import Ranks


def meet():
    ranks = Ranks.here()
    mine = ranks.rank
    assert ranks.count == 3
    assert ranks.is_main == (mine == 0)

    a, b = ranks.sum([torch.full((2, 3), float(mine)), torch.tensor(10**mine)])
    assert torch.equal(a, torch.full((2, 3), 3.0))
    assert b == 111
    assert b.dtype == torch.int64
    assert ranks.sum([]) == []

    rows = torch.arange(14).view(7, 2)  # shared out as 3, 2, 2
    own = rows[ranks.share(7)]
    assert len(own) == (3, 2, 2)[mine]
    assert torch.equal(ranks.gather(own, 7), rows)

    assert ranks.gather_objects({"rank": mine, "text": "é" * mine}) == [{"rank": i, "text": "é" * i} for i in range(3)]

    weights = [torch.full((2,), float(mine)), torch.tensor(mine)]
    ranks.broadcast(weights, source=2)
    assert weights[0].tolist() == [2.0, 2.0]
    assert weights[1] == 2

    done = []
    ranks.on_main_process(lambda: done.append(mine))
    assert done == ([0] if mine == 0 else [])
    assert ranks.main_process_first(lambda: 5 + mine) == 5 + mine

    failure = (ZeroDivisionError, "division") if mine == 0 else (NcfmError, "first rank has stopped")
    with pytest.raises(failure[0], match=failure[1]):
        ranks.on_main_process(lambda: 1 / 0)
    return "met"


def play():
    assert together(3, meet) == "met"
