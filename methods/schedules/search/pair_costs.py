"""Costs of a first-order sampler's steps between any two levels of a grid, and the cheapest paths.

The bound of the discretisation error of Euler's method is the change of the network's output
inside each step. It is taken as it is, or contracted as the flow shrinks distances between the
step and the end. The risk bounds the distance to clean data by the denoising loss. All reconstruct
Huang 2024, "Optimizing Few-Step Sampler for Diffusion Probabilistic Model" (arXiv:2412.10786), of
which only the abstract was available. The convex combination, and a bound that is estimated and
minimised, are the abstract's; the formulas are ours. The weighted squares at power -3 are those of
Sabour et al. 2024, "Align Your Steps" (arXiv:2404.14507). The dynamic programme with a discount is
that of Chen et al. 2024, GITS (arXiv:2405.11326), with stored choices.

Costs C [.., M + 1, M + 1] are indexed by the levels where a step begins and where it ends, from
the highest noise down. Below the diagonal they are 0 and nothing reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def gap_costs(left: Tensor, inside: Tensor, grid: np.ndarray) -> Tensor:
    """Return the bound of each trajectory's error, float64 [K, M + 1, M + 1], from eps at every level [M + 1, K, dim].

    C[a, b] is the integral from g_b to g_a of ||left_a - inside(s)|| / sqrt(dim) ds by the
    trapezium rule. `left` is of the sampling network, `inside` of the one whose flow it should
    follow.
    """
    return _integrated(_distances(left, inside) / left.shape[-1] ** 0.5, grid)


def landing_errors(states: Tensor, left: Tensor, grid: np.ndarray) -> Tensor:
    """Return the distance of one Euler step's end from each trajectory, float64 [K, M + 1, M + 1].

    C[a, b] = ||x_a - (g_a - g_b) left_a - x_b|| / sqrt(dim) of states x and slopes `left`, both [M
    + 1, K, dim]. For a network that was tuned to take whole steps, whose output is no flow's slope
    inside of them.
    """
    levels = torch.as_tensor(grid, device=states.device)
    rows = []
    for a in range(len(grid)):
        landed = states[a] - (levels[a] - levels)[:, None, None] * left[a]
        rows.append((landed - states).square().mean(-1).sqrt().T)
    return torch.stack(rows, 1).double().triu(1)


def contracted(costs: Tensor, grid: np.ndarray, c: float) -> Tensor:
    """Return costs [.., M + 1, M + 1] times the flow's contraction from a step's end to the end of the grid.

    C[a, b] sqrt((c^2 + g_M^2) / (c^2 + g_b^2)), with c the standard deviation of the data. States
    at a level s have the variance c^2 + s^2, so the root mean square distance of two trajectories
    shrinks by this factor from g_b to g_M. For Gaussian data every distance does.
    """
    landing = torch.as_tensor(grid, device=costs.device)
    return costs * ((c**2 + landing[-1] ** 2) / (c**2 + landing**2)).sqrt()


def weighted_squares(outputs: Tensor, grid: np.ndarray, power: float) -> Tensor:
    """Return the integrals of s^power ||out_a - out(s)||^2 / dim ds, float64 [K, M + 1, M + 1].

    Outputs [M + 1, K, dim] are D along the probability flow at power -2 (U_3: Jensen's inequality
    on the data form). They are D along a forward process at power -3 (Align Your Steps), or eps at
    power 0 (U_2: the squared bound).
    """
    density = torch.as_tensor(grid, device=outputs.device) ** power
    return _integrated(density * _distances(outputs, outputs).square() / outputs.shape[-1], grid)


def risk_costs(errors: Tensor, grid: np.ndarray) -> Tensor:
    """Return the risk of steps, float64 [.., M + 1, M + 1]: a step's data-form weight times the risk [.., M + 1].

    C[a, b] = g_M (1/g_b - 1/g_a) errors[a], errors[a] = E||D(y + g_a n; g_a) - y||^2.
    """
    inverse = 1 / torch.as_tensor(grid, device=errors.device)
    weights = float(grid[-1]) * (inverse - inverse[:, None]).triu()
    return weights * errors.double()[..., :, None]


def cheapest(costs: np.ndarray, most: int, discount: float = 1.0) -> list[np.ndarray]:
    """Return for n = 1..most the path of exactly n steps and least cost, indices int64 [n + 1] from 0 to M.

    Step i of a path counts discount^i times: V[n, a] = min over b > a of C[a, b] + discount V[n -
    1, b]. Costs may be negative. Of equal ones the first, at the higher noise, is used. Raises
    ValueError if there are too few levels.
    """
    cells = len(costs) - 1
    if not 1 <= most <= cells:
        raise ValueError(f"paths of 1 to {cells} steps exist on {cells + 1} levels, but {most} steps are asked for")

    # value iteration over the number of steps
    ahead = np.where(np.triu(np.ones(costs.shape, dtype=bool), 1), costs, np.inf)
    value = np.full(cells + 1, np.inf)
    value[cells] = 0.0
    choices: list[np.ndarray] = []
    for _ in range(most):
        total = ahead + discount * value
        choices.append(total.argmin(1))
        value = total.min(1)

    return [_followed(choices[:n]) for n in range(1, most + 1)]


def path_cost(costs: np.ndarray, path: Sequence[int] | np.ndarray) -> float:
    """Return the sum of the costs of a path's steps."""
    return float(costs[path[:-1], path[1:]].sum())


def interpolated_cost(costs: Tensor, grid: np.ndarray, levels: np.ndarray) -> Tensor:
    """Return the cost [..] of levels [N + 1] on or off the grid, from costs [.., M + 1, M + 1].

    Cubic in both levels (Catmull, Rom 1974, in log sigma). On the grid it is the path's cost.
    """
    return _interpolated(costs, torch.as_tensor(np.log(grid)), torch.as_tensor(np.log(levels)))


def refined(
    costs: np.ndarray, grid: np.ndarray, levels: np.ndarray, steps: int = 500, rate: float = 0.02
) -> np.ndarray:
    """Return the levels [N + 1] moved off the grid to a lower interpolated cost, by Adam.

    The ends stay exact.

    log s_i = log s_0 + cumsum(softmax(u))_i log(s_N / s_0), so levels decrease for any u. The
    cheapest levels on the way are returned, the first ones included. Cubics, since a function
    linear in each level is least at a corner, and `cheapest` finds the best corner.
    """
    # the free parameters
    matrix, log_grid = torch.as_tensor(costs), torch.as_tensor(np.log(grid))
    top, span = log_grid[0], log_grid[-1] - log_grid[0]
    u = torch.as_tensor(np.log(-np.diff(np.log(levels)))).clone().requires_grad_()
    optimizer = torch.optim.Adam([u], lr=rate)

    # gradient steps; the best levels on the way are kept
    best, least = np.array(levels, dtype=np.float64), float(interpolated_cost(matrix, grid, levels))
    for _ in range(steps if len(levels) > 2 else 0):
        shares = torch.cat([torch.zeros(1, dtype=torch.float64), u.softmax(0).cumsum(0)[:-1], torch.ones(1).double()])
        logs = top + shares * span

        # keep them if they are better
        cost = _interpolated(matrix, log_grid, logs)
        moved = logs.detach().exp().numpy()
        if float(cost.detach()) < least and (np.diff(moved) < 0).all():
            best[1:-1], least = moved[1:-1], float(cost.detach())

        optimizer.zero_grad()
        cost.backward()
        optimizer.step()

    return best


def _distances(left: Tensor, inside: Tensor) -> Tensor:
    """Return ||left_a - inside_m|| of each trajectory [K, M + 1, M + 1], from differences to avoid cancellation."""
    a, m = (t.double().transpose(0, 1).contiguous() for t in (left, inside))
    return torch.cdist(a, m, compute_mode="donot_use_mm_for_euclid_dist")


def _integrated(density: Tensor, grid: np.ndarray) -> Tensor:
    """Return the integrals of density [K, a, m] over m from g_b to g_a for a <= b, by the trapezium rule."""
    widths = torch.as_tensor(-np.diff(grid), device=density.device)
    cells = (widths * (density[..., :-1] + density[..., 1:]) / 2).triu()  # a step from a has no cells before a
    return torch.nn.functional.pad(cells.cumsum(-1), (1, 0))


def _interpolated(costs: Tensor, log_grid: Tensor, log_levels: Tensor) -> Tensor:
    cell = (torch.searchsorted(-log_grid, -log_levels.detach(), right=True) - 1).clamp(0, len(log_grid) - 2)
    taps, weights = _catmull_rom(cell, (log_levels - log_grid[cell]) / (log_grid[cell + 1] - log_grid[cell]))
    taps = taps.clamp(0, len(log_grid) - 1)
    around = costs[..., taps[:-1, :, None], taps[1:, None, :]]  # [.., N, 4, 4]
    return (around * weights[:-1, :, None] * weights[1:, None, :]).sum((-3, -2, -1))


def _catmull_rom(cell: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the four neighbours of places [n], as a cell and a fraction of it, and their weights [n, 4]."""
    weights = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    return cell[:, None] + torch.arange(-1, 3), torch.stack(weights, 1) / 2


def _followed(choices: Sequence[np.ndarray]) -> np.ndarray:
    """Return the path from level 0 by stored choices, those of the last step first."""
    path = [0]
    for choice in reversed(choices):
        path.append(int(choice[path[-1]]))
    return np.array(path, dtype=np.int64)
