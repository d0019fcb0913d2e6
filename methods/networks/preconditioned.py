"""Trained networks: a raw network under one of the preconditionings, with its training loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.networks.base import DataShape, Network, NetworkParams
from methods.networks.preconditioning import Draws, Edm, Preconditioning, RawNetwork, Regression, Vp
from methods.networks.vp_process import DiscreteBeta, LinearBeta, ScaledLinearBeta

_PRECONDITIONINGS: dict[str, Callable[[PreconditionedParams], Preconditioning]] = {
    "edm": lambda p: Edm(p.sigma_data, p.p_mean, p.p_std),
    "vp": lambda p: Vp(LinearBeta()),
    "vp-discrete": lambda p: Vp(DiscreteBeta()),
    "vp-latent": lambda p: Vp(ScaledLinearBeta()),
}


class PreconditionedParams(NetworkParams):
    """Which preconditioning a network has, with EDM's constants, and the scale of its noise label."""

    preconditioning: Literal["edm", "vp", "vp-discrete", "vp-latent"] = "edm"
    """The VP ones are of eps-networks.

    vp: the label is 999 t of the linear-beta SDE; vp-discrete: DDPM's step 0 ... 999; vp-latent:
    step 1 ... 1000 of Stable Diffusion's betas.
    """
    sigma_data: float = Field(default=0.5, gt=0)
    p_mean: float = -1.2
    p_std: float = Field(default=1.2, gt=0)
    time_scale: float = Field(default=1.0, gt=0)
    """Factor on the noise label before the sinusoidal embedding, whose shortest period is 2 pi."""


class PreconditionedNetwork(Network):
    """D(x; sigma) from `raw`, a function of a scaled input and a noise label."""

    params: PreconditionedParams

    def __init__(self, params: PreconditionedParams, data: DataShape) -> None:
        super().__init__(params, data)
        self.preconditioning = _PRECONDITIONINGS[params.preconditioning](params)

    @abstractmethod
    def raw(self, scaled: Tensor, label: Tensor) -> Tensor:
        """Return F [batch, channels, height, width] of a scaled input of that shape and labels [batch]."""

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return D(x; sigma) of the whole network [batch, channels, height, width] in the dtype of x."""
        return self.denoised(self.raw, x, sigma)

    def denoised(self, raw: RawNetwork, x: Tensor, sigma: Tensor) -> Tensor:
        """Return D(x; sigma) from any raw network in place of `raw`, sigma [batch] on the host or the device."""
        return self.preconditioning.denoise(raw, x, sigma, self.dtype)

    def diffusion_time(self, sigma: Tensor) -> Tensor:
        """Return the preconditioning's diffusion time of levels."""
        return self.preconditioning.time(sigma)

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Sequence[Tensor]:
        """Return the random draws of a training step on images of this shape."""
        return self.preconditioning.draws(shape, generator)

    def loss_of(self, images: Tensor, draws: Sequence[Tensor]) -> Tensor:
        """Return the training loss for given draws, a mean over batch and pixels."""
        return self.preconditioning.loss(self.raw, images, Draws(*draws), self.dtype)

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean loss of clean images [batch, channels, height, width] in [-1, 1]."""
        drawn = self.draws(tuple(images.shape), generator)
        return self.loss_of(images, [draw.to(images.device, images.dtype) for draw in drawn])

    def regression(self, images: Tensor, draws: Draws) -> Regression:
        """Return the raw network's regression problem in its own number format.

        Levels may lie on the host.
        """
        draws = Draws(draws.sigma.to(images.device, non_blocking=True), draws.noise)
        return self.preconditioning.regression(images, draws, self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Return the number format of the weights."""
        return next(self.parameters()).dtype
