"""Number formats and kernels on a device, fixed before every task for repeatable runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def state_dtype(precision: str) -> torch.dtype:
    """Return the number format of weights and of the trajectory in a precision: float64 in that, else float32."""
    return torch.float64 if precision == "float64" else torch.float32


def fix_numerics(device: torch.device, threads: int) -> None:
    """Fix threads and, on a GPU, IEEE float32 and deterministic kernels.

    Workers call it before every task, so that runs can be repeated.
    """
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


@contextmanager
def fixed_numerics(device: torch.device, threads: int) -> Iterator[None]:
    """Fix the same for a block alone, as in a process that goes on with other work; restore them after it."""
    places = (
        (torch.backends.cuda.matmul, "fp32_precision"),
        (torch.backends.cudnn.conv, "fp32_precision"),  # type: ignore[attr-defined]
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "deterministic"),
    )
    before = torch.get_num_threads(), [getattr(place, name) for place, name in places]
    fix_numerics(device, threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        for (place, name), value in zip(places, before[1], strict=True):
            setattr(place, name, value)
