"""DEIS: the noise estimate as a polynomial in diffusion time through earlier levels, integrated exactly.

Zhang, Chen 2023, "Fast Sampling of Diffusion Models with Exponential Integrator"
(arXiv:2204.13902), variant tAB, and its variable-step Adams-Bashforth in sigma, variant rhoAB.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from methods.networks.vp_process import LinearBeta
from methods.parts import Artifact, Denoise, Solver, StepNoise
from methods.parts import Params as BaseParams

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


class DEIS(Solver):
    """x' = x + sum_j C_j d_j, d_j = (x - D) / s at the newest levels, C_j the integral of their Lagrange polynomials.

    C_j is the integral of l_j(t(sigma)) over sigma from s to s'. t is the time of the linear-beta
    VP process, or sigma itself. `order` is the polynomial's degree, so tAB3 reads four outputs;
    first steps read those that are there. The first step's error leaves order 2 in all.
    """

    name = "deis"
    summary = "exponential integrator with polynomials in time, tAB3 (Zhang, Chen 2023)"
    order = 2
    multistep = True

    class Params(BaseParams):
        order: int = Field(3, ge=1, le=3)
        time: Literal["vp", "sigma"] = "vp"
        """sigma: rhoAB in place of tAB."""

    def init_memory(self, artifact: Artifact | None) -> list[Tensor]:
        """Return the memory: the noise estimates d of earlier steps, newest first."""
        return []

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        s = float(sigmas[i])
        memory.insert(0, (x - denoise(x, s)) / s)
        del memory[self.params.order + 1 :]

        read = tuple(float(level) for level in sigmas[i : i - len(memory) if i >= len(memory) else None : -1])
        weights = lagrange_weights(read, float(sigmas[i + 1]), self.params.time)
        return x + sum(weight * d for weight, d in zip(weights, memory, strict=True))


@lru_cache(maxsize=4096)
def lagrange_weights(levels: Sequence[float], end: float, time: str) -> tuple[float, ...]:
    """Return the integrals from levels[0] to `end` of the Lagrange polynomials through the levels' times.

    By 48 points of Gauss and Legendre in sigma, float64.
    """
    begin = levels[0]
    sigma = begin + (end - begin) * (_NODES + 1) / 2
    place, places = _time(sigma, time), _time(np.array(levels), time)
    found = []
    for j in range(len(levels)):
        others = np.delete(places, j)
        values = np.prod((place[:, None] - others) / (places[j] - others), axis=1)
        found.append(float((end - begin) / 2 * (_WEIGHTS * values).sum()))
    return tuple(found)


def _time(sigma: np.ndarray, time: str) -> np.ndarray:
    """Return the linear-beta VP process's time of levels, beyond its end too, or the levels."""
    if time == "sigma":
        return sigma
    low, slope = LinearBeta.beta_min, LinearBeta.beta_max - LinearBeta.beta_min
    integral = np.log1p(sigma**2)
    return 2 * integral / (low + np.sqrt(low**2 + 2 * slope * integral))
