"""Calling code from outside, and names that only a set records."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ncfm._utils.checks import NcfmError
from ncfm._utils.outside import (
    blame,
    call_with,
    check_given,
    is_outside,
    load_callable,
    named_arguments,
    only_recorded,
)


def called(make, offered=None, **options):
    return call_with(make, offered or {}, options, what="The thing 'x'", section="thing")


def test_a_callable_gets_what_it_names():
    def make(a, *, b=2, **more):
        return a, b, more

    assert called(make, {"a": 1, "c": 9}, d=4) == (1, 2, {"d": 4})
    assert called(dict, {"a": 1}, d=4) == {"d": 4}  # a built-in without a signature
    assert named_arguments(make) == {"a", "b"}
    assert named_arguments(lambda *a, **b: None) == frozenset()


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda a: a, {"a": 3}, r"thing\.options\.a is given already"),
        (lambda a: a, {"b": 3}, r"The thing 'x' cannot be made: .*'b'.*thing\.options\.NAME"),
        (lambda b: b, {}, r"missing a required argument: 'b'.*It may name a;"),
    ],
)
def test_arguments_that_do_not_fit_are_told(make, options, message):
    with pytest.raises(NcfmError, match=message):
        called(make, {"a": 1}, **options)


def test_errors_of_the_callable_are_its_own():
    def make():
        raise TypeError("inside")

    with pytest.raises(TypeError, match="inside"):
        called(make)


def test_a_recorded_name_is_the_option_that_gives_it():
    name = only_recorded("teachers.network", "mine:make")
    assert name == "teachers.network=mine:make"
    assert not is_outside(name)
    with pytest.raises(NcfmError, match=r"'mine:make'.*only if you name it yourself: --set teachers.network=mine:make"):
        check_given(name, "network")
    for fine in ("mine:make", "convnet3", "timm:resnet18", "a=b"):
        check_given(fine, "network")


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of the user's in the current folder."""
    (tmp_path / "blamed.py").write_text("def late():\n    raise ZeroDivisionError('late')\n")
    monkeypatch.chdir(tmp_path)
    yield "blamed:late"
    sys.modules.pop("blamed", None)


def test_code_that_fails_when_it_is_called_is_blamed(own_module):
    late = load_callable(own_module, "network")
    with pytest.raises(ZeroDivisionError) as caught:
        late()
    assert blame(caught.value) == "The network 'blamed:late' failed in blamed.py, line 2: ZeroDivisionError: late"
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    assert blame(caught.value) is None


def test_a_module_that_cannot_be_imported_is_named(own_module):
    Path("blamed.py").write_text("def late(:\n")
    with pytest.raises(NcfmError, match="module of the network 'blamed:late' could not be imported: SyntaxError"):
        load_callable(own_module, "network")
