"""MyLevels: levels that fall geometrically once a constant is added to them.

An example that works: replace the marked line by an idea of yours. The interface is methods/parts.py of oneclock.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from methods.grids import pinned, ramp
from methods.parts import Artifact, Schedule
from methods.parts import Params as BaseParams


class MyLevels(Schedule):
    """sigma_i + c falls geometrically: fewer levels below c, more above it; c = 0 is the schedule logsnr."""

    name = "my-levels"
    summary = "levels that fall geometrically once a constant is added (example)"

    class Params(BaseParams):
        shift: float = Field(0.1, ge=0)

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)  # i / steps, checked
        first, last = sigma_max + self.params.shift, sigma_min + self.params.shift  # the line that logsnr does not have
        return pinned(first * (last / first) ** u - self.params.shift, sigma_min, sigma_max)
