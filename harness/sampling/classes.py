"""The class of each image: a pure function of seed set and image index, never of batch or worker.

Words come from Philox by a purpose of their own, keyed as noise is. Every method of a suite makes the same classes, so
that rows stay paired by image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.specs.sampler import ClassesSpec

_DRAWN, _PERMUTED = 1 << 61, (1 << 61) + 1
"""Purposes of Philox's counter, beside those of noise (`harness.sampling.noise`)."""


def draw_classes(spec: ClassesSpec, seed_set: int, indices: Sequence[int]) -> np.ndarray:
    """Return the classes of images, int64 [len(indices)].

    "uniform" and "frequency" draw each by itself, the second by the training images' counts. "balanced" has every
    class once in each run of as many images as there are classes, in an order of its own, so that no regular part of
    the images has some classes alone.
    """
    if spec.one is not None:
        return np.full(len(indices), spec.one, dtype=np.int64)
    if spec.law == "balanced":
        return np.array([_balanced(spec.count, seed_set, index) for index in indices], dtype=np.int64)

    words = (int(_words(seed_set, index, _DRAWN, 1)[0]) for index in indices)
    if spec.law == "uniform":
        return np.array([word * spec.count >> 64 for word in words], dtype=np.int64)
    ends = np.cumsum(spec.counts)
    return np.array([np.searchsorted(ends, word * int(ends[-1]) >> 64, side="right") for word in words], dtype=np.int64)


def _balanced(count: int, seed_set: int, index: int) -> int:
    run, place = divmod(index, count)
    return int(np.argsort(_words(seed_set, run, _PERMUTED, count), kind="stable")[place])


def _words(seed_set: int, key: int, purpose: int, n: int) -> Any:
    """Return uniform words, uint64 [n]."""
    return np.random.Philox(key=[seed_set, key], counter=[0, 0, 0, purpose]).random_raw(n)
