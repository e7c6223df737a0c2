"""A training that is cut and taken up again is the training that was never cut."""

import pytest
import torch

from ncfm.networks import create_network
from ncfm.training import TrainingRecipe, fit
from ncfm.unfinished import Unfinished
from strategies import rng


def train(digits, path, optimizer, stop_after=None, network="convnet1w8-batch"):
    module = create_network(network, channels=1, num_classes=10, image_size=8, seed=0)
    seen = []

    def after(epoch):
        seen.append(epoch)
        if epoch == stop_after:
            raise KeyboardInterrupt

    recipe = TrainingRecipe(epochs=4, optimizer=optimizer, lr=0.01, batch_size=32, schedule="one-cycle", augment="crop")
    images, labels = digits.train.images[:200], digits.train.labels[:200]
    kept = None if path is None else Unfinished(path, seconds=0)
    fit(module, images, labels, recipe=recipe, statistics=digits.statistics, generator=rng(1), after_epoch=after,
        unfinished=kept)  # fmt: skip
    return module.state_dict(), seen


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_cut_and_taken_up_again_equals_never_cut(digits, tmp_path, optimizer):
    path = tmp_path / "unfinished.safetensors"
    whole, _ = train(digits, None, optimizer)
    with pytest.raises(KeyboardInterrupt):
        train(digits, path, optimizer, stop_after=2)
    assert path.is_file()
    resumed, seen = train(digits, path, optimizer)
    assert seen == [3, 4]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not path.exists()


def test_a_damaged_or_foreign_state_counts_as_none(digits, tmp_path):
    path = tmp_path / "unfinished.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(digits, path, "sgd", stop_after=2)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert train(digits, path, "sgd")[1] == [1, 2, 3, 4]
    path.write_bytes(content)
    assert train(digits, path, "sgd", network="convnet1w8")[1] == [1, 2, 3, 4]
