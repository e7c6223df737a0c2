"""Tensors and arrays of every kind: brought into a usual form with the same values, or refused with the remedy."""

import numpy as np
import pytest
import torch

from ncfm._utils.checks import InputError
from ncfm._utils.tensors import as_array, as_tensor, check_dense, dense, is_dense

VALUES = torch.tensor([[0.25, 0.5], [0.75, 1.0]])
PARTS = [torch.ones(2), torch.ones(3)]


class Wrapped(torch.Tensor):
    """A subclass with operators of its own."""

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("tensor", "got"),
    [
        (lambda: torch.nested.nested_tensor(PARTS, layout=torch.jagged), "a nested tensor, .* pad it"),
        (lambda: VALUES.to("meta"), r"without values \(device meta\); give it values"),
        (lambda: VALUES.to_sparse(), r"torch.sparse_coo; give tensor.to_dense\(\)"),
        (lambda: torch.quantize_per_tensor(VALUES, 0.25, 0, torch.quint8), r"quint8\); give tensor.dequantize\(\)"),
        (lambda: VALUES.to(torch.complex64), r"complex64\); give their real part"),
        (lambda: torch.empty(2, dtype=torch.uint4), "torch.uint4; convert it to uint8 or float32"),
        (lambda: torch.zeros(2, dtype=torch.uint8).view(torch.bits8), "torch.bits8; convert it"),
        (lambda: VALUES.as_subclass(Wrapped), "a Wrapped; give a plain torch.Tensor"),
    ],
    ids=["nested", "meta", "sparse", "quantised", "complex", "4 bits", "bits", "subclass"],
)
@pytest.mark.filterwarnings("ignore:.*(quantiz|prototype|nested tensors).*")
def test_tensors_of_unusual_kinds_are_refused_with_the_remedy(tensor, got):
    value = tensor()
    assert not is_dense(value)
    for convert in (dense, as_array, as_tensor, check_dense):
        with pytest.raises(InputError, match=f"^The images: expected a dense tensor of real numbers, got .*{got}"):
            convert(value, "The images")


def test_what_is_no_tensor_is_named():
    with pytest.raises(InputError, match="The labels: expected a tensor, got ndarray of shape"):
        check_dense(np.zeros(2), "The labels")


@pytest.mark.parametrize(
    "tensor",
    [
        VALUES.clone().requires_grad_(),
        VALUES.bfloat16(),
        VALUES.to(torch.float8_e4m3fn),
        torch._neg_view(-VALUES),
        torch.nn.Parameter(VALUES),
    ],
    ids=["gradient", "bfloat16", "float8", "negated", "parameter"],
)
def test_tensors_with_the_same_values_are_taken(tensor):
    found = dense(tensor, "x")
    assert type(found) is torch.Tensor
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.equal(found, VALUES)
    assert as_array(tensor, "x").tolist() == VALUES.tolist()


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (VALUES.numpy().astype(np.longdouble), torch.float64),
        (VALUES.numpy().astype(">f4"), torch.float32),
        (VALUES.numpy()[::-1][::-1].copy()[::-1], torch.float32),
        (np.ma.masked_array(VALUES.numpy(), mask=False), torch.float32),
        (VALUES.tolist(), torch.float64),
    ],
    ids=["long double", "big-endian", "backwards", "an empty mask", "list"],
)
def test_arrays_with_the_same_values_are_taken(array, dtype):
    found = as_tensor(array, "x")
    assert found.dtype == dtype
    assert found.tolist() == np.asarray(array).tolist()


def test_an_array_that_cannot_be_written_is_copied():
    array = VALUES.numpy().copy()
    array.setflags(write=False)
    found = as_tensor(array, "x")  # a warning of PyTorch would be an error here
    found[0, 0] = 7
    assert array[0, 0] == 0.25


@pytest.mark.parametrize("value", [VALUES.numpy().astype(object), np.array(["a"]), np.zeros(2, "datetime64[s]")])
def test_arrays_of_other_things_are_refused(value):
    with pytest.raises(InputError, match=r"The images: expected pixels, got .* of shape .*; give uint8, or floats"):
        as_tensor(value, "The images", "pixels")


def test_masked_values_are_not_lost():
    array = np.ma.masked_array(np.zeros((2, 2)), mask=[[True, False], [False, True]])
    for value in (array, [array, np.zeros((2, 2))]):
        with pytest.raises(InputError, match=r"expected values everywhere, got an array with 2 masked; fill them"):
            as_array(value, "train: image 0")
