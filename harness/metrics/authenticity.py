"""Copies by features: generated images that are nearer to a reference image than its own neighbours allow.

A distance alone says little: where the reference is dense, all images are near to it. So the distance to the nearest
reference image is taken over the distance of that one to its own nearest neighbour (the ratio behind the authenticity
of Alaa et al. 2022, arXiv:2102.08921). Reference images themselves, each left out in turn, show which ratios occur
without copying; a generated image is a copy below their 1 % quantile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from harness.metrics.copies import nearest_few
from harness.metrics.feature_stream import Features
from harness.metrics.moments import Array
from harness.specs.rules.quality import COPY_QUANTILE

_FEWEST = 100
"""With fewer reference images a 1 % quantile says nothing."""
_LEAST = 1e-30
"""In place of the distance 0 of equal images."""


@dataclass(frozen=True)
class Neighbours:
    """How near reference features are to each other."""

    distances: Array
    """Of each to its nearest other one, float64 [n]."""
    copy_ratio: float
    """Below it a generated image is a copy; 0 where that cannot be said."""

    @classmethod
    def of(cls, features: Features) -> Neighbours:
        """Return the neighbours of features [n, d]."""
        if len(features) < _FEWEST:
            return cls.none()
        vectors = torch.from_numpy(features)
        distances, indices = nearest_few(vectors, vectors)

        # no image is its own neighbour; among equal images it may stand in any place
        own = indices == torch.arange(len(vectors))[:, None]
        own[:, -1] |= ~own.any(1)
        others = indices[~own].reshape(len(vectors), -1)
        apart = distances[~own].reshape(len(vectors), -1).double().clamp(min=_LEAST)

        # each left out: its nearest, and the distance of that one to its nearest among the rest
        nearest = others[:, 0]
        rest = torch.where(others[nearest, 0] == torch.arange(len(vectors)), apart[nearest, 1], apart[nearest, 0])
        ratios = apart[:, 0] / rest
        return cls(apart[:, 0].numpy(), float(torch.quantile(ratios, COPY_QUANTILE)))

    @classmethod
    def none(cls) -> Neighbours:
        """Return that nothing can be said of copies."""
        return cls(np.zeros(0), 0.0)


def nearness(generated: Features, reference: Features, neighbours: Neighbours) -> tuple[float, float]:
    """Return the share of generated features [n, d] that are copies of reference ones [m, d], and the median ratio."""
    distances, indices = nearest_few(torch.from_numpy(generated), torch.from_numpy(reference))
    ratios = distances[:, 0].double() / torch.from_numpy(neighbours.distances)[indices[:, 0]]
    return float((ratios < neighbours.copy_ratio).double().mean()), float(ratios.median())
