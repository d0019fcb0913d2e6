"""FLOPs of all operators that run in this thread, by number format, from wherever they are called.

The boundary of the network counts what its denoiser reports. This counter works below Python's modules, so a call of
the network by another way counts too. Its formulas are those of `harness.measure.flops`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.measure.flops import NoModuleNames, without_fused_attention_layers


@contextmanager
def operator_flops() -> Iterator[Counter[str]]:
    """Yield FLOPs by the number format of the operators' results, such as "float32"; they grow while the block runs."""
    by_format: Counter[str] = Counter()
    with without_fused_attention_layers(), _FormatCounter(by_format):
        yield by_format


class _FormatCounter(FlopCounterMode):
    """Torch's counter, which adds what it finds to the number format of the result."""

    def __init__(self, by_format: Counter[str]) -> None:
        super().__init__(display=False)
        self.mod_tracker = NoModuleNames()  # type: ignore[assignment]
        self._by_format = by_format

    def _count_flops(self, func_packet: Any, out: Any, args: Any, kwargs: Any) -> Any:
        if func_packet in self.flop_registry:
            found = out if isinstance(out, Tensor) else next((one for one in out if isinstance(one, Tensor)), None)
            name = "unknown" if found is None else str(found.dtype).removeprefix("torch.")
            self._by_format[name] += int(self.flop_registry[func_packet](*args, **kwargs, out_val=out))
        return out
