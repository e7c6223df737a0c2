"""The published evaluator is called as its own program calls it, from a file whose imports are left out."""

from __future__ import annotations

import pytest
import torch
from benchmarks.published_evaluator import MEAN, normalised, published_accuracies, published_functions
from benchmarks.records import EvaluatorRow
from tools.pages.gap import evaluators_table

from ncfm._utils.checks import InputError
from ncfm.data.image_set import ImageSet, ImageSplit

UTILS = """
import nothing_that_is_installed

AUGMENT_FNS = {}

class ParamDiffAug:
    pass

class TensorDataset(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels
    def __getitem__(self, index):
        return self.images[index], self.labels[index]
    def __len__(self):
        return len(self.images)

def DiffAugment(x, strategy, param):
    return x

def epoch():
    pass

CALLS = []

def evaluate_synset(run, net, images, labels, loader, args):
    seen = torch.cat([net(x).detach() for x, _ in loader])
    CALLS.append((run, images, labels, seen, args))
    return net, 1.0, (run + 1) / 10
"""


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "utils.py"
    path.write_text(UTILS)
    return published_functions(path)


@pytest.fixture
def images():
    pixels = torch.arange(4 * 3 * 8 * 8).remainder(256).to(torch.uint8).view(4, 3, 8, 8)
    split = ImageSplit.of(pixels, torch.tensor([0, 1, 0, 1]), 2)
    return ImageSet("some", split, split, ("a", "b"))


def test_every_student_is_trained_by_the_published_constants(published, images):
    train = torch.full((2, 3, 8, 8), 0.5), torch.tensor([0, 1])
    found = list(published_accuracies(published, train, images, epochs=300, runs=2, seed=0))
    assert found == [0.1, 0.2]
    for run, (number, seen, labels, logits, options) in enumerate(published.CALLS):
        assert number == run
        assert seen[0, :, 0, 0].tolist() == pytest.approx(
            [(0.5 - m) / d for m, d in zip(MEAN, (0.2023, 0.1994, 0.2010), strict=True)]
        )
        assert labels.tolist() == [0, 1]
        assert logits.shape == (4, 2)
        assert (options.lr_net, options.batch_train, options.epoch_eval_train, options.dsa) == (0.01, 256, 300, True)
        assert options.dsa_strategy == "color_crop_cutout_flip_scale_rotate"
    assert not torch.equal(published.CALLS[0][3], published.CALLS[1][3])  # each from weights of its own


def test_images_of_the_published_mean_are_0():
    assert normalised(torch.tensor(MEAN).view(1, 3, 1, 1).expand(2, 3, 4, 4)).abs().max() == 0


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "utils.py"
    path.write_text("def epoch():\n    pass\n")
    with pytest.raises(InputError, match="has no evaluate_synset, DiffAugment"):
        published_functions(path)


def test_the_table_has_the_last_row_of_each_evaluator():
    def row(evaluator, mean, date):
        given = {"evaluator": evaluator, "set": "cifar10-ipc10", "epochs": "300", "num_runs": "3", "date": date}
        return given | {
            "accuracy_mean": str(mean),
            "accuracy_std": "0.002",
            "accuracy_low": "0.5",
            "accuracy_high": "0.7",
        }

    rows = [
        row("dsa-2021", 0.5, "2026-01-01"),
        row("published functions", 0.596, "2026-01-02"),
        row("dsa-2021", 0.594, "2026-01-02"),
    ]
    *_, own, published = evaluators_table(rows).splitlines()
    assert own == "| cifar10-ipc10 | dsa-2021 | 59.4 ± 0.2 | 50.0 to 70.0 | 3 | 300 |"
    assert published == "| cifar10-ipc10 | published functions | 59.6 ± 0.2 | 50.0 to 70.0 | 3 | 300 |"
    assert set(rows[0]) <= set(EvaluatorRow.__dataclass_fields__)
