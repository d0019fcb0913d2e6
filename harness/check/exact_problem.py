"""A problem whose answer is known: the flow of a Gaussian mixture, by its exact denoiser in double precision."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from harness.check.candidate import EXACT_DATASET, EXACT_NETWORK, usual_parts
from harness.config.network_card import load_network_card
from harness.data.cards import load_card
from harness.registry import registry
from harness.sampling.network import build_network, data_shape
from harness.sampling.noise import ImageNoise
from methods.networks.base import Network

HIGH, LOW = 5.0, 0.05
"""Levels between which the flow bends: above, all solvers agree; below, the images stand."""
_TOLERANCE = 1e-12


class ExactProblem:
    """The probability flow of the mixture from HIGH to LOW, for a few images."""

    def __init__(self) -> None:
        self._data = load_card(EXACT_DATASET).spec()
        self._noise = ImageNoise(self._data.name, 0, self._data.state_shape)
        self._schedule = registry().make("schedule", usual_parts()["schedule"], {})

    @cached_property
    def network(self) -> Network:
        """Return the exact denoiser."""
        return build_network(load_network_card(EXACT_NETWORK).spec(), data_shape(self._data)).double().eval()

    def start(self, rows: int, first: int = 0) -> Tensor:
        """Return the states at HIGH of so many images, float64."""
        return HIGH * self._noise.draw_initial(range(first, first + rows)).double()

    def noise(self, step: int, rows: int) -> Tensor:
        """Return the noise of a step."""
        return self._noise.draw_step(range(rows), step)

    def levels(self, steps: int) -> np.ndarray:
        """Return the usual schedule's levels between HIGH and LOW."""
        return self._schedule.levels(steps, LOW, HIGH)

    @torch.inference_mode()
    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """Return the exact D(x; sigma)."""
        return self.network(x, torch.full((len(x),), sigma, dtype=torch.float64))

    def solve(self, start: Tensor) -> Tensor:
        """Return the states at LOW of the exact flow, by an adaptive method of order 8."""
        from scipy.integrate import solve_ivp

        def slope(log_sigma: float, y: np.ndarray) -> np.ndarray:
            x = torch.from_numpy(y).view_as(start)
            return (x - self.denoise(x, math.exp(log_sigma))).flatten().numpy()

        span = (math.log(HIGH), math.log(LOW))
        flat = start.flatten().numpy()
        found = solve_ivp(slope, span, flat, method="DOP853", rtol=_TOLERANCE, atol=_TOLERANCE)
        return torch.from_numpy(found.y[:, -1].copy()).view_as(start)
