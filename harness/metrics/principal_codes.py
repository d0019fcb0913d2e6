"""Features of many images in a few bytes each: their principal directions, rounded to eight bits.

The share of copies needs the nearest of all training images, and features of all of them are large. Their 32 principal
directions hold nearly all of their spread, and 255 levels of each round finer than any two photographs lie apart. Both
sides are rounded alike, so a copy lies at the distance 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.metrics.authenticity import Neighbours, nearness
from harness.metrics.feature_stream import Features
from harness.metrics.moments import Array

DIRECTIONS = 32
_LEVELS = 127


@dataclass(frozen=True)
class PrincipalCodes:
    """Coded features of a set of images, and how near they are to each other."""

    centre: Features
    """[d], the mean of the set."""
    directions: Features
    """[k, d], orthonormal, the widest first."""
    steps: Features
    """[k], what one level is, in units of the features."""
    codes: npt.NDArray[np.int8]
    """[m, k]."""
    neighbours: Neighbours

    @classmethod
    def of(cls, features: Features, mean: Array, covariance: Array) -> PrincipalCodes:
        """Code features [m, d] of a set with this mean [d] and covariance [d, d] along its widest directions."""
        _, vectors = np.linalg.eigh(covariance)
        directions = np.ascontiguousarray(vectors[:, ::-1][:, :DIRECTIONS].T.astype(np.float32))
        centre = mean.astype(np.float32)

        along = (features - centre) @ directions.T
        largest = np.abs(along).max(axis=0)
        steps = np.where(largest > 0, largest / _LEVELS, 1).astype(np.float32)
        codes = np.rint(along / steps).astype(np.int8)
        return cls(centre, directions, steps, codes, Neighbours.of(codes * steps))

    def __len__(self) -> int:
        return len(self.codes)

    def nearness(self, generated: Features) -> tuple[float, float]:
        """Return the share of generated features [n, d] that are copies, and the median ratio of distances."""
        rounded = np.rint((generated - self.centre) @ self.directions.T / self.steps) * self.steps
        return nearness(rounded.astype(np.float32), self.codes * self.steps, self.neighbours)

    def to_tensors(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return everything as named arrays."""
        return {
            "code_centre": self.centre,
            "code_directions": self.directions,
            "code_steps": self.steps,
            "codes": self.codes,
            "code_distances": self.neighbours.distances.astype(np.float32),
            "code_copy_ratio": np.array([self.neighbours.copy_ratio], dtype=np.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, npt.NDArray[np.generic]]) -> PrincipalCodes:
        """Return what `to_tensors` wrote."""
        centre, directions, steps = (
            np.asarray(tensors[f"code_{name}"], np.float32) for name in ("centre", "directions", "steps")
        )
        distances = np.asarray(tensors["code_distances"], np.float64)
        ratio = float(np.asarray(tensors["code_copy_ratio"], np.float64)[0])
        codes = np.asarray(tensors["codes"], np.int8)
        return cls(centre, directions, steps, codes, Neighbours(distances, ratio))
