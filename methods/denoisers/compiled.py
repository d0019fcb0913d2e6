"""Compiled callables of fixed shape; on a GPU each is captured as a CUDA graph and replayed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Call = Callable[[Tensor, Tensor], Tensor]


def compiled(call: Call, network: nn.Module, wanted: bool) -> Call:
    """Return `call`, which runs `network`, compiled for each input shape if `wanted`, else unchanged.

    Give every depth of a network its own call: a depth as an argument would compile again for
    every value. On a GPU the mode "reduce-overhead" captures a CUDA graph. Its output is copied,
    since the next replay overwrites it.
    """
    if not wanted:
        return call
    if not any(tensor.is_cuda for tensor in network.state_dict().values()):
        return torch.compile(call, dynamic=False)
    replayed = torch.compile(call, dynamic=False, mode="reduce-overhead")
    return lambda x, label: replayed(x, label).clone()
