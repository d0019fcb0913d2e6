"""The schedule of a wrapped sampler: its own, known only from its calls of the network.

No paper: it stands for the user's code. The rows of such a trial hold the levels that were visited.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from methods.grids import pinned, ramp
from methods.networks.base import NetworkParams
from methods.parts import Artifact, Method, Schedule


class Own(Schedule):
    """Levels evenly apart in log sigma, of which a wrapped sampler gets the ends alone."""

    name = "own"
    summary = "a wrapped sampler's own levels, recorded from its calls"

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        if self.denoises_last:
            return "a wrapped sampler ends as it does; leave out final"
        if parts["executor"].name in ("wrapped", "wrapped-pipeline"):
            return None
        return (
            'it is that of a wrapped sampler; expected the executor "wrapped", or a schedule of `oneclock ls methods`'
        )

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)
        return pinned(sigma_max ** (1 - u) * sigma_min**u, sigma_min, sigma_max)
