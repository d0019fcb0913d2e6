"""A stand-in for a GPU on a machine without one: tensors "on the device" that count what makes the host wait.

They report torch's device without values, and compute on the host. A counter of operators sees every
copy between the two, and every operator whose result the host must read. Operators that mix tensors of both fail, as
they would on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

DEVICE = torch.device("meta")
_READ_BY_HOST = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim",
    "aten::unique_consecutive", "aten::equal", "aten::repeat_interleave",
}  # fmt: skip
"""Operators on a device whose result, or its size, the host waits for."""
_COPIES = {"aten::_to_copy", "aten::copy_"}
_INDEXED = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}


class OnDevice(Tensor):
    """A tensor that reports the device and keeps its values on the host, in `inner`."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        made: OnDevice = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=DEVICE, requires_grad=False,
        )  # fmt: skip
        made.inner = inner
        return made

    def tolist(self) -> Any:
        """Return the values; the host waits for them."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class DeviceCounter(TorchDispatchMode):
    """Counts, while it is active, how often the host waits for the device and what is copied to it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        """The operators that the host waited for, in order."""
        self.copies = 0
        """Copies to the device that the host does not wait for."""

    def clear(self) -> None:
        """Count from zero."""
        self.waits.clear()
        self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        self._note(func._schema.name, args, kwargs)
        return _run(func, args, kwargs)

    def _note(self, name: str, args: Any, kwargs: Any) -> None:
        if name in _COPIES:
            self._note_copy(name, args, kwargs)
            return
        flat = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
        if not any(isinstance(one, OnDevice) for one in flat):
            return

        if name in _READ_BY_HOST:
            self.waits.append(name)
        elif name in _INDEXED:
            places = [one for one in args[1] if one is not None]
            self.waits += [f"{name} by a mask" for one in places if one.dtype in (torch.bool, torch.uint8)]
            self.waits += [f"{name} by places on the host" for one in places if not isinstance(one, OnDevice)]
        elif any(not isinstance(one, OnDevice) and one.dim() > 0 for one in flat):
            raise RuntimeError(f"{name} mixes tensors of host and device")

    def _note_copy(self, name: str, args: Any, kwargs: Any) -> None:
        if name == "aten::copy_":
            source, to_device = args[1], isinstance(args[0], OnDevice)
            waits = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        else:
            source, device = args[0], kwargs.get("device")
            to_device = isinstance(source, OnDevice) if device is None else torch.device(device).type == DEVICE.type
            waits = not kwargs.get("non_blocking", False)

        if isinstance(source, OnDevice) and not to_device:
            self.waits.append("a copy to the host")
        elif not isinstance(source, OnDevice) and to_device:
            if waits:
                self.waits.append("a copy to the device")
            else:
                self.copies += 1


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """Return what an operator gives on the values; its tensors are on the device where its own are, or as it says."""
    flat, spec = tree_flatten((args, kwargs))
    wrapped = {id(one.inner): one for one in flat if isinstance(one, OnDevice)}
    device = kwargs.get("device")
    there = bool(wrapped) if device is None else torch.device(device).type == DEVICE.type
    plain = [_unwrapped(one) for one in flat]
    args, kwargs = tree_unflatten(plain, spec)
    out = func(*args, **kwargs)
    if not there:
        return out

    def placed(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        return wrapped[id(one)] if id(one) in wrapped else OnDevice(one)

    return tree_map(placed, out)


def _unwrapped(one: Any) -> Any:
    if isinstance(one, OnDevice):
        return one.inner
    return torch.device("cpu") if isinstance(one, torch.device) and one.type == DEVICE.type else one


def _is_composite(func: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))
