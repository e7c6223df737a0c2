"""Options objects: their limits hold in Python as in a configuration, and their fields are described."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Literal

import pydantic
import pytest

from ncfm._utils.checks import NcfmError
from ncfm._utils.compute import Compute
from ncfm._utils.options import Bounds, Count, Fraction, NonNegative, Options, Positive, WholeNumber, descriptions
from ncfm.distillation.budget import Budget
from ncfm.distillation.options import Experts, Extraction, Matching, Trajectories
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import Start

ALL = (Budget, Compute, Experts, Extraction, Formation, Matching, Start, Trajectories)


@dataclasses.dataclass(frozen=True)
class Sample(Options):
    count: Count = 1
    """How many."""
    whole: WholeNumber = 0
    positive: Positive = 1.0
    non_negative: NonNegative | None = None
    share: Fraction = 0.5
    kind: Literal["a", "b"] = "a"
    """Which one;
    of two."""
    free: str = "anything"


@pydantic.dataclasses.dataclass(frozen=True)
class Section(Sample):
    own: Annotated[int, Bounds(gt=1)] = 2
    """Of the section."""


WRONG = {
    "count": (0, "at least 1"),
    "whole": (-1, "at least 0"),
    "positive": (0.0, "above 0"),
    "non_negative": (-1e-9, "at least 0"),
    "share": (1.0001, "at most 1"),
    "kind": ("c", "Unknown kind 'c'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_outside_its_limits_is_refused_by_name(name):
    value, message = WRONG[name]
    with pytest.raises(NcfmError, match=f"{name if name != 'kind' else ''}.*{message}"):
        Sample(**{name: value})
    with pytest.raises(pydantic.ValidationError) as found:
        Section(**{name: value})
    assert [error["loc"] for error in found.value.errors()] == [(name,)]


@pytest.mark.parametrize("name", ["count", "whole", "positive", "non_negative", "share"])
def test_nan_is_within_no_limits(name):
    with pytest.raises(NcfmError, match=name):
        Sample(**{name: math.nan})


def test_limits_themselves_are_allowed():
    made = Sample(count=1, whole=0, positive=1e-300, non_negative=0.0, share=1.0, kind="b")
    assert (made.share, made.kind, Sample(share=0.0).share, Sample(non_negative=None).non_negative) == (1, "b", 0, None)


def test_all_errors_of_a_section_are_found_at_once():
    with pytest.raises(pydantic.ValidationError) as found:
        Section(own=1, **{name: value for name, (value, _) in WRONG.items()})
    assert {error["loc"][0] for error in found.value.errors()} == {*WRONG, "own"}


def test_options_out_of_a_section():
    section = Section(count=3, share=0.25, own=7)
    assert Sample.of(section) == Sample(count=3, share=0.25)
    assert type(Sample.of(section)) is Sample


def test_descriptions_are_those_under_the_fields_of_a_class_and_its_bases():
    assert descriptions(Sample) == {"count": "How many.", "kind": "Which one;\nof two."}
    assert descriptions(Section) == descriptions(Sample) | {"own": "Of the section."}
    assert descriptions(Budget)["image_lr"] == "Learning rate of pixels in [0, 1]."
    assert "iterations" not in descriptions(Budget)  # has none


@pytest.mark.parametrize("options", ALL)
def test_options_are_made_without_arguments_and_never_change(options):
    made = options()
    assert made == options()
    field = dataclasses.fields(options)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, field, None)
