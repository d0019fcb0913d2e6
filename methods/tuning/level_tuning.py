"""Fine-tuning of a whole network at the levels that a schedule visits.

Phase 2 of our reconstruction of Huang 2024, "Optimizing Few-Step Sampler for Diffusion
Probabilistic Model" (arXiv:2412.10786), of which only the abstract was available. That the model
is tuned at the selected levels is the paper's. The objective is ours: by default the error of the
solver's own steps from the frozen network's fine trajectories (methods/tuning/trajectory_loss).
The denoising loss to the data, which holds no discretisation error, is the control `data`. Off the
selected levels the tuned network may be worse than before; the facts hold by how much.
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
from methods.tuning.level_coverage import RecordedDraws
from methods.tuning.level_loss import LevelLoss, weighted_errors
from methods.tuning.trajectory_loss import TrajectoryLoss, fine_states
from methods.tuning.tune import TuningParams, thawed, training_images, training_of, tune, untunable

PAIRS = 128
"""Images and noises of the denoising losses before and after.

They are the preparation's noises 0, 1, ....
"""
HELD_OUT = 64
"""Further trajectories, for the errors of steps before and after."""
_PREFIX = "network."


class LevelTuningParams(TuningParams):
    """How long, how fast and on what a network is tuned at selected levels.

    0 steps leave it unchanged.
    """

    tune_lr: float = Field(default=2e-4, gt=0)
    """The networks for 8x8 digits are pre-trained at 10 to 25 times this."""
    tune_objective: Literal["trajectory", "data"] = "trajectory"
    """trajectory: the solver's distance from the frozen network's flow after a step.

    Data: the denoising loss.
    """
    tune_trajectories: int = Field(default=256, ge=1)
    """Fine trajectories of the frozen network to tune on; `data` uses none."""
    tune_weights: Literal["uniform", "v"] = "uniform"
    """How often `data` draws a level: uniformly, or in proportion to its step (s_i - s_{i+1}) / (s_0 - s_N)."""
    tune_jitter: float = Field(default=0.0, ge=0, le=1)
    """Share of a batch with pre-training's loss and levels.

    1 continues pre-training, a control at equal budget.
    """

    def unread(self) -> str | None:
        """Return why a parameter is refused that the objective does not read, or None."""
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
    first_noise: int = PAIRS,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the averaged weights of a copy of the context's network tuned at levels [N + 1], and facts in plain JSON.

    It starts from the state `from_state`, if given, and takes `steps` steps instead of
    `params.tune_steps`. Trajectories start at the preparation's noises from `first_noise` on. The facts hold the
    denoising loss before and after, at each selected level and between it and the next. With the
    trajectory objective "steps" holds the root mean square of each step's error, over held-out
    trajectories. "coverage" is the share of each selected level in the draws. Raises ValueError if
    a loss is not finite.
    """
    # the student, and what it is judged on
    student = _trainable_student(context.network)
    if from_state is not None:
        student.load_state_dict(dict(from_state))
    p = params if steps is None else params.model_copy(update={"tune_steps": steps})
    follows = p.tune_objective == "trajectory"
    selected, between = levels[:-1], np.sqrt(levels[:-1] * levels[1:])
    states = fine_states(context, levels, first_noise, p.tune_trajectories + HELD_OUT) if follows else None

    def measure() -> dict[str, tuple[np.ndarray, list[float]]]:
        student.eval()
        found = {
            name: (at, _losses(student, at, context, p.tune_batch))
            for name, at in (("selected", selected), ("between", between))
        }
        if states is not None:
            found["steps"] = selected, _step_errors(student, context, levels, states[:, -HELD_OUT:])
        return found

    before = measure()
    facts: dict[str, Any] = {"objective": p.tune_objective}
    weights = {name: value.clone() for name, value in student.state_dict().items()}

    # tune
    if p.tune_steps > 0:
        if states is None:
            at_levels = LevelLoss(student.train(), levels, p)
            shown = RecordedDraws(at_levels)
            weights, _ = tune(student, shown, at_levels.loss_of, context, p, {})
        else:
            mixed = _MixedLoss(student, context, levels, states[:, :-HELD_OUT], p)
            shown = mixed.shown
            weights, _ = context.train(student, mixed.draw, mixed.loss, training_of(p, {}))
        facts["coverage"] = shown.covered(levels)

    # losses before and after
    for (name, (at, old)), (_, new) in zip(before.items(), measure().values(), strict=True):
        value = "error" if name == "steps" else "loss"
        facts[name] = {"levels": at.tolist(), f"{value}_before": old, f"{value}_after": new}
    return weights, facts


class _MixedLoss:
    """The trajectory objective, with pre-training's loss on a share of the batch.

    The network stays in evaluation mode: its target is a function of its input, and dropout would
    only blur it.
    """

    def __init__(
        self, student: Network, context: PrepareContext, levels: np.ndarray, states: Tensor, p: LevelTuningParams
    ) -> None:
        self._student, self._p, self._images = student, p, context.images()
        self._trajectories = TrajectoryLoss(student, context.solver, levels, states)
        self._anywhere = LevelLoss(student, levels, p.model_copy(update={"tune_jitter": 1.0}))
        self._levels = torch.from_numpy(np.array(levels[:-1], dtype=np.float64))
        self.shown = RecordedDraws(self._anywhere)
        self._elsewhere = round(p.tune_jitter * p.tune_batch)
        self._on_trajectories = 0
        """Evaluations on trajectories in a batch."""

    def draw(self, generator: torch.Generator) -> list[Tensor]:
        """Return trajectories [n], if any, then images, levels and noises of the share elsewhere, if any."""
        # steps of drawn trajectories
        rows, drawn = self._p.tune_batch - self._elsewhere, list[Tensor]()
        if rows:
            drawn.append(self._trajectories.draw(rows, generator))
            self.shown.record(self._levels.repeat_interleave(len(drawn[0])))
            self._on_trajectories = len(drawn[0]) * len(self._levels)

        # pre-training's loss
        if self._elsewhere:
            clean = training_images(self._images, self._p, generator)[: self._elsewhere]
            drawn += [clean, *self.shown.draws(tuple(clean.shape), generator)[:2]]
        return drawn

    def loss(self, *drawn: Tensor) -> Tensor:
        """Return the mean over the evaluations of a batch and over pixels."""
        rows = list(drawn)
        found = self._trajectories.weighted(rows.pop(0)).mean() if self._on_trajectories else None
        if not rows:
            assert found is not None
            return found

        # a mean of each kind, since devices share each kind equally
        device = next(self._student.parameters()).device
        clean, sigma, noise = rows
        errors = self._anywhere.errors_of(clean.to(device), Draws(sigma, noise.to(device))).double().mean()
        if found is None:
            return errors
        total = self._on_trajectories + self._elsewhere
        return (self._on_trajectories * found + self._elsewhere * errors) / total


def untunable_at_levels(network: NetworkParams) -> str | None:
    """Return why a network cannot be tuned at chosen levels, or None."""
    if not isinstance(network, PreconditionedParams):
        return "the exact denoiser cannot be tuned: its gradient is zero"
    return untunable(network) if isinstance(network, BlockParams) else None


def named_in_network(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under prefixed names, to share an artifact with other tensors."""
    return {_PREFIX + name: value for name, value in weights.items()}


def weights_among(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights among an artifact's tensors, under their names in the network."""
    return {name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)}


def _trainable_student(network: Network) -> Network:
    """Return a trainable copy of the network."""
    if not isinstance(network, BlockNetwork):
        return copy.deepcopy(network).requires_grad_(True).train()
    return thawed(network)


@torch.no_grad()
def _losses(network: Network, levels: np.ndarray, context: PrepareContext, batch: int) -> list[float]:
    """Return the mean loss of each level, on noises that tuning never draws."""
    # the same pairs at all levels
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
