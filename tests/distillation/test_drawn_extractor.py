"""The extractor of an iteration: what is drawn, which layers it has, and where it cannot be conditioned on."""

import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm.distillation.drawn_extractor import check_conditioned
from ncfm.distillation.objectives import MeanMatching
from tiny import Frozen, make_step, random_pool


@pytest.mark.parametrize("extraction", [{"blend_high": 0.5}, {"blend_low": 0.3, "blend_high": 0.4}])
def test_the_range_of_blends_reaches_the_pool(make, monkeypatch, extraction):
    played, seen = make(**extraction), []
    monkeypatch.setattr(played.pool, "blended_at", lambda index, beta: seen.append(beta))
    for _ in range(30):
        played.extractor.draw(played.streams["teachers"])
    assert extraction.get("blend_low", 0.0) <= min(seen) < max(seen) <= extraction["blend_high"]


def test_all_layers_are_matched_together(images):
    network = "convnet2w8"
    pool = random_pool(images, network=network)
    played = make_step(images, pool, objective=MeanMatching(), layers="all", player=Frozen)
    record = played()
    assert played.extract.num_features == 2 * pool.blended.num_features
    assert torch.isfinite(record.discrepancy)
    assert float(played.images.gradients[0][0].abs().max()) > 0


def test_a_sampler_of_teachers_needs_teachers_that_change():
    check_conditioned("blended", compile_step=False)
    with pytest.raises(NcfmError, match=r"needs teachers, got teachers\.extractor=random"):
        check_conditioned("random", compile_step=False)
    with pytest.raises(NcfmError, match=r"machine\.compile=step compiles one sampler"):
        check_conditioned("trained", compile_step=True)
