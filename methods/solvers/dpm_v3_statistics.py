"""Statistics l, s, b of a network for DPM-Solver-v3, and the integrals of a step that they give.

Zheng et al. 2023 (arXiv:2310.13268), with lam = -log sigma, all per channel and pixel. Of f =
(1 - l) x - D: l = 1 - E[diag(dD/dx)] minimises E|df/dx|^2, and s, b are the least-squares line
from f to its derivative f' along the flow. Ours: states lie on the frozen network's own
trajectories, by Heun's method; diagonals are estimated by one probe of random signs per image, the
same at all levels, so that l is smooth in lam; f' are differences along the trajectories.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from methods.networks.base import Network
from methods.parts import Artifact, PrepareContext
from methods.schedules.search.teacher import denoised, starts

_ROWS = 64  # states evaluated at once
_TINY = 1e-12


def measure_statistics(context: PrepareContext, states: int, cells: int) -> Artifact:
    """Return l, s and b at cells + 1 levels even in log sigma, float64 [cells + 1, c, h, w], from so many trajectories.

    The fact `explained` is the share of the variance of f' that s and b explain.
    """
    grid = np.geomspace(context.sigma_max, context.sigma_min, cells + 1)
    x = starts(context, 0, states)
    signs = torch.rand(x.shape, generator=torch.Generator().manual_seed(context.seed)).to(x) < 0.5
    probes = torch.where(signs, -1.0, 1.0).to(x)

    # f along the trajectories
    linear, residuals = [], []
    for k in context.passes(cells + 1):
        estimate, diagonal = _diagonal_of(context.network, x, float(grid[k]), probes)
        linear.append(1 - diagonal)
        residuals.append((diagonal * x - estimate).float().cpu())
        if k < cells:
            x = _heun_step(context.network, x, estimate, float(grid[k]), float(grid[k + 1]))
    return fit_statistics(torch.stack(linear).cpu(), residuals, grid)


def fit_statistics(linear: Tensor, residuals: list[Tensor], grid: np.ndarray) -> Artifact:
    """Return the artifact of l [levels, c, h, w] and of f [images, c, h, w] at each level of an even grid in log."""
    gap, last = math.log(grid[0] / grid[1]), len(grid) - 1
    slopes, heights, left, total = [], [], 0.0, 0.0
    for k, f in enumerate(residuals):
        before, after = max(k - 1, 0), min(k + 1, last)
        f, change = f.double(), (residuals[after].double() - residuals[before].double()) / ((after - before) * gap)

        # the line from f to f'
        f_mean, change_mean = f.mean(0), change.mean(0)
        around, change_around = f - f_mean, change - change_mean
        variance = (around**2).mean(0)
        covariance = (around * change_around).mean(0)
        slope = torch.where(variance > _TINY, covariance / variance.clamp(min=_TINY), 0.0)
        slopes.append(slope)
        heights.append(change_mean - slope * f_mean)
        left += float(((change_around - slope * around) ** 2).sum())
        total += float((change_around**2).sum())

    tensors = {"l": linear, "s": torch.stack(slopes), "b": torch.stack(heights)}
    facts = {
        "sigma_max": float(grid[0]),
        "sigma_min": float(grid[-1]),
        "explained": 1 - left / total if total > 0 else 1.0,
    }
    return Artifact({name: value.double().contiguous() for name, value in tensors.items()}, facts)


def _diagonal_of(network: Network, x: Tensor, sigma: float, probes: Tensor) -> tuple[Tensor, Tensor]:
    """Return D [rows, c, h, w], and the mean over rows of the estimated diagonal of dD/dx [c, h, w]."""
    estimates, total = [], torch.zeros_like(x[0])
    for first in range(0, len(x), _ROWS):
        rows = x[first : first + _ROWS].detach().requires_grad_()
        signs = probes[first : first + _ROWS]
        with torch.enable_grad():
            estimate = denoised(network, rows, sigma)
            (found,) = torch.autograd.grad((estimate * signs).sum(), rows)
        estimates.append(estimate.detach())
        total += (found * signs).sum(0)
    return torch.cat(estimates), total / len(x)


@torch.no_grad()
def _heun_step(network: Network, x: Tensor, estimate: Tensor, s: float, s_next: float) -> Tensor:
    """Return the states at s_next, from those at s and D there."""
    slope = (x - estimate) / s
    ahead = x + (s_next - s) * slope
    reached = torch.cat([denoised(network, rows, s_next) for rows in ahead.split(_ROWS)])
    return x + (s_next - s) * (slope + (ahead - reached) / s_next) / 2


class StepIntegrals(NamedTuple):
    """What a step from s to s' needs of the statistics, each [c, h, w]; integrals are over lam from s to s'.

    With L, S the integrals of l and s, B that of e^-S b: x' = keep x - shift - sum_k weights_k c_k,
    c_k the coefficients of g in powers of lam - lam_s.
    """

    keep: Tensor
    """e^-L."""
    shift: Tensor
    """e^-L times the integral of e^(L+S) B."""
    weights: tuple[Tensor, ...]
    """e^-L times the integral of e^(L+S) (lam - lam_s)^k, k = 0 ... 3."""
    growth: Tensor
    """e^S."""
    drift: Tensor
    """B."""


class StatisticsOfLevels:
    """l, s and b as functions of lam, by cubic splines; beyond their range those of its end.

    Without an artifact l = 1, s = b = 0: the degenerate choice that is DPM-Solver++.
    """

    def __init__(self, artifact: Artifact | None) -> None:
        self._spline: _Spline | None = None
        if artifact is not None:
            lam = -np.linspace(
                math.log(artifact.facts["sigma_max"]), math.log(artifact.facts["sigma_min"]), len(artifact.tensors["l"])
            )
            self._spline = _Spline(lam, (artifact.tensors[name].numpy() for name in ("l", "s", "b")))
        self._made: dict[tuple[object, ...], tuple[Tensor, ...]] = {}

    def linear_at(self, sigma: float, like: Tensor) -> Tensor:
        """Return l at a level [c, h, w], of the type and on the device of `like`."""
        key = (sigma, like.dtype, like.device)
        if key not in self._made:
            self._made[key] = (torch.from_numpy(self._values(np.array([-math.log(sigma)]))[0][0]).to(like),)
        return self._made[key][0]

    def interval(self, s: float, s_next: float, like: Tensor) -> StepIntegrals:
        """Return the integrals of a step, of the type and on the device of `like`; kept for the next call."""
        key = (s, s_next, like.dtype, like.device)
        if key not in self._made:
            made = self._integrate(-math.log(s), math.log(s / s_next))
            keep, shift, growth, drift, *weights = (torch.from_numpy(value).to(like) for value in made)
            self._made[key] = (keep, shift, growth, drift, *weights)
        keep, shift, growth, drift, *weights = self._made[key]
        return StepIntegrals(keep, shift, tuple(weights), growth, drift)

    def _values(self, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return l, s and b at lam [n], each [n, c, h, w]."""
        if self._spline is None:
            one = np.ones((len(lam), 1, 1, 1))
            return one, 0 * one, 0 * one
        return self._spline.values(lam)

    def _integrate(self, begin: float, h: float) -> tuple[np.ndarray, ...]:
        """Return keep, shift, growth, drift and the weights of a step, by Gauss and Legendre."""
        nodes, rule, running = _integration()
        ahead = h * (nodes + 1) / 2
        linear, slope, height = self._values(begin + ahead)
        half = h / 2

        # L, S and B at the nodes and at the end
        grown, scaled = (half * np.tensordot(running, value, 1) for value in (linear, slope))
        drifted = half * np.tensordot(running, np.exp(-scaled[:-1]) * height, 1)
        keep, inner = np.exp(-grown[-1]), np.exp(grown[:-1] + scaled[:-1])

        powers = [half * np.tensordot(rule * ahead**k, inner, 1) for k in range(4)]
        shift = half * np.tensordot(rule, inner * drifted[:-1], 1)
        return keep, keep * shift, np.exp(scaled[-1]), drifted[-1], *(keep * power for power in powers)


class _Spline:
    """Cubic splines through arrays [levels, c, h, w] over lam."""

    def __init__(self, lam: np.ndarray, arrays: Iterable[np.ndarray]) -> None:
        from scipy.interpolate import CubicSpline  # here, because a plan does without scipy

        self._ends = lam[0], lam[-1]
        self._splines = [CubicSpline(lam, array) for array in arrays]

    def values(self, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        linear, slope, height = (spline(lam.clip(*self._ends)) for spline in self._splines)
        return linear, slope, height


def _integration(n: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Gauss and Legendre's nodes and weights [n] on (-1, 1), and the matrix of integrals from -1.

    Its rows [n + 1, n] give them up to each node and to 1, for values at the nodes.
    """
    nodes, rule = np.polynomial.legendre.leggauss(n)
    ends = np.append(nodes, 1.0)
    values = np.polynomial.legendre.legvander(ends, n)
    integrals = np.column_stack([ends + 1, *((values[:, k + 1] - values[:, k - 1]) / (2 * k + 1) for k in range(1, n))])
    return nodes, rule, integrals @ np.linalg.inv(np.polynomial.legendre.legvander(nodes, n - 1))
