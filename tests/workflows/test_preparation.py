"""What the data decide is checked before anything is trained, and absurd numbers are refused at once."""

import pytest
import torch

import ncfm
from ncfm._utils.checks import InputError
from ncfm.config.build import check_soft_labels
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.evaluation.protocols import PROTOCOLS
from ncfm.workflows.preparation import prepare


def test_images_that_no_network_can_hold_are_refused():
    split = ImageSplit.of(torch.zeros(2, 1, 1030, 1030, dtype=torch.uint8), torch.arange(2), 2)
    with pytest.raises(InputError, match=r"at most 1024 px, got 1030: .*--set data.image_size=128"):
        prepare(ImageSet("scans", split, split, ("a", "b")), make_config(), None)


def test_more_classes_of_a_soft_label_than_there_are_are_refused_before_training():
    soft = make_config(nest({"labels.kind": "soft", "labels.top_k": 11}))
    with pytest.raises(InputError, match=r"labels.top_k must lie in 1..10 for 10 classes, got 11; leave it out"):
        check_soft_labels(soft, 10)
    check_soft_labels(soft, 11)
    check_soft_labels(make_config(nest({"labels.top_k": 11})), 10)  # no soft labels are made


@pytest.mark.parametrize("setting", ["evaluate.runs", "machine.threads", "distill.real_batch_per_class"])
def test_numbers_that_no_machine_can_use_are_refused(setting):
    with pytest.raises(InputError, match=rf"{setting}: .*less than or equal to \d+, got 1000000000"):
        make_config(nest({setting: 10**9}))


def test_a_billion_students_and_seeds_are_refused_in_python_too(digits):
    from dataclasses import replace

    from ncfm.evaluation import evaluate

    many = replace(PROTOCOLS["quick"], num_runs=10**9)
    with pytest.raises(InputError, match="at most 10,000 students, got 1,000,000,000"):
        evaluate(digits.test.labelled(), digits.test, num_classes=10, statistics=digits.statistics, protocol=many)
    with pytest.raises(InputError, match="at most 1000 seeds, got 1,000,000,000"):
        ncfm.compare(digits, ipc=1, seeds=10**9)
