"""Trained networks: a raw network under one of the preconditionings, with its training loss."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from methods.networks.base import DataShape, Network, NetworkParams
from methods.networks.flow_preconditioning import GvpFlow, LinearFlow, ReversedLinearFlow
from methods.networks.preconditioning import Draws, Edm, Preconditioning, RawNetwork, Regression, Ve, Vp, VpBoth
from methods.networks.predictions import PREDICTIONS
from methods.networks.vp_process import (
    BetaSchedule,
    BetaTable,
    CosineBeta,
    DiscreteBeta,
    LinearBeta,
    ScaledLinearBeta,
    Timesteps,
    VpProcess,
)

_WITHOUT_CHOICE: dict[str, Callable[[], VpProcess]] = {"vp": LinearBeta, "cosine": CosineBeta}
_TABLES: dict[str, type[DiscreteBeta]] = {"vp-discrete": DiscreteBeta, "vp-latent": ScaledLinearBeta}
_FLOWS: dict[str, Callable[[], Preconditioning]] = {
    "flow": LinearFlow,
    "flow-reversed": ReversedLinearFlow,
    "gvp": GvpFlow,
}


class BetaParams(BaseModel):
    """The betas of a discrete process; by default DDPM's. The cosine has neither start nor end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(default=1e-4, gt=0, lt=1)
    end: float = Field(default=0.02, gt=0, lt=1)
    schedule: BetaSchedule = "linear"
    steps: int = Field(default=1000, ge=2, le=100_000)

    def table(self) -> BetaTable:
        """Return them as a process takes them."""
        return BetaTable(self.start, self.end, self.schedule, self.steps)


class PreconditionedParams(NetworkParams):
    """Which process and preconditioning a network has, what it predicts, and the scale of its noise label."""

    can_predict_both: ClassVar[bool] = False
    """Whether the family has twice the channels at its end for a network that predicts both."""
    preconditioning: Literal[
        "edm", "vp", "vp-discrete", "vp-latent", "cosine", "ve", "flow", "flow-reversed", "gvp"
    ] = "edm"
    """edm and ve are those of Karras et al.

    vp: the label is 999 t of the linear-beta SDE; vp-discrete: the step of a table, 0 ... 999 of
    DDPM's; vp-latent: step 1 ... 1000 of Stable Diffusion's betas; cosine: whole step 0 ... 999 of
    iDDPM's. flow: SiT's linear path, 1 is data; flow-reversed: 0 is data; gvp: SiT's other path.
    """
    predicts: Literal["eps", "x0", "v", "velocity", "both"] | None = None
    """eps, x0, v or both under vp, vp-discrete, vp-latent and cosine, where none is eps.

    velocity under a flow.
    """
    betas: BetaParams | None = None
    """Of vp-discrete; without them DDPM's."""
    timesteps: Timesteps | None = None
    """Of vp-discrete and vp-latent: the label between two steps; without it interpolated."""
    sigma_data: float = Field(default=0.5, gt=0)
    p_mean: float = -1.2
    p_std: float = Field(default=1.2, gt=0)
    time_scale: float = Field(default=1.0, gt=0)
    """Factor on the noise label before the sinusoidal embedding, whose shortest period is 2 pi."""

    @property
    def known_levels(self) -> tuple[float, float]:
        """Return the ends of its process; all above 0 for what has none."""
        name = self.preconditioning
        return _make_process(self).ends if name in _WITHOUT_CHOICE or name in _TABLES else (0.0, math.inf)

    @property
    def table(self) -> BetaTable | None:
        """Return the betas on whose steps it is trained; None for a process of all levels."""
        process = _make_process(self) if self.preconditioning in (*_TABLES, "cosine") else None
        return process.table if isinstance(process, DiscreteBeta) else None

    @model_validator(mode="after")
    def _process_has_what_is_given(self) -> PreconditionedParams:
        name = self.preconditioning
        allowed = _predictions_under(name)
        if self.predicts is not None and self.predicts not in allowed:
            raise ValueError(f'predicts = "{self.predicts}" under {name}; expected {" or ".join(allowed) or "none"}')
        if self.predicts == "both" and not self.can_predict_both:
            raise ValueError('predicts = "both" needs twice the channels at the end, which this family does not have')
        if self.betas is not None and name != "vp-discrete":
            raise ValueError(f"betas are given under {name}; expected them under vp-discrete alone")
        if self.timesteps is not None and name not in _TABLES:
            raise ValueError(f"timesteps are given under {name}; expected them under {' or '.join(_TABLES)}")
        return self


def make_preconditioning(params: PreconditionedParams) -> Preconditioning:
    """Return the preconditioning that parameters describe."""
    name = params.preconditioning
    if name == "edm":
        return Edm(params.sigma_data, params.p_mean, params.p_std)
    if name == "ve":
        return Ve()
    if name in _FLOWS:
        return _FLOWS[name]()

    process = _make_process(params)
    return VpBoth(process) if params.predicts == "both" else Vp(process, params.predicts or "eps")


def _make_process(params: PreconditionedParams) -> VpProcess:
    name = params.preconditioning
    if name in _TABLES:
        table = None if params.betas is None else params.betas.table()
        return _TABLES[name](table, params.timesteps or "interpolate")
    return _WITHOUT_CHOICE[name]()


def _predictions_under(name: str) -> tuple[str, ...]:
    """Return what a network may predict under a preconditioning by name."""
    if name in _WITHOUT_CHOICE or name in _TABLES:
        return (*PREDICTIONS, "both")
    return ("velocity",) if name in _FLOWS else ()


class PreconditionedNetwork(Network):
    """D(x; sigma) from `raw`, a function of a scaled input and a noise label."""

    params: PreconditionedParams

    def __init__(self, params: PreconditionedParams, data: DataShape) -> None:
        super().__init__(params, data)
        self.preconditioning = make_preconditioning(params)

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
