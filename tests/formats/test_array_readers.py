"""Files of arrays with kinds of numbers that no reader may stumble over."""

import warnings

import numpy as np
import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm.formats.array_files import read_arrays
from ncfm.formats.reading import read_external
from sets import real_images

REAL = real_images(("ant", "bee", "cat"))
SHAPE = (6, *REAL.train.images.shape[1:])
IMAGES = torch.arange(6).div(5).view(6, 1, 1, 1).expand(SHAPE).contiguous()
LABELS = torch.arange(6) % 3


@pytest.mark.parametrize("kind", [np.longdouble, ">f4", ">f8", "f2"])
def test_floats_of_every_width_and_byte_order_are_read(tmp_path, kind):
    np.savez(tmp_path / "set.npz", images=IMAGES.numpy().astype(kind), labels=LABELS.numpy().astype(">i4"))
    found = read_external(tmp_path / "set.npz", REAL).images
    torch.testing.assert_close(found.images, IMAGES, rtol=0, atol=1e-3)
    assert found.labels.tolist() == LABELS.tolist()


def test_objects_next_to_images_and_labels_are_named_and_left_unread(tmp_path):
    meta = np.array([{"a": 1}], object)
    np.savez(tmp_path / "set.npz", images=IMAGES.numpy(), labels=LABELS.numpy(), meta=meta)
    found = read_external(tmp_path / "set.npz", REAL)
    assert torch.equal(found.images.images, IMAGES)
    assert found.notes == (f"{tmp_path / 'set.npz'}: left unread, since they are not numbers: meta.",)


def test_labels_that_are_objects_are_refused_with_the_remedy(tmp_path):
    np.savez(tmp_path / "set.npz", images=IMAGES.numpy(), labels=LABELS.numpy().astype(object))
    with pytest.raises(NcfmError, match=r"'labels' of .*arrays of objects are not loaded\. Save numbers"):
        read_arrays(tmp_path / "set.npz")


def unusual():
    yield "nested", torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "a nested tensor"
    yield "meta", IMAGES.to("meta"), "without values"
    yield "sparse", IMAGES.to_sparse(), "to_dense"
    yield "quantised", torch.quantize_per_tensor(IMAGES, 1 / 255, 0, torch.quint8), "dequantize"
    yield "complex", IMAGES.to(torch.complex64), "their real part"


@pytest.mark.parametrize("part", ["images", "labels", "probabilities"])
def test_tensors_of_unusual_kinds_are_refused_in_a_sentence(tmp_path, part):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch: prototypes
        for name, tensor, remedy in unusual():
            content = {"images": IMAGES, "labels": LABELS, "probabilities": torch.eye(3).repeat(2, 1), part: tensor}
            torch.save(content, tmp_path / f"{name}.pt")
            with pytest.raises(NcfmError, match=rf"{name}\.pt: {part}: expected a dense tensor .*{remedy}"):
                read_external(tmp_path / f"{name}.pt", REAL)


def test_a_class_that_is_not_loaded_is_named_without_advice_to_load_it(tmp_path):
    torch.save({"images": IMAGES.numpy(), "labels": LABELS}, tmp_path / "set.pt")
    with pytest.raises(NcfmError, match=r"it holds objects of numpy\S*_reconstruct\. .*torch\.from_numpy") as told:
        read_arrays(tmp_path / "set.pt")
    assert "weights_only" not in str(told.value)
