"""Truncation error: relative RMS distance of final states to the exact ones of the same noise, with its interval.

Two trials on one network are measured at the same images, so differences of their replicates are replicates of the
difference of their errors (harness.stats).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats import GROUPS, group_bounds, interval


@dataclass(frozen=True)
class Truncation:
    """The error over `images` images, the ends of its interval (None below two images), and its replicates."""

    images: int
    value: float
    low: float | None
    high: float | None
    replicates: tuple[float, ...]
    """The error without group k; the groups are FID's, contiguous runs of image indices, here at least one image."""


def truncation(squared_errors: Sequence[float], squared_norms: Sequence[float]) -> Truncation | None:
    """Return sqrt(sum of errors / sum of norms) of images in index order; None without images or if all norms are 0.

    An image's squared error is that of its final state to the exact one, its squared norm that of the exact one.
    """
    errors, norms = np.asarray(squared_errors, dtype=np.float64), np.asarray(squared_norms, dtype=np.float64)
    if not norms.sum() > 0:
        return None

    value = math.sqrt(errors.sum() / norms.sum())
    groups = min(GROUPS, len(errors))
    if groups < 2:
        return Truncation(len(errors), value, None, None, ())
    begins = group_bounds(len(errors), groups)[:-1]
    rest = [values.sum() - np.add.reduceat(values, begins) for values in (errors, norms)]
    replicates = np.sqrt(rest[0] / rest[1]).tolist()
    ends = interval(value, replicates)
    return Truncation(len(errors), value, ends.low, ends.high, tuple(replicates))
