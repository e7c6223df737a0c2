"""The steps of students of the whole training split."""

from __future__ import annotations

import pytest

from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.selections import TrainingSplit
from ncfm.synthetic.formation import Formation
from ncfm.training.fit import steps_per_epoch
from tiny import changed


@pytest.mark.parametrize("ipc", [20, (1, 20, 20, 20, 20, 20, 20, 20, 20, 39)])
@pytest.mark.parametrize(
    "settings",
    [
        {"distill.factor": 1},
        {"distill.factor": 2},
        {"distill.factor": 3, "distill.mode": "multi"},
        {"distill.factor": 2, "distill.mode": "bounded", "distill.bound": 50},
    ],
)
def test_the_whole_split_takes_as_many_steps_as_the_decoded_images(digits, settings, ipc):
    config, protocol = make_config(nest(settings)), changed(epochs=100, batch_size=64)
    counts = (ipc,) * 10 if isinstance(ipc, int) else ipc
    decoded = sum(Formation.of(config.distill).decoded_ipc(count) for count in counts)
    full = TrainingSplit().protocol(protocol, digits, config, ipc)
    wanted = 100 * steps_per_epoch(decoded, protocol.recipe)
    made = full.recipe.epochs * steps_per_epoch(len(digits.train), full.recipe)
    assert 0 <= made - wanted < steps_per_epoch(len(digits.train), full.recipe)
