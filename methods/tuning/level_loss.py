"""The denoising loss at the levels that a schedule visits, with a share of the draws elsewhere.

EDM's sum_i p_i lambda(s_i) E|D(y + s_i n; s_i) - y|² (Karras et al. 2022, arXiv:2206.00364,
equation 2), restricted to chosen levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.networks.base import Network
from methods.networks.drawn_loss import DrawnLoss
from methods.networks.preconditioning import Draws

_GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 fill [0, 1) evenly, whatever their number


class LevelLoss:
    """The denoising loss at the levels s_0 ... s_{N-1} of a grid, under EDM's weight lambda(s)."""

    def __init__(self, network: Network, levels: np.ndarray, params: Any) -> None:
        """`levels` [N + 1] are a grid's, of which the last is not evaluated; `params` are LevelTuningParams."""
        assert isinstance(network, DrawnLoss)
        steps = -np.diff(levels) if params.tune_weights == "v" else np.ones(len(levels) - 1)
        self._network = network
        self._draws_anywhere = network.draws
        self._levels = torch.from_numpy(np.array(levels[:-1], dtype=np.float64))
        self._shares = torch.from_numpy(np.cumsum(steps)[:-1] / steps.sum())  # edges of N parts of [0, 1)
        self._jitter = params.tune_jitter
        self._seen = 0

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Return levels float64 [batch] and unit noise.

        Selected levels have their shares even in few draws.
        """
        sigma, noise = self._draws_anywhere(shape, generator)[:2]
        rows = shape[0] - round(self._jitter * shape[0])

        # the selected levels, by a low-discrepancy sequence
        turns = self._seen + torch.arange(rows, dtype=torch.float64)
        part = torch.searchsorted(self._shares, (turns + 0.5) * _GOLDEN % 1, right=True)
        self._seen += rows
        return Draws(torch.cat([self._levels[part], sigma[rows:].double()]), noise)

    def loss_of(self, images: Tensor, draws: Sequence[Tensor]) -> Tensor:
        """Return the mean over batch and pixels of lambda(s) |D(y + s n; s) - y|²."""
        return self.errors_of(images, Draws(*draws)).mean()

    def errors_of(self, images: Tensor, draws: Draws) -> Tensor:
        """Return lambda(s) (D(y + s n; s) - y)² of each pixel."""
        return weighted_errors(self._network, images, draws)


def weighted_errors(network: Network, images: Tensor, draws: Draws) -> Tensor:
    """Return lambda(s) (D(y + s n; s) - y)² of each pixel, lambda(s) = (s² + sigma_data²) / (s sigma_data)²."""
    sigma_data = getattr(network.params, "sigma_data", 0.5)
    sigma = draws.sigma.to(images).view(-1, 1, 1, 1)
    weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    return weight * (network(images + sigma * draws.noise, draws.sigma) - images) ** 2
