"""What stands between a raw network F and the clean estimate D(x; sigma): EDM's preconditioning, and VP's.

Sources: EDM is Karras et al. 2022 (arXiv 2206.00364), table 1 (last column) and equations 7 and 8, with the training
distribution of table 1. VP is the same table's first column for a network eps(x_t, t) trained in diffusion time.
Coefficients are computed in the dtype of sigma (float64 on a grid); the raw network sees `dtype` (float32), and D
comes back in the dtype of x, so that a float64 trajectory loses nothing but what the network itself rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Inner = Callable[[Tensor, Tensor], Tensor]
"""A raw network: (input [batch, channels, height, width], noise label [batch]) to an output of the input's shape."""


class Coefficients(NamedTuple):
    """The four functions of sigma in Karras et al. 2022, table 1; each of the shape of sigma."""

    skip: Tensor
    out: Tensor
    scale: Tensor
    noise: Tensor


class Draws(NamedTuple):
    """What chance decides in a training step: noise levels [batch] and unit noise of the images' shape."""

    sigma: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Edm:
    """EDM preconditioning for data of standard deviation sigma_data; ln(sigma) ~ N(p_mean, p_std²) in training."""

    sigma_data: float
    p_mean: float = -1.2
    p_std: float = 1.2

    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Return c_skip, c_out, c_in and c_noise (table 1, "Ours")."""
        total = sigma**2 + self.sigma_data**2
        return Coefficients(
            skip=self.sigma_data**2 / total,
            out=sigma * self.sigma_data / total.sqrt(),
            scale=1 / total.sqrt(),
            noise=sigma.log() / 4,
        )

    def denoise(self, inner: Inner, x: Tensor, sigma: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) (equation 7) for sigma [batch]."""
        c = self.coefficients(sigma)
        raw = inner((_rows(c.scale, x) * x).to(dtype), c.noise.to(dtype))
        return _rows(c.skip, x) * x + _rows(c.out, x) * raw.to(x.dtype)

    def weight(self, sigma: Tensor) -> Tensor:
        """Return lambda(sigma) = 1 / c_out² (table 1), so that F = 0 has loss 1 at every level."""
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Return noise levels [batch] and unit noise [shape] of one training step, float32 on the CPU."""
        normal = torch.randn(shape[0], generator=generator)
        return Draws((normal * self.p_std + self.p_mean).exp(), torch.randn(shape, generator=generator))

    def loss(self, inner: Inner, images: Tensor, draws: Draws, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the mean over batch and pixels of lambda(sigma) |D(y + sigma n; sigma) - y|² (equation 2)."""
        sigma, noise = draws
        denoised = self.denoise(inner, images + _rows(sigma, images) * noise, sigma, dtype)
        return (_rows(self.weight(sigma), images) * (denoised - images) ** 2).mean()


@dataclass(frozen=True)
class Vp:
    """VP preconditioning of an eps-network in diffusion time; `time_of_sigma` maps sigma [batch] to its t [batch]."""

    time_of_sigma: Callable[[Tensor], Tensor]

    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Return the four functions (table 1, "VP", with c_noise = t(sigma) in the network's own unit)."""
        return Coefficients(
            skip=torch.ones_like(sigma), out=-sigma, scale=1 / (1 + sigma**2).sqrt(), noise=self.time_of_sigma(sigma)
        )

    def denoise(self, inner: Inner, x: Tensor, sigma: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return D(x; sigma) = x - sigma eps(x / sqrt(1 + sigma²), t(sigma)) for sigma [batch]."""
        c = self.coefficients(sigma)
        eps = inner((_rows(c.scale, x) * x).to(dtype), c.noise.to(dtype))
        return x + _rows(c.out, x) * eps.to(x.dtype)


def _rows(value: Tensor, like: Tensor) -> Tensor:
    """Return `value` [batch] as [batch, 1, 1, 1] in the dtype of `like`."""
    return value.to(like.dtype).reshape(-1, *([1] * (like.ndim - 1)))
