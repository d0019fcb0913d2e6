"""Levels from a preparation: how an artifact keeps them, and how a schedule reads them back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from methods.grids import pinned, ramp
from methods.parts import Artifact


def levels_artifact(levels: np.ndarray, **facts: Any) -> Artifact:
    """Return an artifact of levels [steps + 1], as a float64 tensor, with plain JSON facts."""
    exact = pinned(levels, float(levels[-1]), float(levels[0]))
    return Artifact({"levels": torch.from_numpy(exact)}, facts)


def prepared_levels(name: str, artifact: Artifact | None, steps: int, sigma_min: float, sigma_max: float) -> np.ndarray:
    """Return the levels float64 [steps + 1] of the prepared schedule `name`.

    Raises ValueError without an artifact, or for one of other steps or another range.
    """
    ramp(steps, sigma_min, sigma_max)
    if artifact is None:
        raise ValueError(f'schedule "{name}" finds its levels in a preparation, but none was given; prepare it first')

    levels = artifact.tensors["levels"].numpy().astype(np.float64)
    if len(levels) != steps + 1:
        raise ValueError(
            f'schedule "{name}" was prepared for {len(levels) - 1} steps, but {steps} are asked for; prepare it anew'
        )
    if (levels[0], levels[-1]) != (sigma_max, sigma_min):
        raise ValueError(
            f'schedule "{name}" was prepared from {levels[0]} to {levels[-1]}, but asked for from {sigma_max} to '
            f"{sigma_min}; prepare it anew"
        )
    return levels
