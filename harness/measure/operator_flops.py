"""FLOPs of all operators that run in this thread, by number format, from wherever they are called.

The boundary of the network counts what its denoiser reports. This counter works below Python's modules, so a call of
the network by another way counts too. Its formulas are torch's, as in `harness.measure.flops`; it does less for each
operator than torch's own counter, since it watches whole runs of a sampler.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from harness.measure.flops import count_cpu_attention, without_fused_attention_layers

count_cpu_attention()


@contextmanager
def operator_flops() -> Iterator[Counter[str]]:
    """Yield FLOPs by the number format of the operators' results, such as "float32"; they grow while the block runs."""
    by_format: Counter[str] = Counter()
    with without_fused_attention_layers(), _FormatCounter(by_format):
        yield by_format


class _FormatCounter(TorchDispatchMode):
    """Adds the FLOPs of each operator that has a formula; an operator made of others is replaced by these."""

    def __init__(self, by_format: Counter[str]) -> None:
        super().__init__()
        self._by_format = by_format
        self._formulas: Mapping[Any, Any] = dict(flop_registry)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = self._formulas.get(func._overloadpacket)
        if formula is None and _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)

        out = func(*args, **kwargs)
        if formula is not None:
            found = out if isinstance(out, Tensor) else next((one for one in out if isinstance(one, Tensor)), None)
            name = "unknown" if found is None else str(found.dtype).removeprefix("torch.")
            self._by_format[name] += int(formula(*args, **kwargs, out_val=out))
        return out


@cache
def _is_composite(func: Any) -> bool:
    """Tell whether an operator is made of others; in inference mode such operators come here as they are called."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))
