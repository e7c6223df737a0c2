"""A stand-in for a GPU: the meta device, on which nothing can be read, and a watch for what would make a host wait."""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
FROM_NUMBERS = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)


class NoWaits(TorchDispatchMode):
    """Raises where an operator reads from the device, waits for a transfer to it, or mixes devices."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        before = {t.device.type for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        after = {t.device.type for t in tree_leaves(result) if isinstance(t, torch.Tensor)}
        if func in COPIES:
            source = (args[1] if func == COPIES[1] else args[0]).device.type
            asynchronous = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
            assert (source, "cpu") != ("meta", *after), f"{func} reads from the device"
            assert source == "meta" or "meta" not in after or asynchronous, f"{func} waits for a transfer"
        else:
            assert len(before) < 2, f"{func} mixes devices: {[describe(a) for a in tree_leaves((args, kwargs))]}"
        return result


class NoNumbers(TorchFunctionMode):
    """Raises where a tensor on the device is made from numbers of the host: that is a transfer, which waits."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        assert func not in FROM_NUMBERS or result.device.type == "cpu", f"{func} waits for a transfer"
        return result


def describe(value):
    return (value.device.type, tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__


def without_waiting(work):
    """What ``work`` gives, on the meta device: whatever would wait for a GPU, or fail there, raises."""
    with NoWaits(), NoNumbers():
        return work()
