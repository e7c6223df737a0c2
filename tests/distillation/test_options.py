"""Options of distribution matching that exclude each other."""

from __future__ import annotations

import pytest

from ncfm._utils.checks import NcfmError
from ncfm.distillation.options import Extraction, Matching


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blend_low": 0.6, "blend_high": 0.5}, r"teachers\.blend_low must be at most teachers\.blend_high, got 0\.6"),
        ({"blend_high": 1.5}, r"blend_high must be at most 1, got 1\.5"),
        ({"extractor": "trained", "blend_high": 0.5}, r"teachers\.blend_high=0\.5 is for teachers\.extractor=blended"),
        ({"first_epoch": 2}, r"teachers\.first_epoch=2 is for teachers\.extractor=checkpoint, and it is blended"),
        ({"extractor": "checkpoint", "first_epoch": 3, "last_epoch": 2}, r"first_epoch must be at most .*got 3 and 2"),
        ({"layers": "first"}, "layers 'first'"),
    ],
)
def test_an_extraction_without_sense_is_refused(settings, message):
    with pytest.raises(NcfmError, match=message):
        Extraction(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_clusters": 3}, r"num_clusters is for distill\.real_batches=clustered"),
        ({"real_batches": "clustered", "real_pool_per_class": 10}, r"leave out distill\.real_pool_per_class"),
        ({"calibration_step": "apart"}, "calibration_step 'apart'"),
    ],
)
def test_batches_and_weights_without_sense_are_refused(settings, message):
    with pytest.raises(NcfmError, match=message):
        Matching(**settings)


def test_checkpoints_may_be_drawn_from_a_range():
    assert Extraction("checkpoint", first_epoch=2, last_epoch=2).last_epoch == 2
    assert Extraction("blended", blend_low=0.2, blend_high=0.2).blend_low == 0.2
