"""Commands, run in this process as a person types them."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from ncfm.cli.main import INTERNAL_ERROR, main


@dataclasses.dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def ncfm_(monkeypatch, capfd):
    """Run a command in this process. A traceback, on the screen or out of ``main``, or an internal error fails."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ncfm", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = Done(stopped.value.code or 0, *capfd.readouterr())
        assert "Traceback" not in done.out + done.err
        assert done.code != INTERNAL_ERROR, done.err
        return done

    return run
