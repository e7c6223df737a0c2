"""Values of files: those of the right type, and nothing for others."""

import math

import pytest

from ncfm.report.fields import number, text


@pytest.mark.parametrize("value", [None, "3", True, [1], {}])
def test_what_is_no_number_is_nan(value):
    assert math.isnan(number(value))


def test_numbers_and_texts_are_returned():
    assert (number(3), number(0.5), text("a")) == (3.0, 0.5, "a")
    assert text(3) is text(None) is None
