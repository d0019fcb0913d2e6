"""Preconditioning of networks that predict the velocity of a path between noise and data.

Sources: the linear path is Liu, Gong, Liu 2023 (arXiv:2209.03003) and Lipman et al. 2023
(arXiv:2210.02747); direction, label and the GVP path are those of SiT, Ma et al. 2024
(arXiv:2401.08740). A path alpha y + beta n has the level sigma = beta / alpha, and the network sees
alpha x. Its velocity is solved for y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.networks.preconditioning import Coefficients, Draws, Preconditioning

_FIRST, _LAST = 0.001, 0.999
"""Share of the path in training; its ends have the levels 0 and infinity."""


class VelocityPath(Preconditioning):
    """A path of velocities; its time is uniform in training."""

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Return the levels of uniform times and unit noise."""
        uniform = torch.rand(shape[0], generator=generator, dtype=torch.float64)
        sigma = self.level(_FIRST + (_LAST - _FIRST) * uniform)
        return Draws(sigma.float(), torch.randn(shape, generator=generator))


class LinearPath(VelocityPath):
    """x_t = (1 - u) y + u n with u = sigma / (1 + sigma)."""

    def time(self, sigma: Tensor) -> Tensor:
        """Return u."""
        return sigma / (1 + sigma)

    def level(self, time: Tensor) -> Tensor:
        """Return the level of u."""
        return time / (1 - time)


@dataclass(frozen=True)
class LinearFlow(LinearPath):
    """SiT's direction: F = y - n, and the label is t = 1 - u, 1 at the data."""

    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Return the four functions; y = (x + sigma F) / (1 + sigma)."""
        share = 1 / (1 + sigma)
        return Coefficients(skip=share, out=sigma * share, scale=share, noise=share)


@dataclass(frozen=True)
class ReversedLinearFlow(LinearPath):
    """The other direction: F = n - y, and the label is u, 0 at the data."""

    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Return the four functions; y = (x - sigma F) / (1 + sigma)."""
        share = 1 / (1 + sigma)
        return Coefficients(skip=share, out=-sigma * share, scale=share, noise=sigma * share)


@dataclass(frozen=True)
class GvpFlow(VelocityPath):
    """SiT's generalised variance-preserving path, x_t = sin(pi t / 2) y + cos(pi t / 2) n, t = 1 at the data."""

    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Return the four functions; F = (pi / 2) c_in (sigma y - n)."""
        scale = 1 / (1 + sigma**2).sqrt()
        label = torch.atan(1 / sigma) * 2 / math.pi
        return Coefficients(skip=scale**2, out=sigma * scale * 2 / math.pi, scale=scale, noise=label)

    def time(self, sigma: Tensor) -> Tensor:
        """Return 1 - t."""
        return torch.atan(sigma) * 2 / math.pi

    def level(self, time: Tensor) -> Tensor:
        """Return the level of 1 - t."""
        return torch.tan(time * math.pi / 2)
