"""What the environment says of other processes: right, or one sentence with the remedy."""

import pytest

from ncfm._utils.checks import InputError
from ncfm._utils.launch import local_rank, world_size

RIGHT = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch):
    def set_all(values):
        for name in (*RIGHT, "LOCAL_RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(("values", "size"), [({}, 1), ({"WORLD_SIZE": ""}, 1), ({"WORLD_SIZE": "1"}, 1), (RIGHT, 2)])
def test_the_number_of_processes(environment, values, size):
    environment(values)
    assert world_size() == size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"WORLD_SIZE": "abc"}, "Expected WORLD_SIZE to be a whole number from 1, got 'abc'"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE to be a whole number from 1, got '0'"),
        ({"WORLD_SIZE": "2.5"}, "got '2.5'"),
        ({"RANK": ""}, "WORLD_SIZE is 2, but RANK is not set"),
        ({"RANK": "2"}, "Expected RANK to be a whole number from 0 to 1, got '2'"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT to be a whole number from 1 to 65535, got 'http'"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR, the address of the first rank, is not set"),
    ],
)
def test_what_no_launcher_sets_is_refused_with_the_remedy(environment, changes, message):
    environment(RIGHT | changes)
    with pytest.raises(InputError, match=f"{message}; start the command with torchrun, or unset WORLD_SIZE"):
        world_size()


def test_the_number_of_a_process_on_its_machine(environment):
    environment({})
    assert local_rank(3) == 3
    environment({"LOCAL_RANK": "1"})
    assert local_rank(3) == 1
    environment({"LOCAL_RANK": "gpu"})
    with pytest.raises(InputError, match="LOCAL_RANK to be a whole number from 0, got 'gpu'"):
        local_rank(3)
