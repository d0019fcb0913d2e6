"""Number formats and kernels on a device, fixed before every task for repeatable runs."""

from __future__ import annotations

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
