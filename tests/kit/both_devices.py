"""Marks for tests that run on a CPU, which shows that the test itself is sound, and on a GPU, which it is for."""

from __future__ import annotations

import pytest
import torch

needs_gpu = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")]
on_both = pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=needs_gpu)])
"""Gives a test the kind of device."""


def is_gpu(kind: str) -> bool:
    """Tell whether a test runs on a GPU, where rules of kernels hold that a CPU does not have."""
    return kind == "cuda"
