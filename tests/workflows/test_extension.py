"""The set that a run extends: external sets as well as those of ncfm, and how they were read is reported."""

import pytest
import torch

import ncfm
from ncfm._utils.checks import InputError
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.data.normalization import normalize
from ncfm.formats import export
from ncfm.synthetic.formation import Formation
from ncfm.workflows.extension import check_earlier, read_earlier
from sets import with_soft_labels
from tiny import SETTINGS

LABELS = torch.arange(10).repeat_interleave(2)


@pytest.fixture(scope="module")
def images():
    return torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def settings(**options):
    return make_config(nest({f"distill.{name}": value for name, value in options.items()})).distill


def test_nothing_to_extend(digits):
    assert read_earlier(settings(), digits) is None
    with pytest.raises(InputError, match="are for an external set; leave them out"):
        read_earlier(settings(extend_factor=2), digits)


def test_an_export_is_the_set_itself(digits, tmp_path):
    chosen = with_soft_labels(digits)
    place = export(chosen, tmp_path / "set.pt", to="pt", stored=True).path
    found = read_earlier(settings(extend=str(place)), digits)
    assert torch.equal(found.images, chosen.images)
    assert found.formation == chosen.formation
    assert found.class_names == chosen.class_names


def test_mosaics_of_another_program(digits, images, tmp_path):
    torch.save((images, LABELS), tmp_path / "set.pt")
    given = {"extend": str(tmp_path / "set.pt")}
    assert read_earlier(settings(**given), digits).formation == Formation(1)
    assert read_earlier(settings(**given, extend_factor=2), digits).formation == Formation(2)
    check_earlier(settings(**given, extend_factor=2), digits, ipc=2)
    with pytest.raises(InputError, match=r"has factor 1, this run 2; give distill\.factor=1"):
        check_earlier(settings(**given), digits, ipc=2)
    with pytest.raises(InputError, match="more than the requested 1"):
        check_earlier(settings(**given, extend_factor=2), digits, ipc=1)


def test_a_run_from_a_normalised_set(digits, images, tmp_path):
    outside = images.clone()
    outside[0, 0, 0, 0], outside[1, 0, 0, 1] = -0.25, 1.5
    torch.save((normalize(outside, digits.statistics), LABELS), tmp_path / "set.pt")
    given = {"extend": str(tmp_path / "set.pt"), "factor": 1, "iterations": 0}
    options = SETTINGS | {f"distill.{name}": value for name, value in given.items()}
    with pytest.raises(InputError, match="--normalized-by"):
        ncfm.distill("digits", ipc=3, recipe="none", settings=options)
    options |= {"distill.extend_normalized_by": "data"}
    clamped = r"0\.2 % of the values lie outside \[0, 1\]; they are clamped for the start"
    with (
        pytest.warns(UserWarning, match="the normalisation of data is undone"),
        pytest.warns(UserWarning, match=clamped),
    ):
        grown = ncfm.distill("digits", ipc=3, recipe="none", settings=options).synthetic
    expected = outside.clamp(0, 1).unflatten(0, (10, 2))
    torch.testing.assert_close(grown.images[:, :2], expected, atol=1e-5, rtol=0)
    assert "distill.extend=set.pt,distill.extend_normalized_by=data" in grown.facts["variant"]


@pytest.mark.filterwarnings("default:.*the normalisation of 0.5,0.25 is undone")
def test_extending_on_the_command_line(ncfm_, images, tmp_path):
    torch.save((images * 4 - 2, LABELS), tmp_path / "set.pt")
    chosen = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    command = ("distill", "digits", "--ipc", 2, "--recipe", "none", "--extend", tmp_path / "set.pt", *chosen)
    more = ("--set", "distill.factor=1", "--set", "distill.iterations=0", "--out", tmp_path / "run")
    done = ncfm_(*command, *more)
    assert done.code == 2
    assert "Name their normalisation" in done.err
    done = ncfm_(*command, *more, "--normalized-by", "0.5,0.25")
    assert done.code == 0, done.err
    assert done.err.count("the normalisation of 0.5,0.25 is undone") == 1
    torch.testing.assert_close(ncfm.load(tmp_path / "run").images.flatten(0, 1), images, atol=1e-6, rtol=0)
