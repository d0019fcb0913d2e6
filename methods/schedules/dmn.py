"""Levels that a multistep solver's own weights ask for: DMN (Xue et al. 2024, arXiv 2402.17376), no network needed.

Of the source (section 4 and the authors' code): a data-prediction error of an assumed size at every level, the total
weight of every output in a multistep exponential integrator (order 1 at the first and the last step, 2 next to them, 3
inside), the sum of weights times sizes minimised by trust-constr, and the two error laws with their starts. Ours: the
code fixes the longest time to 1, here the range is the data set's; the code bounds the first step apart from the
others at any number of steps, here only up to 7; and the start is kept where the search ends worse.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from methods.grids import pinned
from methods.parts import Artifact, PrepareContext, Schedule
from methods.parts import Params as BaseParams
from methods.schedules.logsnr import LogSNR
from methods.schedules.search.learned_levels import found, kept
from methods.schedules.uniform_t import UniformT

FEW = 7
"""Up to this many steps the first ones are bounded step by step."""
APART = 3
"""How many those are."""


class DMN(Schedule):
    """lambda = -log(sigma) minimises sum_n |weight of D_n| * size_n; `error` is the assumed size of an error of D.

    In the VP process's own sigma_t and alpha_t, with sigma = sigma_t / alpha_t: "pixel" is sigma_t / alpha_t = sigma,
    "latent" is sigma_t^2 / alpha_t = sigma^2 / sqrt(1 + sigma^2). The search starts from levels uniform in logSNR
    for pixels and in VP time for latents.
    """

    name = "dmn"
    summary = "levels from the solver's weights alone, DMN-like (Xue 2024)"
    prepares = True
    prepares_for = ("steps",)

    class Params(BaseParams):
        error: Literal["pixel", "latent"] = "pixel"

    def prepare(self, context: PrepareContext) -> Artifact:
        """Minimise the bound between the two ends."""
        start_from = LogSNR() if self.params.error == "pixel" else UniformT()
        start = start_from.levels(context.steps, context.sigma_min, context.sigma_max)
        best, before = start, bound(-np.log(start), self.params.error)
        if context.steps > 1:
            levels = np.exp(-_minimised(-np.log(start), self.params.error))
            if np.all(np.diff(levels) < 0) and bound(-np.log(levels), self.params.error) < before:
                best = pinned(levels, context.sigma_min, context.sigma_max)
        return kept(best, objective=bound(-np.log(best), self.params.error), objective_at_start=before)

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        return found(self.name, artifact, steps, sigma_min, sigma_max)


def step_weights(lambdas: np.ndarray) -> np.ndarray:
    """Return what each step gives each output, [steps, steps], of lambda = -log(sigma) [steps + 1].

    Row n holds the integrals of exp(lambda) times the Lagrange polynomials through the step's last 1, 2 or 3 outputs
    over the step, so that x_N = s_N (x_0 / s_0 + sum_n sum_m W[n, m] D_m).
    """
    steps = len(lambdas) - 1
    h = np.diff(lambdas)
    zeroth = np.expm1(h)  # integrals of u^j exp(u) over [0, h]: H0, H1, H2 of the source
    first = h * np.exp(h) - zeroth
    second = h**2 * np.exp(h) - 2 * first
    n = np.arange(steps)
    order = np.minimum(np.minimum(n + 1, steps - n), 3)
    weights = np.diag(np.where(order == 1, zeroth, 0.0))

    k = n[order == 2]
    a = lambdas[k] - lambdas[k - 1]
    weights[k, k] = zeroth[k] + first[k] / a
    weights[k, k - 1] = -first[k] / a

    k = n[order == 3]
    a, b = lambdas[k] - lambdas[k - 1], lambdas[k] - lambdas[k - 2]
    weights[k, k] = zeroth[k] + (second[k] + (a + b) * first[k]) / (a * b)
    weights[k, k - 1] = -(second[k] + b * first[k]) / (a * (b - a))
    weights[k, k - 2] = (second[k] + a * first[k]) / (b * (b - a))
    return weights * np.exp(lambdas[:-1])[:, None]


def bound(lambdas: np.ndarray, error: str) -> float:
    """Return the bound on the final error over s_N that errors of the assumed size make, of lambdas [steps + 1].

    Errors add up with the absolute total weight of their output. Up to 7 steps the first three are bounded one by one,
    by the root of the sum of squares, as their large weights of opposite sign would cancel.
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

    gaps = np.diff(np.vstack([np.zeros(inner), np.eye(inner), np.zeros(inner)]), axis=0)
    ends = np.diff(whole(np.zeros(inner)))
    increasing = LinearConstraint(gaps, -ends, np.inf, keep_feasible=True)

    def objective(free: np.ndarray) -> float:
        return bound(whole(free), error)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "delta_grad == 0.0")  # a step too short to teach the curvature anything
        answer = minimize(objective, lambdas[1:-1], method="trust-constr", constraints=[increasing])
    return whole(answer.x)
