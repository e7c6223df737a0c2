"""The options of the commands: groups are flattened for Typer, and agree with the functions of `ncfm`."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

import ncfm
from ncfm.cli import _options
from ncfm.cli._options import Output, Setup, flatten_options
from ncfm.cli.main import COMMANDS, app
from ncfm.config.methods import METHODS, ablation_names
from ncfm.evaluation import PROTOCOLS
from ncfm.formats import FORMATS

SOURCES = sorted(Path(_options.__file__).parent.glob("*.py"))


@dataclass(frozen=True, kw_only=True)
class Where:
    """A group with an argument, a required option and one with a default."""

    place: Annotated[str, typer.Argument(help="The place.")]
    floor: Annotated[int, typer.Option("--floor", help="The floor.")]
    door: Annotated[str | None, typer.Option("--door", help="The door.")] = None


def run(command, *arguments):
    small = typer.Typer()
    small.command()(command)
    return CliRunner().invoke(small, list(arguments))


def test_a_group_is_built_from_its_options():
    seen = []

    @flatten_options
    def command(
        where: Where,
        *,
        loud: Annotated[bool, typer.Option("--loud")] = False,
        output: Output,
    ) -> None:
        """Go."""
        seen.append((where, loud, output))

    assert run(command, "home", "--floor", "3", "--loud", "-q").exit_code == 0
    assert seen == [(Where(place="home", floor=3), True, Output(quiet=True))]
    assert run(command, "home").exit_code == 2  # a field without a default is required
    assert run(command, "home", "--floor", "3", "--door", "red").exit_code == 0
    assert seen[-1][0].door == "red"


def test_fields_stand_where_their_group_stood():
    @flatten_options
    def command(first: int, where: Where, last: Annotated[int, typer.Option()] = 7) -> None:
        """Go."""

    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["first", "place", "floor", "door", "last"]
    assert (parameters["door"].default, parameters["last"].default) == (None, 7)
    assert parameters["floor"].default is inspect.Parameter.empty
    assert command.__doc__ == "Go."


def test_a_name_can_stand_once():
    def command(place: str, where: Where) -> None:
        """Go."""

    with pytest.raises(ValueError, match="duplicate parameter name: 'place'"):
        flatten_options(command)


def test_options_that_are_short_for_settings_come_over_the_pairs():
    setup = Setup(set_=["evaluate.runs=2", "seed=4"], device="cpu", seed=3)
    assert setup.arguments(evaluate__runs=5, evaluate__epochs=None) == {
        "settings": {"evaluate.runs": 5, "seed": 4, "machine.device": "cpu"},
        "seed": 3,
        "data_dir": None,
    }


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_no_function_has_more_than_twelve_parameters_or_sixty_lines(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            a = node.args
            assert len([*a.posonlyargs, *a.args, *a.kwonlyargs]) <= 12, node.name
            assert node.end_lineno - node.lineno < 75, node.name  # with the parameters and the docstring


# --- the commands and the functions --------------------------------------------------------------------------

ELSEWHERE = {"report": "write_report", "data": "describe", "demo": "compare"}
FUNCTIONS = {name: getattr(ncfm, ELSEWHERE.get(name, name)) for name in COMMANDS}
# Options that are called differently: settings by name, and what only a command line has.
OTHERWISE = {"as_json", "quiet", "set_", "device", "seed"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_function_share_their_defaults(name):
    options = inspect.signature(COMMANDS[name]).parameters
    arguments = inspect.signature(FUNCTIONS[name]).parameters
    shared = [key for key in options if key in arguments and key not in OTHERWISE]
    assert shared or name == "diagnose"
    for key in shared:
        given, default = options[key].default, arguments[key].default
        if isinstance(default, tuple):
            given = tuple(given.split(",")) if given else default
        if key == "results":  # the command `reproduce` always appends the row
            continue
        assert (given or None) == (default or None) or default is inspect.Parameter.empty, key


def test_the_functions_take_the_same_words():
    common = {"settings", "seed", "data_dir", "reporter"}
    for name in (
        "distill",
        "evaluate",
        "compare",
        "reproduce",
        "score",
        "continual",
        "search",
        "ledger",
        "pretrain",
        "plan",
    ):
        assert common <= set(inspect.signature(FUNCTIONS[name]).parameters), name
    for name in ("compare", "reproduce", "score", "continual", "search", "ledger"):
        assert "results" in inspect.signature(FUNCTIONS[name]).parameters, name


def help_of(command, option):
    """The names that an option's help lists."""
    parameter = next(p for p in get_command(app).commands[command].params if option in p.opts)
    return set(re.findall(r"[\w-]+", parameter.help))


@pytest.mark.parametrize(
    ("command", "option", "names"),
    [
        ("compare", "--methods", METHODS),
        ("compare", "--ablation", ablation_names()),
        ("evaluate", "--protocol", PROTOCOLS),
        ("export", "--to", FORMATS),
    ],
)
def test_names_that_are_written_out_in_a_help_are_all_there(command, option, names):
    assert set(names) <= help_of(command, option)


def test_options_come_in_panels():
    shown = CliRunner().invoke(app, ["evaluate", "--help"]).output
    places = [shown.index(word) for word in ("Options ─", "--against", "Settings ─", "--seed", "Output ─", "--json")]
    assert places == sorted(places)
