"""Fine-tuning of a whole network at the levels that a schedule visits.

Phase 2 of the reconstruction of Huang 2024, "Optimizing Few-Step Sampler for Diffusion Probabilistic Model" (arXiv
2412.10786), of which only the abstract was at hand: that the model is tuned at the selected levels is the paper's. What
it is tuned on is ours. By default that is the error of the solver's own steps from the frozen network's fine
trajectories (methods/trajectory_loss); the denoising loss to the data, which holds no discretisation error, is kept as
`data`, a control. Off the selected levels the tuned network may be worse than before: how much, the facts say.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from methods.networks.base import Network, NetworkParams
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.preconditioned import PreconditionedParams
from methods.networks.preconditioning import Draws
from methods.parts import PrepareContext
from methods.tuning.level_coverage import Recorded
from methods.tuning.level_loss import LevelLoss, weighted_errors
from methods.tuning.loop import TuningParams, descend, thawed, training_images, tune, untunable, without_class
from methods.tuning.trajectory_loss import TrajectoryLoss, fine_states

PAIRS = 128
"""Images and noises that denoising losses before and after are measured on, the preparation's noises 0, 1, ..."""
JUDGED = 64
"""Further trajectories that errors of steps before and after are measured on."""
_PREFIX = "network."


class LevelTuningParams(TuningParams):
    """How long, how fast and on what a network is tuned at selected levels; 0 steps leave it as it is."""

    tune_lr: float = Field(default=2e-4, gt=0)
    """The networks for 8x8 digits are pre-trained at 10 to 25 times this."""
    tune_objective: Literal["trajectory", "data"] = "trajectory"
    """trajectory: where the trial's solver lands beside the frozen network's flow. data: the denoising loss."""
    tune_trajectories: int = Field(default=256, ge=1)
    """Fine trajectories of the frozen network that are tuned on; `data` follows none."""
    tune_weights: Literal["uniform", "v"] = "uniform"
    """How often `data` draws a level: as any other, or in proportion to its step (s_i - s_{i+1}) / (s_0 - s_N)."""
    tune_jitter: float = Field(default=0.0, ge=0, le=1)
    """Share of a batch that pre-training's loss and levels take; 1 trains on as before, the control at equal budget."""

    def unread(self) -> str | None:
        """Return why a parameter is refused that the objective would not read, or None."""
        other = {"trajectory": "tune_weights", "data": "tune_trajectories"}[self.tune_objective]
        if getattr(self, other) == type(self).model_fields[other].default:
            return None
        return f'tune_objective "{self.tune_objective}" does not read {other}; leave it out'


def tune_at(
    context: PrepareContext,
    levels: np.ndarray,
    params: LevelTuningParams,
    *,
    from_state: Mapping[str, Tensor] | None = None,
    steps: int | None = None,
    number: int = 0,
    first_noise: int = PAIRS,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the averaged weights of a copy of the context's network tuned at levels [N + 1], and facts in plain JSON.

    It starts from the state `from_state`, if one is given, and takes `steps` steps instead of `params.tune_steps`; of
    several tunings in a row each has its own `number`, and so other draws. Trajectories start at the preparation's
    noises from `first_noise` on. The facts hold the denoising loss of each selected level, and of the level between it
    and the next, before and after; under "steps" the root mean square of each step's error, over trajectories that were
    not tuned on, where the objective is these; and under "coverage" the share that each selected level had of what the
    network was shown. Raises ValueError if a loss is not finite.
    """
    student = _learning(context.network, asked_as_sampled=params.tune_objective == "trajectory")
    if from_state is not None:
        student.load_state_dict(dict(from_state))
    p = params if steps is None else params.model_copy(update={"tune_steps": steps})
    follows = p.tune_objective == "trajectory"
    selected, between = levels[:-1], np.sqrt(levels[:-1] * levels[1:])
    states = fine_states(context, levels, first_noise, p.tune_trajectories + JUDGED) if follows else None

    def judged() -> dict[str, tuple[np.ndarray, list[float]]]:
        student.eval()
        found = {
            name: (at, _losses(without_class(student), at, context, p.tune_batch))
            for name, at in (("selected", selected), ("between", between))
        }
        if states is not None:
            found["steps"] = selected, _step_errors(student, context, levels, states[:, -JUDGED:])
        return found

    before = judged()
    facts: dict[str, Any] = {"objective": p.tune_objective}
    weights = {name: value.clone() for name, value in student.state_dict().items()}
    if p.tune_steps > 0:
        device = next(student.parameters()).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(context.seed + number)  # of dropout
            if states is None:
                at_levels = LevelLoss(student.train(), levels, p)
                shown = Recorded(at_levels)
                weights, _ = tune(student, shown, at_levels.loss_of, context, p, {}, number)
            else:
                mixed = _Mixed(student, context, levels, states[:, :-JUDGED], p)
                shown = mixed.shown
                weights, _ = descend(student, mixed.loss, context, p, {}, number)
        student.load_state_dict(weights)
        facts["coverage"] = shown.covered(levels)
    for (name, (at, old)), (_, new) in zip(before.items(), judged().values(), strict=True):
        value = "error" if name == "steps" else "loss"
        facts[name] = {"levels": at.tolist(), f"{value}_before": old, f"{value}_after": new}
    return weights, facts


class _Mixed:
    """The trajectory objective, a share of whose batch takes pre-training's loss instead.

    The network stays in evaluation mode: its target is a function of its input, and dropout would only blur it.
    """

    def __init__(
        self, student: Network, context: PrepareContext, levels: np.ndarray, states: Tensor, p: LevelTuningParams
    ) -> None:
        self._student, self._p, self._images = student, p, context.images()
        self._trajectories = TrajectoryLoss(student, context.solver, levels, states)
        self._anywhere = LevelLoss(without_class(student), levels, p.model_copy(update={"tune_jitter": 1.0}))
        self._levels = torch.from_numpy(np.array(levels[:-1], dtype=np.float64))
        self.shown = Recorded(self._anywhere)
        self._elsewhere = round(p.tune_jitter * p.tune_batch)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Return the mean over the evaluations of a batch and over pixels."""
        rows, parts = self._p.tune_batch - self._elsewhere, []
        if rows:
            errors = self._trajectories.drawn(rows, generator)  # [N, n, c, h, w]: every step of n trajectories
            self.shown.record(self._levels.repeat_interleave(errors.shape[1]))
            parts.append(errors.flatten())
        if self._elsewhere:
            device = next(self._student.parameters()).device
            clean = training_images(self._images, self._p, generator)[: self._elsewhere]
            sigma, noise = self.shown.draws(tuple(clean.shape), generator)
            parts.append(self._anywhere.errors_of(clean.to(device), Draws(sigma, noise.to(device))).flatten().double())
        return torch.cat(parts).mean()


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


def _learning(network: Network, asked_as_sampled: bool) -> Network:
    """Return a copy of the network that learns; asked for no class, or with the class and the guidance of sampling."""
    if not isinstance(network, BlockNetwork):
        return copy.deepcopy(network).requires_grad_(True).train()
    student = thawed(network)
    if asked_as_sampled:
        student.params = network.params
    return student


@torch.no_grad()
def _losses(network: Network, levels: np.ndarray, context: PrepareContext, batch: int) -> list[float]:
    """Return the mean loss of each level on images under noises that tuning never draws."""
    images, device = context.images(), next(network.parameters()).device
    clean = images[torch.arange(PAIRS) * len(images) // PAIRS].to(device)
    noise = torch.stack([context.noise(k) for k in range(PAIRS)]).to(device)
    found = []
    for k in context.passes(len(levels)):
        sigma = torch.full((PAIRS,), float(levels[k]), dtype=torch.float64)
        parts = zip(clean.split(batch), sigma.split(batch), noise.split(batch), strict=True)
        errors = [weighted_errors(network, y, Draws(s, n)).mean((1, 2, 3)) for y, s, n in parts]
        found.append(float(torch.cat(errors).mean()))
    return found


@torch.no_grad()
def _step_errors(network: Network, context: PrepareContext, levels: np.ndarray, states: Tensor) -> list[float]:
    """Return the root mean square error of each step of the trial's solver from fine trajectories [N + 1, K, ...]."""
    errors = TrajectoryLoss(network, context.solver, levels, states).errors(torch.arange(states.shape[1]))
    return errors.square().flatten(1).mean(1).sqrt().tolist()
