"""Fine trajectories of the frozen network, the reference of optimised schedules.

They need the probability flow dx/dsigma = eps(x, sigma), eps = (x - D(x; sigma)) / sigma, solved
far finer than it is sampled (Karras et al. 2022, arXiv:2206.00364, equation 1 and algorithm 1 for
Heun's method). State arithmetic is float64 whatever the network's precision, so that small steps
are not lost in rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from methods.grids import pinned, ramp
from methods.networks.base import Network
from methods.parts import PrepareContext, Solver

_SAME = 1e-9  # levels whose logarithms differ by less are equal


def log_grid(cells: int, sigma_min: float, sigma_max: float, extra: Iterable[float] = ()) -> np.ndarray:
    """Return levels uniform in log sigma with the extra ones merged in, float64 [>= cells + 1], strictly decreasing.

    The ends are exact, and so is every extra level that does not repeat another one. Raises
    ValueError if an extra level lies outside of the range.
    """
    u = ramp(cells, sigma_min, sigma_max)
    wanted = sorted({float(level) for level in extra} - {sigma_max, sigma_min}, reverse=True)
    outside = [level for level in wanted if not sigma_min < level < sigma_max]
    if outside:
        raise ValueError(f"level {outside[0]} lies outside of the range from {sigma_max} to {sigma_min}")

    # merge: extra levels first, so that they stay exact
    regular = np.exp(np.log(sigma_max) + u * (np.log(sigma_min) - np.log(sigma_max)))[1:-1]
    kept = [sigma_max, sigma_min]
    for level in chain(wanted, regular.tolist()):
        if np.abs(np.log(np.array(kept) / level)).min() > _SAME:
            kept.append(level)
    return pinned(np.array(sorted(kept, reverse=True)), sigma_min, sigma_max)


def weight_of(network: nn.Module) -> Tensor:
    """Return the network's first floating-point parameter or buffer.

    Its input needs that type and device.
    """
    return next(t for t in chain(network.parameters(), network.buffers()) if t.is_floating_point())


def starts(context: PrepareContext, first: int, count: int) -> Tensor:
    """Return states at sigma_max of the preparation's noises `first`.., float64 [count, c, h, w] on the device."""
    noise = torch.stack([context.noise(index) for index in range(first, first + count)])
    return noise.to(weight_of(context.network).device, torch.float64) * context.sigma_max


def denoised(network: Network, x: Tensor, sigma: float) -> Tensor:
    """Return D(x; sigma) [batch, c, h, w] in the type of x; the network runs in its own type."""
    level = torch.full((x.shape[0],), sigma, dtype=torch.float64)
    return network(x.to(weight_of(network).dtype), level).to(x.dtype)


@torch.no_grad()
def walk(
    network: Network,
    x: Tensor,
    grid: np.ndarray,
    sub_steps: int,
    passes: Callable[[int], Iterable[int]] = range,
) -> tuple[Tensor, Tensor]:
    """Return states and eps at every level of the grid along the probability flow, both float64 [M + 1, K, dim].

    x [K, c, h, w] is the state at grid[0]. Every cell takes `sub_steps` steps of Heun's method,
    uniform in log sigma. That is 2 sub_steps evaluations a cell, and one at the end. `passes`
    yields the numbers of the cells (`PrepareContext.passes`).
    """
    x = x.double()
    states, slopes = [x], []

    for cell in passes(len(grid) - 1):
        levels = np.geomspace(grid[cell], grid[cell + 1], sub_steps + 1)
        for sub, (s, s_next) in enumerate(zip(levels.tolist(), levels[1:].tolist(), strict=False)):
            slope = (x - denoised(network, x, s)) / s
            if sub == 0:
                slopes.append(slope)
            ahead = x + (s_next - s) * slope
            x = x + (s_next - s) * (slope + (ahead - denoised(network, ahead, s_next)) / s_next) / 2
        states.append(x)

    # slope at the last level
    last = float(grid[-1])
    slopes.append((x - denoised(network, x, last)) / last)
    return torch.stack(states).flatten(2), torch.stack(slopes).flatten(2)


def end(network: Network, solver: Solver, x: Tensor, levels: np.ndarray) -> Tensor:
    """Return the solver's state [K, c, h, w] at levels[-1] from x at levels[0], in the type of x.

    Gradients flow if the caller enables them. Raises ValueError for a solver that draws noise.
    """
    if solver.stochastic:
        raise ValueError(f'solver "{solver.name}" draws noise, and a teacher or a student here must not; take another')

    def denoise(state: Tensor, sigma: float) -> Tensor:
        return denoised(network, state, sigma)

    memory = solver.init_memory(solver.artifact)
    for i in range(len(levels) - 1):
        x = solver.step(x, i, levels, denoise, memory, no_noise)
    return x


def no_noise(step: int) -> Tensor:
    """Raise: the noise of a solver that must draw none."""
    raise AssertionError(f"a deterministic solver asked for noise at step {step}")
