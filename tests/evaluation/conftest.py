"""Students of a few digits."""

import pytest

from ncfm.evaluation import evaluate
from tiny import NETWORK, PROTOCOL, grouped


@pytest.fixture
def judge(images):
    def evaluate_(train=None, test=None, **options):
        train = images.train.labelled() if train is None else train
        options = {"protocol": PROTOCOL, "network": NETWORK} | options
        return evaluate(
            train,
            images.test if test is None else test,
            num_classes=10,
            statistics=images.statistics,
            **grouped("compute", **options),
        )

    return evaluate_
