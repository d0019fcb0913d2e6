"""Preconditioning: the clean estimate D(x; sigma) from a raw network F, in EDM's form, VP's and VE's.

Sources: EDM is Karras et al. 2022 (arXiv:2206.00364), table 1 (last column) and equations 7 and 8,
with the training distribution of table 1. VP is the same table's first column for a network
eps(x_t, t) trained in diffusion time, or of what else `predictions` holds; VE is its second.
Flows are in `flow_preconditioning`. Coefficients are computed in the dtype of sigma, float64 on
a grid. The raw network runs in `dtype` (float32), and D is returned in the dtype of x, so a
float64 trajectory loses only the network's own rounding. Noise levels may lie on the host while
states lie on a device: a level is then copied without waiting for the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from methods.networks.predictions import PREDICTIONS
from methods.networks.vp_process import LinearBeta, VpProcess, time_without_process

RawNetwork = Callable[[Tensor, Tensor], Tensor]
"""A raw network: (input [batch, channels, height, width], noise label [batch]) to an output of the input's shape.

One that predicts both image and noise returns twice the channels.
"""


class Coefficients(NamedTuple):
    """The four functions of sigma in Karras et al. 2022, table 1; each of the shape of sigma."""

    skip: Tensor
    out: Tensor
    scale: Tensor
    noise: Tensor


class Draws(NamedTuple):
    """Random draws of a training step: noise levels [batch] and unit noise of the images' shape."""

    sigma: Tensor
    noise: Tensor


class Regression(NamedTuple):
    """The regression problem of a raw network: from `scaled` and `label` [batch] to `target`.

    `in_noise` [batch, 1, 1, 1] turns an error of the raw output into one of the predicted noise (x
    - D) / sigma.
    """

    scaled: Tensor
    label: Tensor
    target: Tensor
    in_noise: Tensor


class Preconditioning(ABC):
    """The coefficients, and D, loss and weights from them."""

    @abstractmethod
    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Return c_skip, c_out, c_in and c_noise of levels, each of the shape of sigma."""

    @abstractmethod
    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Return noise levels [batch] and unit noise [shape] of one training step, float32 on the CPU."""

    @abstractmethod
    def time(self, sigma: Tensor) -> Tensor:
        """Return the diffusion time in [0, 1] of levels; 0 is data.

        Methods schedule by it what runs.
        """

    @abstractmethod
    def level(self, time: Tensor) -> Tensor:
        """Return the level of diffusion times in (0, 1], of the shape of time."""

    def denoise(self, inner: RawNetwork, x: Tensor, sigma: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) (equation 7) for sigma [batch]."""
        c = Coefficients(*(value.to(x.device, non_blocking=True) for value in self.coefficients(sigma)))
        raw = inner((_rows(c.scale, x) * x).to(dtype), c.noise.to(dtype))
        return _rows(c.skip, x) * x + _rows(c.out, x) * raw.to(x.dtype)

    def weight(self, sigma: Tensor) -> Tensor:
        """Return lambda(sigma) = 1 / c_out², which weighs the raw network's errors equally at all levels."""
        return 1 / self.coefficients(sigma).out ** 2

    def regression(self, images: Tensor, draws: Draws, dtype: torch.dtype = torch.float32) -> Regression:
        """Return the raw network's input and label, and the target ((1 - c_skip) y - c_skip sigma n) / c_out."""
        sigma, noise = draws
        c = self.coefficients(sigma)
        noised = images + _rows(sigma, images) * noise
        target = (_rows(1 - c.skip, images) * images - _rows(c.skip * sigma, images) * noise) / _rows(c.out, images)
        return Regression(
            scaled=(_rows(c.scale, images) * noised).to(dtype),
            label=c.noise.to(dtype),
            target=target,
            in_noise=_rows((c.out / sigma).abs(), images),
        )

    def loss(self, inner: RawNetwork, images: Tensor, draws: Draws, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the mean over batch and pixels of lambda(sigma) |D(y + sigma n; sigma) - y|² (equation 2)."""
        problem = self.regression(images, draws, dtype)
        return ((inner(problem.scaled, problem.label).to(images.dtype) - problem.target) ** 2).mean()


@dataclass(frozen=True)
class Edm(Preconditioning):
    """EDM preconditioning for data of standard deviation sigma_data.

    ln(sigma) ~ N(p_mean, p_std²) in training.
    """

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

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Return log-normal noise levels and unit noise."""
        normal = torch.randn(shape[0], generator=generator)
        return Draws((normal * self.p_std + self.p_mean).exp(), torch.randn(shape, generator=generator))

    def time(self, sigma: Tensor) -> Tensor:
        """Return the time of this level in the linear-beta VP process.

        EDM has no diffusion time of its own.
        """
        return time_without_process(sigma)

    def level(self, time: Tensor) -> Tensor:
        """Return the level of that process."""
        return LinearBeta().sigma(time)


@dataclass(frozen=True)
class Vp(Preconditioning):
    """VP preconditioning of a network with its process's label; by default one that predicts the noise.

    Uniform training time, unweighted loss.
    """

    process: VpProcess = field(default_factory=LinearBeta)
    predicts: str = "eps"

    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Return the four functions (table 1, "VP", with c_noise in the network's own unit)."""
        skip, out = PREDICTIONS[self.predicts](sigma)
        return Coefficients(skip=skip, out=out, scale=1 / (1 + sigma**2).sqrt(), noise=self.process.level_label(sigma))

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Return the levels of uniform times and unit noise."""
        uniform = torch.rand(shape[0], generator=generator, dtype=torch.float64)
        sigma = self.process.sigma(self.process.draw(uniform))
        return Draws(sigma.float(), torch.randn(shape, generator=generator))

    def time(self, sigma: Tensor) -> Tensor:
        """Return the process's time."""
        return self.process.time(sigma)

    def level(self, time: Tensor) -> Tensor:
        """Return the process's level."""
        return self.process.sigma(time)


@dataclass(frozen=True)
class VpBoth(Vp):
    """VP preconditioning of a network that predicts image and noise, the channels of the image first.

    Salimans & Ho 2022 (arXiv:2202.00512), section 4. It is sampled and not trained.
    """

    predicts: str = "x0"
    """What the weighted mean of the two estimates stands for."""

    def denoise(self, inner: RawNetwork, x: Tensor, sigma: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return D = w F_x + (1 - w) (x - sigma F_eps), w = sigma² / (1 + sigma²)."""
        level = _rows(sigma.to(x.device, non_blocking=True), x)
        weight = level**2 / (1 + level**2)

        def mean_estimate(scaled: Tensor, label: Tensor) -> Tensor:
            raw = inner(scaled, label).to(x.dtype)
            if raw.shape[1] != 2 * x.shape[1]:
                raise ValueError(f"the network returns {raw.shape[1]} channels; expected {2 * x.shape[1]} for both")
            image, noise = raw.chunk(2, 1)
            return weight * image + (1 - weight) * (x - level * noise)

        return super().denoise(mean_estimate, x, sigma, dtype)

    def regression(self, images: Tensor, draws: Draws, dtype: torch.dtype = torch.float32) -> Regression:
        """Raise TypeError: the two halves have no single target."""
        raise TypeError("a network that predicts both is not trained; take one that predicts eps, x0 or v")


@dataclass(frozen=True)
class Ve(Preconditioning):
    """VE preconditioning (Song et al. 2021, arXiv:2011.13456): F is the noise's opposite, its label ln(sigma / 2).

    ln(sigma) is uniform from 0.02 to 100 in training.
    """

    lowest: float = 0.02
    highest: float = 100.0

    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Return the four functions (table 1, "VE")."""
        one = torch.ones_like(sigma)
        return Coefficients(skip=one, out=sigma, scale=one, noise=(sigma / 2).log())

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Return levels uniform in ln(sigma) and unit noise."""
        uniform = torch.rand(shape[0], generator=generator, dtype=torch.float64)
        sigma = self.lowest * (self.highest / self.lowest) ** uniform
        return Draws(sigma.float(), torch.randn(shape, generator=generator))

    def time(self, sigma: Tensor) -> Tensor:
        """Return the time of this level in the linear-beta VP process."""
        return time_without_process(sigma)

    def level(self, time: Tensor) -> Tensor:
        """Return the level of that process."""
        return LinearBeta().sigma(time)


def _rows(value: Tensor, like: Tensor) -> Tensor:
    """Return `value` [batch] as [batch, 1, 1, 1] in the dtype of `like`."""
    return value.to(like.dtype).reshape(-1, *([1] * (like.ndim - 1)))
