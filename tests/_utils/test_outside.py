"""Calling code from outside, and names that only a set records."""

from __future__ import annotations

import pytest

from ncfm._utils.checks import NcfmError
from ncfm._utils.outside import call_with, check_given, is_outside, named_arguments, only_recorded


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
