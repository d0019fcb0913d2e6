"""Cuts a stream of feature shards into blocks at fixed image indices, wherever the shards were cut.

Blocks never straddle a jackknife group, so statistics are bitwise equal for any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from harness.stats import group_bounds

BLOCK = 4096  # images at most; 64 MB of float64 at 2048 features

Features = npt.NDArray[np.float32]
Shard = tuple[int, Features]  # index of the first image, features [n, d]


def blocks(shards: Iterable[Shard], n: int, groups: int) -> Iterator[tuple[int, int, Features]]:
    """Yield (group, index of the first image, features [m, d]) of all n images; shards come in index order.

    ValueError if images are missing, come twice or out of order, or if a feature is not a finite float32.
    """
    cuts = iter(_cuts(n, groups))
    group, start, stop = next(cuts)
    waiting: list[Features] = []
    index = 0

    for first, features in shards:
        check_shard(first, features, index, n)
        while len(features):
            taken = features[: stop - index]
            waiting.append(taken)
            features = features[len(taken) :]
            index += len(taken)
            if index == stop:
                yield group, start, waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                waiting = []
                group, start, stop = next(cuts, (groups, n, n))

    if index != n:
        raise ValueError(f"found features of {index} images; expected {n}")


def evenly_spaced(n: int, limit: int) -> npt.NDArray[np.int64]:
    """Return min(n, limit) indices out of 0 .. n-1, evenly spaced from 0: fair to sets that are sorted by class."""
    kept = min(n, limit)
    return np.arange(kept, dtype=np.int64) * n // max(kept, 1)


def _cuts(n: int, groups: int) -> list[tuple[int, int, int]]:
    """Return (group, start, stop) of every block, empty groups left out."""
    bounds = group_bounds(n, groups)
    return [
        (group, start, min(start + BLOCK, bounds[group + 1]))
        for group in range(groups)
        for start in range(bounds[group], bounds[group + 1], BLOCK)
    ]


def check_shard(first: int, features: Features, index: int, n: int) -> None:
    """Raise ValueError unless a shard begins at `index` of n images, and holds finite float32 [m, d]."""
    if first != index or first + len(features) > n:
        raise ValueError(
            f"found a shard of images {first} to {first + len(features) - 1}; "
            f"expected the one that starts at {index}, of {n} images in index order"
        )
    if features.ndim != 2 or features.dtype != np.float32:
        raise ValueError(f"found features {features.dtype} of shape {features.shape}; expected float32 [n, d]")
    if not np.isfinite(features).all():
        bad = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0]) + first
        raise ValueError(f"found a feature of image {bad} that is not finite; expected finite numbers only")
