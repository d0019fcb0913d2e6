"""Diffusion time of variance-preserving processes as a function of the noise level, in EDM's coordinates.

`time` runs from 0 (data) to 1 (noise); `label` is the time input of a network trained under the
process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

BetaSchedule = Literal["linear", "scaled-linear", "cosine"]
"""Betas linear, of linear square roots, or of the squared cosine (Nichol & Dhariwal 2021, arXiv:2102.09672)."""
Timesteps = Literal["interpolate", "nearest"]
"""Label of a level between two steps of a table: between theirs, or that of the step with the nearest level."""
_LARGEST_BETA, _COSINE_OFFSET = 0.999, 0.008


class VpProcess(Protocol):
    """Time of a level, level of a time, and the network's own unit of time; any shape, float64."""

    def time(self, sigma: Tensor) -> Tensor:
        """Return the time in [0, 1] of levels sigma > 0.

        Levels outside the process get its nearest end.
        """

    def sigma(self, time: Tensor) -> Tensor:
        """Return the level of times in (0, 1]."""

    def label(self, time: Tensor) -> Tensor:
        """Return the network's noise label of times."""

    def level_label(self, sigma: Tensor) -> Tensor:
        """Return the network's noise label of levels."""

    def draw(self, uniform: Tensor) -> Tensor:
        """Return training times from uniform numbers in [0, 1)."""

    @property
    def ends(self) -> tuple[float, float]:
        """Return the lowest and the highest level that have a label of their own."""


class LinearBeta:
    """Continuous time with beta(t) = 0.1 + 19.9 t, the VP SDE of Song et al. 2021 (arXiv:2011.13456).

    The label of U-ViT's networks is 999 t. sigma(t)² = exp(0.1 t + 9.95 t²) - 1, so sigma(1) =
    152.
    """

    beta_min, beta_max, eps = 0.1, 20.0, 1e-3

    def time(self, sigma: Tensor) -> Tensor:
        """Return t(sigma), the positive root of the exponent's parabola, in a form without cancellation."""
        integral = torch.log1p(sigma**2)
        slope = self.beta_max - self.beta_min
        root = (self.beta_min**2 + 2 * slope * integral).sqrt()
        return (2 * integral / (self.beta_min + root)).clamp(max=1.0)

    def sigma(self, time: Tensor) -> Tensor:
        """Return sigma(t)."""
        return torch.expm1(self.beta_min * time + (self.beta_max - self.beta_min) * time**2 / 2).sqrt()

    def label(self, time: Tensor) -> Tensor:
        """Return 999 t."""
        return 999 * time

    def level_label(self, sigma: Tensor) -> Tensor:
        """Return 999 t of levels."""
        return self.label(self.time(sigma))

    def draw(self, uniform: Tensor) -> Tensor:
        """Return t uniform in [0.001, 1]."""
        return 1 - (1 - self.eps) * uniform

    @property
    def ends(self) -> tuple[float, float]:
        """Return 0 and sigma(1) = 152."""
        return 0.0, float(self.sigma(torch.ones((), dtype=torch.float64, device="cpu")))


@dataclass(frozen=True)
class BetaTable:
    """The variance that each step of a discrete process adds; by default DDPM's."""

    start: float = 1e-4
    end: float = 0.02
    schedule: BetaSchedule = "linear"
    """The cosine has no start and no end."""
    steps: int = 1000

    def values(self) -> Tensor:
        """Return the betas, float64 [steps], on the CPU wherever networks are built."""
        if self.schedule == "linear":
            return torch.linspace(self.start, self.end, self.steps, dtype=torch.float64, device="cpu")
        if self.schedule == "scaled-linear":
            roots = torch.linspace(self.start**0.5, self.end**0.5, self.steps, dtype=torch.float64, device="cpu")
            return roots**2
        u = torch.arange(self.steps + 1, dtype=torch.float64, device="cpu") / self.steps
        alphas = torch.cos((u + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * torch.pi / 2) ** 2
        return (1 - alphas[1:] / alphas[:-1]).clamp(max=_LARGEST_BETA)


class DiscreteBeta:
    """The steps of a table of betas, by default the 1000 of DDPM (Ho et al. 2020, arXiv:2006.11239).

    The label of networks such as DiT is tau = 0 ... 999. Between two steps tau is interpolated in
    ln sigma, unless the nearest step is wanted; time is tau / steps.
    """

    first_label = 0
    usual_table = BetaTable()

    def __init__(self, table: BetaTable | None = None, timesteps: Timesteps = "interpolate") -> None:
        self.table = table = self.usual_table if table is None else table
        self.steps, self.timesteps = table.steps, timesteps
        alphas = (1 - table.values()).cumprod(0)
        self._log_sigmas = ((1 - alphas) / alphas).log() / 2  # increasing with tau

    def time(self, sigma: Tensor) -> Tensor:
        """Return tau(sigma) / steps."""
        table = self._log_sigmas.to(sigma.device)
        log = sigma.to(table.dtype).log().clamp(table[0], table[-1])
        above = torch.searchsorted(table, log).clamp(1, self.steps - 1)
        low, high = table[above - 1], table[above]
        return (above - 1 + (log - low) / (high - low)) / self.steps

    def sigma(self, time: Tensor) -> Tensor:
        """Return the level of tau = steps time, at most that of the last step."""
        table = self._log_sigmas.to(time.device)
        tau = (time.to(table.dtype) * self.steps).clamp(0, self.steps - 1)
        below = tau.floor().long().clamp(max=self.steps - 2)
        return torch.lerp(table[below], table[below + 1], tau - below).exp()

    def label(self, time: Tensor) -> Tensor:
        """Return tau, counted from the label of the first step."""
        return self.steps * time + self.first_label

    def level_label(self, sigma: Tensor) -> Tensor:
        """Return tau of levels, counted so; a whole number where the nearest step is wanted."""
        if self.timesteps == "interpolate":
            return self.label(self.time(sigma))
        table = self._log_sigmas.exp().to(sigma.device)
        level = sigma.to(table.dtype).contiguous()
        above = torch.searchsorted(table, level).clamp(1, self.steps - 1)
        is_below = level - table[above - 1] < table[above] - level
        return (above - is_below.long() + self.first_label).to(table.dtype)

    def draw(self, uniform: Tensor) -> Tensor:
        """Return uniform whole steps."""
        return (uniform * self.steps).floor() / self.steps

    @property
    def ends(self) -> tuple[float, float]:
        """Return the levels of the first and the last step."""
        return float(self._log_sigmas[0].exp()), float(self._log_sigmas[-1].exp())

    def step_levels(self, taus: Sequence[int]) -> Tensor:
        """Return the levels of steps 0 ... steps - 1, float64 [len(taus)]."""
        return self._log_sigmas[list(taus)].exp()


class ScaledLinearBeta(DiscreteBeta):
    """The 1000 steps of Stable Diffusion (Rombach et al. 2022, arXiv:2112.10752).

    sqrt(beta) is linear from 0.00085 to 0.012.

    The label of U-ViT's networks on its latents is n = 1 ... 1000, as in
    stable_diffusion_beta_schedule of github.com/baofff/U-ViT.
    """

    first_label = 1
    usual_table = BetaTable(0.00085, 0.012, "scaled-linear")


class CosineBeta(DiscreteBeta):
    """The 1000 steps of the squared cosine (Nichol & Dhariwal 2021, arXiv:2102.09672), as iDDPM and ADM have them.

    The network sees whole steps alone. Levels are 0.0064 to 642, and 20291 where beta is cut at 0.999.
    """

    usual_table = BetaTable(schedule="cosine")

    def __init__(self) -> None:
        super().__init__(timesteps="nearest")


def time_without_process(sigma: Tensor) -> Tensor:
    """Return LinearBeta's time of levels, for a network without a diffusion time of its own."""
    return LinearBeta().time(sigma)
