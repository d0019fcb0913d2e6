"""Levels that lower a bound on an SDE sampler's divergence: Align Your Steps.

Sabour, Fidler, Kreis 2024, "Align Your Steps: Optimizing Sampling Schedules in Diffusion Models"
(arXiv:2404.14507). From the paper: the bound sum_i int s^-3 E||D(x_a; a) - D(x_s; s)||^2 ds over
each step from a, with pairs of one forward process. Levels are optimised one at a time at 10
steps, then subdivided to 20 and 40 and optimised again. Early stopping well above 0. Other lengths
by linear interpolation of log sigma. The two released tables. The formula and the procedure are
second-hand here.

Ours: a fixed grid and one Brownian path per image instead of importance sampling. A start even in
log sigma. The bound ends at `stop_sigma`, just below the lowest released level (0.113). Other
lengths come from the next longer optimised one. The bound is the SDE's: as levels for an ODE
solver they are far from the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from methods.grids import pinned, ramp
from methods.networks.base import NetworkParams
from methods.parts import Artifact, Done, Job, PrepareContext, Schedule, ScheduleParams
from methods.schedules.search.learned_levels import levels_artifact, prepared_levels
from methods.schedules.search.pair_costs import path_cost, weighted_squares
from methods.schedules.search.teacher import denoised, log_grid, weight_of

LENGTHS = (10, 20, 40)
"""Numbers of steps that are optimised, each from the previous one."""

RELEASED = {
    "sd-1.5": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113),
}
"""The released sigmas of 10 steps without the last, which is 0; a grid here ends at sigma_min."""


class AYS(Schedule):
    """Levels of least bound by coordinate descent, or with `table` those released for Stable Diffusion."""

    name = "ays"
    summary = "levels of least divergence bound for the SDE, Align-Your-Steps-like (Sabour 2024)"
    prepares_for = ("steps",)
    jobs_for = ()
    learns_from_images = True
    search_only = ("table", "images", "cells", "stop_sigma", "batch")

    class Params(ScheduleParams):
        table: Literal["sd-1.5", "sdxl"] | None = None
        """Released levels instead of optimised ones; nothing is prepared then."""
        images: int = Field(256, ge=1)
        """Training images whose forward processes estimate the bound."""
        cells: int = Field(128, ge=LENGTHS[-1])
        """Cells of the grid, even in log sigma, on which levels are chosen."""
        stop_sigma: float = Field(0.1, ge=0)
        """Lower end of the bound; only the last level lies below.

        Up to sigma_min there is no early stop.
        """
        batch: int = Field(32, ge=1)
        """Images of one job."""

    @property
    def prepares(self) -> bool:  # type: ignore[override]
        return self.params.table is None

    def next_jobs(self, steps: int, network: NetworkParams, done: Sequence[Done]) -> Sequence[Job]:
        """Return the missing parts of the cost matrix, each from other images."""
        p = self.params
        rest = {"cells": p.cells, "stop_sigma": p.stop_sigma}
        jobs = [
            {"first_image": first, "n_images": min(p.batch, p.images - first), **rest}
            for first in range(0, p.images, p.batch)
        ]

        finished = [dict(d.job) for d in done]
        return [job for job in jobs if job not in finished]

    def do(self, context: PrepareContext, job: Job) -> Artifact:
        """Return the bounds of all steps, summed over the job's images."""
        grid = bounded_grid(job["cells"], job["stop_sigma"], context)
        outputs = forward_outputs(context, job["first_image"], job["n_images"], grid)
        return Artifact({"costs": weighted_squares(outputs, grid, power=-3).sum(0).cpu()})

    def prepare(self, context: PrepareContext) -> Artifact:
        """Optimise 10 steps, subdivide as far as the trial needs, and interpolate to its number of steps."""
        # mean costs of all steps
        p = self.params
        grid = bounded_grid(p.cells, p.stop_sigma, context)
        costs = torch.stack([d.artifact.tensors["costs"] for d in context.done]).sum(0).numpy() / p.images

        # optimise and subdivide
        path = descended(costs, np.linspace(0, p.cells, LENGTHS[0] + 1).round().astype(np.int64))
        for _ in LENGTHS[1:]:
            if len(path) - 1 >= context.steps:
                break
            path = descended(costs, subdivided(path))

        # the trial's number of steps
        levels = pinned(interpolated(grid[path], context.steps), context.sigma_min, context.sigma_max)
        facts = {"objective": path_cost(costs, path), "optimised_steps": len(path) - 1, "stop_sigma": float(grid[-1])}
        return levels_artifact(levels, **facts)

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        table = self.params.table
        if table is None:
            return prepared_levels(self.name, artifact, steps, sigma_min, sigma_max)

        ramp(steps, sigma_min, sigma_max)  # raises on a bad range
        released = RELEASED[table]
        if not (math.isclose(sigma_max, released[0], rel_tol=1e-3) and sigma_min < released[-1]):
            raise ValueError(
                f'the table "{table}" goes from {released[0]} down to {released[-1]} and then to sigma_min, but levels '
                f"from {sigma_max} to {sigma_min} are asked for; take a table of this range, or none"
            )
        return pinned(interpolated(np.array([*released, sigma_min]), steps), sigma_min, sigma_max)


def bounded_grid(cells: int, stop_sigma: float, context: PrepareContext) -> np.ndarray:
    """Return the grid of levels, float64 [cells + 1], from sigma_max to where the bound ends.

    Raises ValueError for a stop at or above sigma_max.
    """
    if stop_sigma >= context.sigma_max:
        raise ValueError(
            f"stop_sigma is {stop_sigma}, but levels begin at sigma_max = {context.sigma_max}; give a lower one"
        )
    return log_grid(cells, max(stop_sigma, context.sigma_min), context.sigma_max)


@torch.no_grad()
def forward_outputs(context: PrepareContext, first: int, count: int, grid: np.ndarray) -> Tensor:
    """Return D at every level of forward processes of training images `first`.., float64 [M + 1, count, dim].

    Noise accumulates from the lowest level up, x_a = x_q + sqrt(a^2 - q^2) z, so any two levels
    are a pair.
    """
    # clean images, in a random order
    images = context.images()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(context.seed))
    numbers = range(first, first + count)
    device = weight_of(context.network).device
    x = images[order[[k % len(images) for k in numbers]]].to(device, torch.float64)

    # noise added level by level, from the lowest
    outputs, below = [], 0.0
    for m in context.passes(len(grid)):
        level = float(grid[-1 - m])
        noise = torch.stack([context.noise(k * len(grid) + m) for k in numbers])
        x = x + math.sqrt(level**2 - below**2) * noise.to(x)
        outputs.append(denoised(context.network, x, level))
        below = level
    return torch.stack(outputs[::-1]).flatten(2)


def descended(costs: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Return a path [steps + 1] of no greater cost that no move of one level improves.

    Its ends stay.
    """
    path = path.copy()
    while True:
        before = path.copy()
        for i in range(1, len(path) - 1):
            a, b = path[i - 1], path[i + 1]
            path[i] = a + 1 + np.argmin(costs[a, a + 1 : b] + costs[a + 1 : b, b])
        if np.array_equal(path, before):
            return path


def subdivided(path: np.ndarray) -> np.ndarray:
    """Return a path of twice as many steps, with one more level in each step's middle.

    Levels that would coincide are moved apart.
    """
    longer = np.interp(np.arange(2 * len(path) - 1) / 2, np.arange(len(path)), path).round().astype(np.int64)

    # move coinciding levels down, then back up where the end is too near
    order = np.arange(len(longer))
    moved_on = np.maximum.accumulate(longer - order) + order
    return np.minimum(moved_on, path[-1] - order[::-1])


def interpolated(levels: np.ndarray, steps: int) -> np.ndarray:
    """Return levels [steps + 1] by linear interpolation of log sigma over the index of the given ones."""
    given = np.arange(len(levels))
    return np.exp(np.interp(np.linspace(0, given[-1], steps + 1), given, np.log(levels)))
