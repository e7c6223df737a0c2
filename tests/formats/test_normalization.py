"""Floats of other programs: named normalisations are undone exactly, and nothing ambiguous is guessed."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import ncfm
from ncfm._utils.checks import InputError
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalize
from ncfm.data.whitening import zca
from ncfm.formats.normalization import NORMALIZATIONS, SMALL_EXCESS, to_pixels
from ncfm.formats.reading import read_external
from strategies import rng
from tiny import SETTINGS, few


@pytest.fixture(scope="module")
def real():
    """A small dataset in colour."""
    pixels = torch.randint(0, 256, (80, 3, 8, 8), dtype=torch.uint8, generator=rng(0))
    split = ImageSplit.of(pixels, torch.arange(80) % 4, 4)
    return ImageSet("colours", split, split, ("a", "b", "c", "d"))


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(8, 3, 8, 8, generator=rng(1))


def normalised(pixels, statistics):
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in statistics[:2])
    return (pixels - mean) / std


def error_of(found, pixels):
    return float((found.images - pixels).abs().mean())


# --- what needs no name -------------------------------------------------------------------------------------


def test_floats_in_0_1_and_uint8_are_pixels(real, pixels):
    assert to_pixels(pixels, real, where="x") == (pixels, "", None)
    levels = (pixels * 255).round().byte()
    found = to_pixels(levels, real, where="x")
    assert torch.equal(found.images, to_float(levels))
    assert found.note == ""


def test_a_single_small_excess_is_clamped_and_changes_nothing_else(real, pixels):
    # One pixel at 1.01 had the whole set denormalised: a mean error of 0.21.
    stored = pixels.clone()
    stored[3, 1, 2, 2] = 1.01
    found = to_pixels(stored, real, where="x")
    assert torch.equal(found.images, stored.clamp(0, 1))
    assert error_of(found, pixels) < 1e-3
    assert found.note == "x: 0.065 % of the values lie outside [0, 1] by at most 0.01; they are clamped."


def test_levels_up_to_255_are_divided_and_reported(real, pixels):
    found = to_pixels((pixels * 255).round(), real, where="x")
    assert error_of(found, pixels) < 1 / 255
    assert found.note.startswith("x: values up to 255 are taken as levels of 255")


# --- what has to be named -----------------------------------------------------------------------------------

MEAN_ONLY = Statistics((0.4914, 0.4822, 0.4465), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        (lambda x: 1.4 * x - 0.2, "none"),  # optimised pixels in [-0.2, 1.2]
        (lambda x: normalised(x, NORMALIZATIONS["half"]), "half"),
        (lambda x: normalised(x, NORMALIZATIONS["half"]), "0.5,0.5"),
        (lambda x: normalised(x, MEAN_ONLY), "0.4914,0.4822,0.4465,1,1,1"),
        (lambda x: normalised(x, NORMALIZATIONS["cifar10"]), "cifar10"),
        (lambda x: normalised(x, NORMALIZATIONS["cifar100"]), "cifar100"),
        (lambda x: normalised(x, NORMALIZATIONS["imagenet"]), "imagenet"),
        (lambda x: normalised(x, NORMALIZATIONS["svhn"]), "svhn"),
    ],
)
def test_a_normalisation_is_undone_only_by_its_name(real, pixels, stored, name):
    images = stored(pixels)
    message = r"expected floats in \[0, 1\], got .* --normalized-by cifar10, .*, data .* zca"
    with pytest.raises(InputError, match=message):
        to_pixels(images, real, where="x")
    found = to_pixels(images, real, normalized_by=name, where="x")
    expected = images if name == "none" else pixels
    torch.testing.assert_close(found.images, expected, atol=2e-6, rtol=0)
    assert found.shown is None


def test_the_data_s_own_statistics(real, pixels):
    found = to_pixels(normalize(pixels, real.statistics), real, normalized_by="data", where="x")
    torch.testing.assert_close(found.images, pixels, atol=2e-6, rtol=0)


def test_what_a_program_left_outside_is_kept_and_reported(real, pixels):
    outside = 2 * pixels - 0.5
    found = to_pixels(normalised(outside, NORMALIZATIONS["cifar10"]), real, normalized_by="cifar10", where="x")
    torch.testing.assert_close(found.images, outside, atol=2e-6, rtol=0)
    share = 100 * float(((outside < 0) | (outside > 1)).double().mean())
    assert f"{share:.2g} % of the values lie outside [0, 1], from -0.50 to 1.50, and are kept" in found.note


def test_pixels_that_the_user_has_denormalised_are_not_denormalised_again(real, pixels):
    # 13 % of the values of a published set of trajectory matching lie outside [0, 1].
    outside = 1.6 * pixels - 0.3
    found = to_pixels(outside, real, normalized_by="none", where="x")
    assert torch.equal(found.images, outside)


@pytest.mark.parametrize("excess", [SMALL_EXCESS + 0.01, 0.2])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_larger_excess_is_refused(real, pixels, excess, side):
    stored = pixels.clone()
    stored[0, 0, 0, 0] = -excess if side < 0 else 1 + excess
    with pytest.raises(InputError, match="or none if they are pixels"):
        to_pixels(stored, real, where="x")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar", "Unknown normalisation 'cifar'. Did you mean 'cifar10'"),
        ("0.5", "expected a mean and a standard deviation above 0, or 3 of each, got 0.5"),
        ("0.5,0", "expected a mean and a standard deviation above 0"),
        ("0.5,inf", "expected a mean and a standard deviation above 0"),
        ("0.1,0.2,0.3", "expected a mean and a standard deviation above 0"),
        ("0.1,0.2,1,1", "expected a mean and a standard deviation above 0"),
    ],
)
def test_names_that_cannot_be_are_refused(real, pixels, name, message):
    with pytest.raises(InputError, match=message):
        to_pixels(pixels, real, normalized_by=name, where="x")


def test_names_that_do_not_fit_are_refused(real, pixels, digits):
    with pytest.raises(InputError, match="uint8 images are pixels"):
        to_pixels(pixels.byte(), real, normalized_by="cifar10", where="x")
    with pytest.raises(InputError, match="cifar10 has 3 channels, digits has 1"):
        to_pixels(pixels[:, :1], digits, normalized_by="cifar10", where="x")
    with pytest.raises(InputError, match="not finite"):
        to_pixels(pixels / 0, real, where="x")


# --- ZCA ----------------------------------------------------------------------------------------------------


def test_a_published_zca_map_is_undone_and_shown_again(real, pixels):
    # The map by its formula, of pixels in [0, 1] without normalisation: U (L + 0.1)^(-1/2) U' (x - mean).
    train = to_float(real.train.images).flatten(1).double()
    mean, covariance = train.mean(0), torch.cov(train.T, correction=0)
    variances, directions = torch.linalg.eigh(covariance)
    matrix = directions @ torch.diag((variances + 0.1).rsqrt()) @ directions.T
    whitened = ((pixels.flatten(1).double() - mean) @ matrix).view(pixels.shape).float()
    found = to_pixels(whitened, real, normalized_by="zca", where="x")
    torch.testing.assert_close(found.images, pixels, atol=1e-4, rtol=0)
    torch.testing.assert_close(normalize(found.images, found.shown), whitened, atol=1e-4, rtol=0)
    assert "the ZCA map of colours is undone" in found.note


def test_students_of_a_zca_set_are_shown_whitened_images(digits, monkeypatch):
    images = few(digits)
    plain = Statistics((0.0,), (1.0,))
    shown = plain._replace(whitening=zca(images.train.images, plain))
    train = images.train.labelled()
    whitened = LabelledImages(normalize(train.images, shown), train.labels)
    seen = []
    from ncfm.workflows import evaluate as workflow

    original = workflow.evaluate_images

    def spy(given, real, *arguments, **options):
        seen.append((given, real.statistics))
        return original(given, real, *arguments, **options)

    monkeypatch.setattr(workflow, "evaluate_images", spy)
    with pytest.warns(UserWarning, match="ZCA map of few digits is undone"):
        ncfm.evaluate(whitened, images, settings=SETTINGS, normalized_by="zca")
    ((given, statistics),) = seen
    torch.testing.assert_close(normalize(given.images, statistics), whitened.images, atol=1e-3, rtol=0)
    with pytest.raises(InputError, match=r"evaluate\.labels=teacher"):
        ncfm.evaluate(whitened, images, settings=SETTINGS | {"evaluate.labels": "teacher"}, normalized_by="zca")


# --- files and commands -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default:.* is undone")  # shown on standard error by the command
def test_a_file_needs_the_name_and_the_row_records_it(digits, ncfm_, tmp_path):
    images = few(digits)
    stored = images.train.labelled()
    torch.save((normalize(stored.images, images.statistics) / 2, stored.labels), tmp_path / "set.pt")
    std = images.statistics.std[0]
    by = f"{images.statistics.mean[0]},{2 * std}"
    found = read_external(tmp_path / "set.pt", images, normalized_by=by)
    torch.testing.assert_close(found.images.images, stored.images, atol=1e-5, rtol=0)
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    command = ["evaluate", tmp_path / "set.pt", "--on", "digits", "--quiet", *settings]
    refused = ncfm_(*command)
    assert refused.code == 2
    assert "--normalized-by" in refused.err
    done = ncfm_(*command, "--normalized-by", by, "--results", tmp_path / "rows.csv")
    assert done.code == 0, done.err
    assert "is undone" in " ".join(done.err.split())
    assert f"set.pt,normalized_by={by}" in (tmp_path / "rows.csv").read_text()


def test_only_external_floats_have_a_normalisation(digits, tmp_path):
    images = few(digits)
    made = ncfm.distill(images, ipc=1, recipe="none", settings=SETTINGS).synthetic
    with pytest.raises(InputError, match="leave out normalized_by"):
        ncfm.evaluate(made, images, normalized_by="half")
    ncfm.export(made, tmp_path / "png", to="png")
    with pytest.raises(InputError, match="image files are pixels"):
        ncfm.evaluate(tmp_path / "png", images, normalized_by="half")


def test_other_statistics_belong_to_a_copy(real):
    other = Statistics((0.0,) * 3, (1.0,) * 3)
    before = real.statistics
    assert real.with_statistics(other).statistics == other
    assert real.statistics == before
    assert dataclasses.replace(real).statistics == before
