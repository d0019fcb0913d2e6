"""Conversion between uint8 pixels and the numbers in [-1, 1] that networks take, both ways."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor


def scale_to_unit(pixels: Tensor) -> Tensor:
    """Return pixel values 0 to 255, of any type and shape, as floats in [-1, 1]: x / 127.5 - 1."""
    return pixels / 127.5 - 1


def to_unit(images: np.ndarray) -> Tensor:
    """Return uint8 images as float32 of the same shape in [-1, 1]."""
    return scale_to_unit(torch.from_numpy(images.astype(np.float32)))


def to_uint8(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8 of the same shape: clamped, then (x + 1) * 127.5 rounded to nearest.

    NaN has no pixel value: callers count non-finite values before.
    """
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def image_digests(images: Tensor) -> np.ndarray:
    """Return the SHA-256 of each uint8 image [n, ...] as bytes [n, 32]."""
    rows = images.contiguous().numpy()
    digests = b"".join(hashlib.sha256(row).digest() for row in rows)
    return np.frombuffer(digests, np.uint8).reshape(-1, 32)
