"""Steps on a few digits, and recorded experts."""

import pytest

from few_experts import recorder
from tiny import make_step


@pytest.fixture
def make(images, pool):
    return lambda **options: make_step(images, pool, **options)


@pytest.fixture(scope="module")
def experts(images, tmp_path_factory):
    return recorder(images, tmp_path_factory.mktemp("experts"))()
