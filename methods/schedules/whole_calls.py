"""The levels at which a feature cache runs its network whole: a control of caches.

After Ma, Fang, Wang 2024, "DeepCache" (CVPR, arXiv:2312.00858) and Liu et al. 2025, "TaylorSeers"
(ICCV, arXiv:2503.06923), whose tables lack it. A cache with an interval on a grid of K steps runs
some of the K calls whole. Here the grid keeps the levels of these calls and the last level, and
the cached steps are left out: as many whole calls at the same levels, none cached. A cache that
does not beat it gains nothing by its cached calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from methods.denoisers.cached_calls import is_whole_from_end, is_whole_from_start
from methods.networks.base import NetworkParams
from methods.parts import Artifact, Method, Schedule, ScheduleParams, Solver
from methods.schedules.arctan import Arctan
from methods.schedules.cosine import Cosine
from methods.schedules.edm import EDM
from methods.schedules.flow_uniform import FlowUniform
from methods.schedules.logsnr import LogSNR
from methods.schedules.quadratic_t import QuadraticT
from methods.schedules.uniform_sigma import UniformSigma
from methods.schedules.uniform_t import UniformT

_OF = {one.name: one for one in (Arctan, Cosine, EDM, FlowUniform, LogSNR, QuadraticT, UniformSigma, UniformT)}


class WholeCallLevels(Schedule):
    """s_k of another schedule for every whole call k, then its last level; steps count whole calls."""

    name = "whole-calls"
    summary = "another schedule's levels at the whole calls of a cache, cached steps left out (a control of caches)"
    method_family = "feature cache"

    class Params(ScheduleParams):
        of: Literal[
            "arctan", "cosine", "edm", "flow-uniform", "logsnr", "quadratic-t", "uniform-sigma", "uniform-t"
        ] = "edm"
        """The schedule whose levels they are, with its default parameters."""
        grid: int | None = Field(default=None, ge=1)
        """Steps of that schedule, which are the cache's; without it the fewest that have so many whole calls."""
        interval: int = Field(default=3, ge=1)
        """As the cache's."""
        anchor: Literal["start", "end"] = "start"
        """As the cache's."""
        warm: int = Field(default=1, ge=1)
        """As the cache's, read with the anchor start: 1 is deep-cache's, 2 the default of taylor-cache."""

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        solver, grid = parts.get("solver"), self.params.grid
        if isinstance(solver, Solver) and solver.evaluations_per_step != 1:
            return f'whole calls are steps under a solver of one evaluation a step alone, and "{solver.name}" has more'
        if grid is not None and (count := len(self.kept_steps(grid))) != steps:
            interval = self.params.interval
            return f"of {grid} steps at interval {interval}, {count} begin with a whole call; give {count} steps"
        return None

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        grid = self.params.grid or self._fewest(steps)
        kept = self.kept_steps(grid)
        if len(kept) != steps:
            raise ValueError(f"found {len(kept)} whole calls in {grid} steps; expected {steps}")
        every = _OF[self.params.of]().levels(grid, sigma_min, sigma_max)
        found: np.ndarray = every[[*kept, grid]]
        return found

    def kept_steps(self, grid: int) -> list[int]:
        """Return the steps of the cache's grid that begin with a whole call; a final estimate is no step."""
        p, calls = self.params, grid + self.denoises_last
        if p.anchor == "end":
            return [k for k in range(grid) if is_whole_from_end(k, p.interval, calls)]
        return [k for k in range(grid) if is_whole_from_start(k, p.interval, p.warm)]

    def _fewest(self, steps: int) -> int:
        """Return the fewest steps of the other schedule that have so many whole calls."""
        grid = steps
        while len(self.kept_steps(grid)) < steps:
            grid += 1
        return grid
