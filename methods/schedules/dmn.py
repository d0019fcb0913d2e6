"""Levels from a multistep solver's weights alone, without the network: DMN.

Xue et al. 2024, "Accelerating Diffusion Sampling with Optimized Time Steps" (arXiv:2402.17376).
From section 4 and the authors' code: a data-prediction error of an assumed size at every level.
The total weight of every output in a multistep exponential integrator, of order 1 at the first and
the last step, 2 next to them, 3 inside. The sum of weights times sizes, minimised by trust-constr.
The two error laws with their starts.

Ours: the range is the data set's, where the code fixes the longest time to 1. The first step is
bounded apart from the others only up to 7 steps, in the code at any number. The start is kept
where the search ends worse.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from methods.grids import pinned
from methods.parts import Artifact, PrepareContext, Schedule, ScheduleParams
from methods.schedules.logsnr import LogSNR
from methods.schedules.search.learned_levels import levels_artifact, prepared_levels
from methods.schedules.uniform_t import UniformT

FEW = 7
"""Up to this many steps the first ones are bounded one by one."""
APART = 3
"""The number of those first steps."""


class DMN(Schedule):
    """lambda = -log(sigma) minimises sum_n |weight of D_n| * size_n; `error` is the assumed size of an error of D.

    In the VP process's own sigma_t and alpha_t, with sigma = sigma_t / alpha_t: "pixel" is sigma_t
    / alpha_t = sigma, "latent" is sigma_t^2 / alpha_t = sigma^2 / sqrt(1 + sigma^2). The search
    starts from levels uniform in logSNR for pixels and in VP time for latents.
    """

    name = "dmn"
    summary = "levels from the solver's weights alone, DMN-like (Xue 2024)"
    claim = "The abstract says that the levels are found in under 15 seconds."
    prepares = True
    prepares_for = ("steps",)

    class Params(ScheduleParams):
        error: Literal["pixel", "latent"] = "pixel"

    def prepare(self, context: PrepareContext) -> Artifact:
        """Minimise the bound between the two ends."""
        # start
        start_from = LogSNR() if self.params.error == "pixel" else UniformT()
        start = start_from.levels(context.steps, context.sigma_min, context.sigma_max)
        best, before = start, bound(-np.log(start), self.params.error)

        # search
        if context.steps > 1:
            levels = np.exp(-_minimised(-np.log(start), self.params.error))
            if np.all(np.diff(levels) < 0) and bound(-np.log(levels), self.params.error) < before:
                best = pinned(levels, context.sigma_min, context.sigma_max)

        return levels_artifact(best, objective=bound(-np.log(best), self.params.error), objective_at_start=before)

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        return prepared_levels(self.name, artifact, steps, sigma_min, sigma_max)


def step_weights(lambdas: np.ndarray) -> np.ndarray:
    """Return the weight of each output in each step, [steps, steps], for lambda = -log(sigma) [steps + 1].

    Row n holds the integrals over the step of exp(lambda) times the Lagrange polynomials through
    its last 1, 2 or 3 outputs, so that x_N = s_N (x_0 / s_0 + sum_n sum_m W[n, m] D_m).
    """
    # integrals of u^j exp(u) over [0, h]: H0, H1, H2 of the paper
    steps = len(lambdas) - 1
    h = np.diff(lambdas)
    zeroth = np.expm1(h)
    first = h * np.exp(h) - zeroth
    second = h**2 * np.exp(h) - 2 * first

    # order 1
    n = np.arange(steps)
    order = np.minimum(np.minimum(n + 1, steps - n), 3)
    weights = np.diag(np.where(order == 1, zeroth, 0.0))

    # order 2
    k = n[order == 2]
    a = lambdas[k] - lambdas[k - 1]
    weights[k, k] = zeroth[k] + first[k] / a
    weights[k, k - 1] = -first[k] / a

    # order 3
    k = n[order == 3]
    a, b = lambdas[k] - lambdas[k - 1], lambdas[k] - lambdas[k - 2]
    weights[k, k] = zeroth[k] + (second[k] + (a + b) * first[k]) / (a * b)
    weights[k, k - 1] = -(second[k] + b * first[k]) / (a * (b - a))
    weights[k, k - 2] = (second[k] + a * first[k]) / (b * (b - a))
    return weights * np.exp(lambdas[:-1])[:, None]


def bound(lambdas: np.ndarray, error: str) -> float:
    """Return the bound on the final error over s_N from errors of the assumed size, for lambdas [steps + 1].

    Errors add up with the absolute total weight of their output. Up to 7 steps the first three
    steps are bounded one by one, by the root of the sum of squares: their large weights of
    opposite sign would cancel.
    """
    sigma = np.exp(-lambdas[:-1])
    size = sigma if error == "pixel" else sigma**2 / np.sqrt(1 + sigma**2)
    parts = step_weights(lambdas) * size
    apart = APART if len(sigma) <= FEW else 0
    return float(np.sqrt((parts[:apart] ** 2).sum(1)).sum() + np.abs(parts[apart:].sum(0)).sum())


def _minimised(lambdas: np.ndarray, error: str) -> np.ndarray:
    """Return lambdas [steps + 1] between the same ends at a minimum of the bound, as trust-constr finds it."""
    from scipy.optimize import LinearConstraint, minimize  # here, because a plan does without scipy

    first, last, inner = lambdas[0], lambdas[-1], len(lambdas) - 2

    def whole(free: np.ndarray) -> np.ndarray:
        return np.concatenate(([first], free, [last]))

    # levels must increase in lambda
    gaps = np.diff(np.vstack([np.zeros(inner), np.eye(inner), np.zeros(inner)]), axis=0)
    ends = np.diff(whole(np.zeros(inner)))
    increasing = LinearConstraint(gaps, -ends, np.inf, keep_feasible=True)

    # search
    def objective(free: np.ndarray) -> float:
        return bound(whole(free), error)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "delta_grad == 0.0")  # a step too short for the curvature estimate
        result = minimize(objective, lambdas[1:-1], method="trust-constr", constraints=[increasing])
    return whole(result.x)
