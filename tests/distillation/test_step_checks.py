"""What is refused together."""

from __future__ import annotations

import pytest

from ncfm._utils.checks import NcfmError
from ncfm._utils.compute import Compute
from ncfm.discrepancy.frequencies import GaussianFrequencies
from ncfm.distillation.objectives import CovarianceMatching, FisherMatching
from ncfm.distillation.step_checks import check_together
from tiny import WIDTH


def test_parts_are_refused_where_they_cannot_be(make):
    for options in ({"compile_step": True}, {"objective": CovarianceMatching(10, WIDTH)}):
        with pytest.raises(NcfmError, match=r"distill\.classes_per_step is for one process"):
            make(classes_per_step=2, **options)
    with pytest.raises(NcfmError, match="classes_per_step must be at least"):
        make(classes_per_step=0)


def test_a_coupling_objective_needs_all_classes_in_one_step():
    coupling = FisherMatching(GaussianFrequencies(WIDTH, 8))
    check_together(coupling, 1, Compute(), is_equal=True)
    with pytest.raises(NcfmError, match="compares each class with the others"):
        check_together(coupling, 2, Compute(), is_equal=True)
