"""Suggestions for names that are not known."""

from __future__ import annotations

import pytest

from ncfm._utils.checks import nearest


@pytest.mark.parametrize("name", ["CIFAR10", "Cifar-10", "cifar1", "cifar10"])
def test_the_nearest_name_is_found_in_any_case(name):
    assert nearest(name, ["digits", "cifar10", "Tiny"]) == " Did you mean 'cifar10'?"
    assert nearest("TINI", ["digits", "Tiny"]) == " Did you mean 'Tiny'?"
    assert nearest("zzz", ["digits"]) == ""
