"""Errors of a solver's own steps from the frozen network's fine trajectories, the loss of few-step tuning.

From a state x_i of a fine trajectory a first-order step ends at r x_i + (1 - r) D(x_i; s_i), r =
s_{i+1} / s_i. It ends on the trajectory if D is (x_{i+1} - r x_i) / (1 - r). That is the target
instead of the clean image, so it contains the discretisation error. A multistep or second-order
solver takes its own step from the trajectory's states, and its error has the same unit. The target
is ours: of Huang 2024 (arXiv:2412.10786) only the abstract was available, by which the network is
tuned at the selected levels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from methods.networks.base import Network
from methods.parts import PrepareContext, Solver
from methods.schedules.search.teacher import denoised, log_grid, no_noise, starts, walk, weight_of

_CELLS = 64  # of the teacher's log-spaced grid, without the levels themselves
_BATCH = 64  # trajectories solved at once


class TrajectoryLoss:
    """The weighted squared error of a solver's steps from the states of fine trajectories."""

    def __init__(self, network: Network, solver: Solver, levels: np.ndarray, states: Tensor) -> None:
        """`states` float64 [N + 1, K, c, h, w] are fine trajectories at the levels [N + 1]."""
        self._network, self._solver, self._levels, self._states = network, solver, levels, states
        self._sigma_data = getattr(network.params, "sigma_data", 0.5)

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """Return which trajectories to take, int64 [n]: as many as `rows` evaluations allow, at least one."""
        each = (len(self._levels) - 1) * self._solver.evaluations_per_step
        return torch.randint(self._states.shape[1], (max(rows // each, 1),), generator=generator)

    def weighted(self, chosen: Tensor) -> Tensor:
        """Return lambda(s_i) e_i² of every step of trajectories `chosen` [n]: [N, n, c, h, w]."""
        s = torch.from_numpy(self._levels[:-1].copy()).to(self._states)
        weights = (s**2 + self._sigma_data**2) / (s * self._sigma_data) ** 2
        return weights.view(-1, 1, 1, 1, 1) * self.errors(chosen) ** 2

    def errors(self, chosen: Tensor) -> Tensor:
        """Return e_i = (landed - x_{i+1}) / (1 - r_i) of every step from trajectories `chosen` [n]: [N, n, c, h, w].

        For a first-order solver this is D(x_i; s_i) less its target. All steps begin on the
        trajectory.
        """
        # evaluations that all steps begin with
        states, sigmas = self._states[:, chosen.to(self._states.device)], self._levels
        estimates = self._estimates(states[:-1])

        # the solver's step from each state
        memory, errors = self._solver.init_memory(self._solver.artifact), []
        for i in range(len(sigmas) - 1):
            x, level, estimate = states[i], float(sigmas[i]), estimates[i]

            def denoise(
                state: Tensor, sigma: float, x: Tensor = x, level: float = level, known: Tensor = estimate
            ) -> Tensor:
                return known if state is x and sigma == level else denoised(self._network, state, sigma)

            landed = self._solver.step(x, i, sigmas, denoise, memory, no_noise)
            errors.append((landed - states[i + 1]) / (1 - float(sigmas[i + 1]) / level))
        return torch.stack(errors)

    def _estimates(self, states: Tensor) -> Tensor:
        """Return D at states [N, n, ...] of all levels but the last, in one call."""
        dtype = weight_of(self._network).dtype
        sigma = torch.from_numpy(self._levels[:-1].copy()).repeat_interleave(states.shape[1])
        return self._network(states.flatten(0, 1).to(dtype), sigma).to(states).unflatten(0, states.shape[:2])


@torch.no_grad()
def fine_states(context: PrepareContext, levels: np.ndarray, first: int, count: int) -> Tensor:
    """Return the frozen network's fine trajectories at levels [N + 1], float64 [N + 1, count, c, h, w].

    They start at the preparation's noises first, first + 1, .... Heun's method solves them on a
    log-spaced grid that contains the levels.
    """
    # the teacher's grid, and the levels' places in it
    low, high = float(levels[-1]), float(levels[0])
    grid = log_grid(_CELLS, low, high, levels[1:-1])
    places = [int(np.abs(np.log(grid / level)).argmin()) for level in levels]

    found = []
    for begin in range(first, first + count, _BATCH):
        x = starts(context, begin, min(_BATCH, first + count - begin))
        states, _ = walk(context.network, x, grid, 1, context.passes)
        found.append(states[places].unflatten(2, x.shape[1:]))
    return torch.cat(found, 1)
