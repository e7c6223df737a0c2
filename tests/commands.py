"""Commands, run in this process as a person types them."""

from __future__ import annotations

import dataclasses
import functools
import sys

import pytest
from typer.main import get_command

from ncfm.cli.main import INTERNAL_ERROR, app, main


@dataclasses.dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


@functools.cache
def built_app():
    """What `app` builds of all commands and options at every call, which takes a tenth of a short command's time."""
    return get_command(app)


@pytest.fixture
def ncfm_(monkeypatch, capfd):
    """Run a command in this process. A traceback, on the screen or out of ``main``, or an internal error fails."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ncfm", *map(str, arguments)])
        monkeypatch.setattr("ncfm.cli.main.app", built_app())
        with pytest.raises(SystemExit) as stopped:
            main()
        done = Done(stopped.value.code or 0, *capfd.readouterr())
        assert "Traceback" not in done.out + done.err
        assert done.code != INTERNAL_ERROR, done.err
        return done

    return run
