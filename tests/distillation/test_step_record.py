"""The measurements of an iteration, put together from those of parts of the classes."""

import torch

from ncfm.distillation.step_record import StepRecord, total


def test_the_shares_of_parts_are_added():
    first = StepRecord(torch.tensor(1.0), torch.tensor(0.5), amplitude=torch.tensor(0.25))
    second = StepRecord(torch.tensor(2.0), torch.tensor(0.25), amplitude=torch.tensor(0.5))
    assert total([first, second]) == StepRecord(torch.tensor(3.0), torch.tensor(0.75), torch.tensor(0.75))
    assert total([first]) is first
