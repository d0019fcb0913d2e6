"""Fine-tuning of a whole network at the levels that a schedule visits, and nowhere else but for a share of the draws.

Phase 2 of the reconstruction of Huang 2024, "Optimizing Few-Step Sampler for Diffusion Probabilistic Model" (arXiv
2412.10786), of which only the abstract was at hand: that the model is tuned at the selected levels is the paper's. Ours
are the loss, EDM's sum_i p_i lambda(s_i) E|D(y + s_i n; s_i) - y|² (Karras et al. 2022, equation 2), the share of draws
from the whole training distribution, which lets a schedule move afterwards, and all sizes. Off the selected levels the
tuned network may be worse than before: how much, the facts say.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from methods.networks.base import Network, NetworkParams
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.drawn_loss import DrawnLoss
from methods.networks.preconditioned import PreconditionedParams
from methods.networks.preconditioning import Draws
from methods.parts import PrepareContext
from methods.tuning import TuningParams, thawed, tune, untunable

_PAIRS = 128  # of images and noises that losses before and after are measured on
_GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 fill [0, 1) evenly, however many there are
_PREFIX = "network."


class LevelTuningParams(TuningParams):
    """How long and how fast a network is tuned at selected levels; 0 steps leave it as it is."""

    tune_lr: float = Field(default=2e-4, gt=0)
    """The networks for 8x8 digits are pre-trained at 20 to 40 times this."""
    tune_weights: Literal["uniform", "v"] = "uniform"
    """How often a level is drawn: as often as any other, or in proportion to its step (s_i - s_{i+1}) / (s_0 - s_N)."""
    tune_jitter: float = Field(default=0.2, ge=0, le=1)
    """Share of the draws whose level is any of pre-training's; 1 trains on as before, the control at equal budget."""


class LevelLoss:
    """The denoising loss at the levels s_0 ... s_{N-1} of a grid, under EDM's weight lambda(s)."""

    def __init__(self, network: Network, levels: np.ndarray, params: LevelTuningParams) -> None:
        """`levels` are a grid's N + 1, of which the last, where a trajectory ends, is not evaluated."""
        assert isinstance(network, DrawnLoss)
        steps = -np.diff(levels) if params.tune_weights == "v" else np.ones(len(levels) - 1)
        self._network = network
        self._draws_anywhere = network.draws
        self._levels = torch.from_numpy(np.array(levels[:-1], dtype=np.float64))
        self._shares = torch.from_numpy(np.cumsum(steps)[:-1] / steps.sum())  # where [0, 1) is cut into N parts
        self._jitter = params.tune_jitter
        self._seen = 0

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Return levels float64 [batch] and unit noise; however few the draws, every selected level has its share."""
        sigma, noise = self._draws_anywhere(shape, generator)[:2]
        rows = shape[0] - round(self._jitter * shape[0])
        turns = self._seen + torch.arange(rows, dtype=torch.float64)
        part = torch.searchsorted(self._shares, (turns + 0.5) * _GOLDEN % 1, right=True)
        self._seen += rows
        return Draws(torch.cat([self._levels[part], sigma[rows:].double()]), noise)

    def loss_of(self, images: Tensor, draws: Sequence[Tensor]) -> Tensor:
        """Return the mean over batch and pixels of lambda(s) |D(y + s n; s) - y|²."""
        return weighted_errors(self._network, images, Draws(*draws)).mean()


def weighted_errors(network: Network, images: Tensor, draws: Draws) -> Tensor:
    """Return lambda(s) (D(y + s n; s) - y)² of each pixel, lambda(s) = (s² + sigma_data²) / (s sigma_data)²."""
    sigma_data = getattr(network.params, "sigma_data", 0.5)
    sigma = draws.sigma.to(images).view(-1, 1, 1, 1)
    weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    return weight * (network(images + sigma * draws.noise, draws.sigma) - images) ** 2


def tune_at(
    network: Network,
    levels: np.ndarray,
    context: PrepareContext,
    params: LevelTuningParams,
    *,
    from_state: Mapping[str, Tensor] | None = None,
    steps: int | None = None,
    number: int = 0,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the averaged weights of a copy of `network` tuned at levels [N + 1], and facts in plain JSON.

    It starts from the state `from_state`, if one is given, and takes `steps` steps instead of `params.tune_steps`; of
    several tunings in a row each has its own `number`, and so other draws. The facts hold the loss of each selected
    level, and of the level between it and the next, before and after. Raises ValueError if a loss is not finite.
    """
    student = _learning(network)
    if from_state is not None:
        student.load_state_dict(dict(from_state))
    device = next(student.parameters()).device
    p = params if steps is None else params.model_copy(update={"tune_steps": steps})
    selected, between = levels[:-1], np.sqrt(levels[:-1] * levels[1:])
    before = [_losses(student, at, context, p.tune_batch) for at in (selected, between)]
    weights = {name: value.clone() for name, value in student.state_dict().items()}
    if p.tune_steps > 0:
        drawn = LevelLoss(student, levels, p)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(context.seed + number)  # of dropout
            weights, _ = tune(student, drawn, drawn.loss_of, context, p, {}, number)
        student.load_state_dict(weights)
    after = [_losses(student, at, context, p.tune_batch) for at in (selected, between)]
    found = zip(("selected", "between"), (selected, between), before, after, strict=True)
    return weights, {
        name: {"levels": at.tolist(), "loss_before": old, "loss_after": new} for name, at, old, new in found
    }


def untunable_at_levels(network: NetworkParams) -> str | None:
    """Return why a network cannot be tuned at chosen levels, or None."""
    if not isinstance(network, PreconditionedParams):
        return "the exact denoiser cannot be tuned: its gradient is zero"
    return untunable(network) if isinstance(network, BlockParams) else None


def named_in_network(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names that they have beside other tensors of an artifact."""
    return {_PREFIX + name: value for name, value in weights.items()}


def weights_among(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights among the tensors of an artifact, under their names in the network."""
    return {name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)}


def _learning(network: Network) -> Network:
    if isinstance(network, BlockNetwork):
        return thawed(network)
    return copy.deepcopy(network).requires_grad_(True).train()


@torch.no_grad()
def _losses(network: Network, levels: np.ndarray, context: PrepareContext, batch: int) -> list[float]:
    """Return the mean loss of each level on images under noises that tuning never draws."""
    images, device = context.images(), next(network.parameters()).device
    clean = images[torch.arange(_PAIRS) * len(images) // _PAIRS].to(device)
    noise = torch.stack([context.noise(k) for k in range(_PAIRS)]).to(device)
    network.eval()
    found = []
    for k in context.passes(len(levels)):
        sigma = torch.full((_PAIRS,), float(levels[k]), dtype=torch.float64)
        parts = zip(clean.split(batch), sigma.split(batch), noise.split(batch), strict=True)
        errors = [weighted_errors(network, y, Draws(s, n)).mean((1, 2, 3)) for y, s, n in parts]
        found.append(float(torch.cat(errors).mean()))
    network.train()
    return found
