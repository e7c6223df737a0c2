"""What a launcher of several processes, such as torchrun, says in the environment.

Nothing here imports PyTorch: the command line asks before it needs it.
"""

from __future__ import annotations

import os

from ncfm._utils.checks import InputError

SIZE, RANK = "WORLD_SIZE", "RANK"
REMEDY = f"start the command with torchrun, or unset {SIZE} to run alone"


def world_size() -> int:
    """How many processes share the work: 1 without a launcher.

    Raises:
        InputError: if the environment says it, or what goes with it, wrongly.
    """
    size = _number(SIZE, 1, None, 1)
    if size > 1:
        _number(RANK, 0, size - 1)
        _number("MASTER_PORT", 1, 65535)
        if not os.environ.get("MASTER_ADDR"):
            raise InputError(f"{SIZE}={size}, but MASTER_ADDR, the address of the first rank, is not set; {REMEDY}.")
    return size


def local_rank(default: int) -> int:
    """The number of this process among those on its machine.

    Raises:
        InputError: if the environment says it wrongly.
    """
    return _number("LOCAL_RANK", 0, None, default)


def local_world_size() -> int:
    """How many processes there are on this machine: 1 without a launcher.

    Raises:
        InputError: if the environment says it wrongly.
    """
    return _number("LOCAL_WORLD_SIZE", 1, None, 1)


def _number(name: str, low: int, high: int | None, default: int | None = None) -> int:
    """A whole number of the environment."""
    text = os.environ.get(name, "").strip()
    if not text:
        if default is None:
            raise InputError(f"{SIZE} is {os.environ[SIZE]}, but {name} is not set; {REMEDY}.")
        return default
    number = int(text) if text.lstrip("+-").isdecimal() else low - 1
    if number < low or (high is not None and number > high):
        limits = f"from {low}" + (f" to {high}" if high is not None else "")
        raise InputError(f"Expected {name} to be a whole number {limits}, got {text!r}; {REMEDY}.")
    return number
