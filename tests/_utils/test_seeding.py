"""Random streams: independent by name, the same everywhere, continued after a restore."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest
import torch

from ncfm._utils.seeding import Streams, derive_seed, generator


def slow_derive_seed(text: str) -> int:
    """First 8 bytes of SHA-256, highest bit first, without the last bit."""
    bits = "".join(f"{byte:08b}" for byte in hashlib.sha256(text.encode()).digest()[:8])
    return int(bits[:63], 2)


@pytest.mark.parametrize(
    ("seed", "names", "text"),
    [
        (0, ("batches",), "0\0batches"),
        (7, ("teachers", 3, "training"), "7\0teachers\x003\0training"),
        (1, (), "1"),
    ],
)
def test_seed_is_the_start_of_sha256(seed, names, text):
    assert derive_seed(seed, *names) == slow_derive_seed(text)


def test_seed_has_a_known_value():
    # printf '0\0batches' | sha256sum begins with this word; the seed is its upper 63 bits.
    word = "8b83ff70f81b6b1d"
    assert hashlib.sha256(b"0\0batches").hexdigest().startswith(word)
    assert derive_seed(0, "batches") == int(word, 16) // 2


def test_seed_fits_in_63_bits():
    assert all(0 <= derive_seed(s, "x") < 2**63 for s in range(200))


def test_another_process_draws_the_same_bits():
    code = (
        "import torch; from ncfm._utils.seeding import generator; "
        "print(torch.randint(2**62, (4,), generator=generator(3, 'a', 1)).tolist())"
    )
    # With another PYTHONHASHSEED, Python's own hash of a string would give other seeds.
    environment = os.environ | {"PYTHONHASHSEED": "1234"}
    there = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    here = torch.randint(2**62, (4,), generator=generator(3, "a", 1)).tolist()
    assert there.stdout.strip() == str(here)


def test_streams_of_different_names_and_seeds_differ():
    draws = [
        torch.rand(64, generator=generator(seed, *names))
        for seed in (0, 1)
        for names in (("a",), ("b",), ("a", "b"), ("ab",), ("a", 0))
    ]
    correlations = torch.corrcoef(torch.stack(draws)).fill_diagonal_(0).abs()
    # 45 pairs of 64 independent numbers: |r| has deviation 1/8, so 0.6 is nearly five of them.
    assert float(correlations.max()) < 0.6


def test_drawing_from_one_stream_does_not_move_another():
    alone, together = Streams(5), Streams(5)
    together["augment"].manual_seed(1)
    torch.rand(10, generator=together["augment"])
    assert torch.equal(torch.rand(8, generator=alone["batches"]), torch.rand(8, generator=together["batches"]))


def test_global_state_is_left_alone():
    before = torch.get_rng_state()
    torch.rand(3, generator=Streams(0)["x"])
    assert torch.equal(before, torch.get_rng_state())


def test_restored_streams_continue_exactly():
    streams = Streams(2)
    torch.rand(5, generator=streams["a"])
    torch.randn(3, generator=streams["b"])  # randn keeps half of a pair for the next call
    state = streams.state()
    expected = {name: torch.randn(7, generator=streams[name]) for name in ("a", "b", "new")}

    resumed = Streams(2)
    torch.rand(99, generator=resumed["a"])  # whatever was drawn before the restore does not count
    resumed.load_state(state)
    for name, values in expected.items():
        assert torch.equal(torch.randn(7, generator=resumed[name]), values), name


def test_a_saved_state_does_not_move_with_its_stream():
    streams = Streams(2)
    torch.rand(1, generator=streams["a"])
    state = streams.state()
    copy = {name: value.clone() for name, value in state.items()}
    torch.rand(100, generator=streams["a"])
    assert all(torch.equal(state[name], copy[name]) for name in copy)


def test_a_stream_of_another_device_goes_on_from_a_seed_of_its_state():
    def draws(state):
        streams = Streams(0)
        torch.rand(5, generator=streams["frequencies"])
        with pytest.warns(UserWarning, match="'frequencies' was drawn on another kind of device than cpu"):
            streams.load_state({"frequencies": state})
        return torch.rand(3, generator=streams["frequencies"])

    states = [torch.full((16,), i, dtype=torch.uint8) for i in range(2)]  # of the size of a CUDA state
    assert torch.equal(draws(states[0]), draws(states[0]))
    assert not torch.equal(draws(states[0]), draws(states[1]))


def test_streams_that_a_state_does_not_have_begin_anew():
    streams = Streams(0)
    first = torch.rand(3, generator=streams["a"])
    state = Streams(0)
    torch.rand(1, generator=state["b"])
    streams.load_state(state.state())
    assert torch.equal(torch.rand(3, generator=streams["a"]), first)
