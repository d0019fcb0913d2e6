"""FLOPs of whole calls of a pipeline whose network is not seen, and the parameters of the modules that ran in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from harness.measure.operator_flops import operator_flops
from harness.sampling.call_counts import CallCounts


class WholeCalls:
    """Counts operators of whole calls, so that a cache that leaves layers out has fewer."""

    def __init__(self) -> None:
        self._parameters: dict[int, int] = {}
        self._modules: dict[int, nn.Module] = {}

    @property
    def parameters(self) -> int | None:
        """Return how many parameters the modules have that ran in counted calls; None where none ran."""
        return sum(self._parameters.values()) or None

    @contextmanager
    def counted(self, call_counts: CallCounts) -> Iterator[None]:
        """Add the FLOPs of the block, from wherever its operators are called, to `call_counts.operations`."""
        handle = nn.modules.module.register_module_forward_pre_hook(self._note)
        try:
            with operator_flops() as flops:
                yield
        finally:
            handle.remove()
        call_counts.operations += sum(flops.values())

    def _note(self, module: nn.Module, args: Any) -> None:
        """Note the parameters of a module that is called; it is kept, so that its id stays its own."""
        if id(module) not in self._modules:
            self._modules[id(module)] = module
            self._parameters |= {id(one): one.numel() for one in module.parameters()}
