"""Levels live on the device: what a network computes of a noise level is copied there once, not at every call.

Levels are few and the same for every batch, so that after a warm-up a step copies none of them.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from methods.networks.base import Network
from methods.networks.preconditioned import PreconditionedNetwork
from methods.networks.preconditioning import Coefficients

_MOST_KEPT = 1024
"""Calls whose coefficients are kept, the most recent ones: a parallel executor has other rows at each."""


def keep_levels_on_device(network: Network, device: torch.device) -> None:
    """Let a network on a device other than the host keep the coefficients of the levels that it is called for."""
    if device.type == "cpu" or not isinstance(network, PreconditionedNetwork):
        return
    plain = network.preconditioning
    kept = copy.copy(plain)
    object.__setattr__(kept, "coefficients", _KeptCoefficients(plain.coefficients, device))  # the class is frozen
    network.preconditioning = kept


class _KeptCoefficients:
    """Coefficients of levels on the host, kept on the device by the levels' bytes."""

    def __init__(self, compute: Callable[[Tensor], Coefficients], device: torch.device) -> None:
        self._compute, self._device = compute, device
        self._kept: OrderedDict[bytes, Coefficients] = OrderedDict()

    def __call__(self, sigma: Tensor) -> Coefficients:
        if sigma.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._compute(sigma)
        key = f"{sigma.dtype} ".encode() + sigma.numpy().tobytes()
        if key not in self._kept:
            found = (value.to(self._device, non_blocking=True) for value in self._compute(sigma))
            self._kept[key] = Coefficients(*found)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
