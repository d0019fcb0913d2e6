"""Both phases of the few-step sampler in turn: levels for the tuned network, and the network tuned at the levels.

Reconstruction of the alternation of Huang 2024 (arXiv:2412.10786), of which only the abstract was
available. Once tuned, the network takes whole steps and is undefined between its levels, so the
frozen one stays the teacher. Both are evaluated at the states of the teacher's flow. A step of the
tuned network costs its distance from the teacher's flow where it lands. The metric of a phase is
the FID of the trial's images, on noises that nothing else here uses. All but the abstract's "two
phases that alternate" is ours.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, Method, PrepareContext, Solver
from methods.schedules.few_step_alternation import Weights, alternate
from methods.schedules.search.pair_costs import gap_costs, landing_errors
from methods.schedules.search.teacher import denoised, end, starts, weight_of
from methods.tuning.level_tuning import HELD_OUT, LevelTuningParams, named_in_network, tune_at, untunable_at_levels

_BATCH = 64  # images sampled at once

Choose = Callable[[Network, Tensor], np.ndarray]
"""Phase 1 of a round: levels [N + 1] for a network and the costs of its steps [K, M + 1, M + 1], not contracted."""

UNTUNED = "the untuned network"
"""Name of the returned weights where no tuning lowered the metric."""


class RoundsParams(LevelTuningParams):
    """Number of rounds, and how the network is tuned, over all rounds together."""

    rounds: int = Field(default=1, ge=1)
    """1 chooses levels for the frozen network and tunes nothing.

    More need the denoiser `few-step`.
    """
    metric_images: int = Field(default=1024, ge=2)
    """Images whose FID decides whether a phase of several rounds is kept."""


class Flow(NamedTuple):
    """Fine trajectories of the frozen network at every level of a grid: states and eps, each [M + 1, K, dim]."""

    states: Tensor
    eps: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Return tensors for an artifact, one trajectory per row, in single precision."""
        return {name: value.transpose(0, 1).float().contiguous() for name, value in self._asdict().items()}

    @classmethod
    def joined(cls, artifacts: Sequence[Artifact]) -> Flow:
        """Return the trajectories of several artifacts, in their order, in double precision."""
        rows = {name: torch.cat([artifact.tensors[name] for artifact in artifacts]) for name in cls._fields}
        return cls(**{name: value.double().transpose(0, 1) for name, value in rows.items()})


def run_rounds(
    context: PrepareContext,
    flow: Flow,
    grid: np.ndarray,
    start: np.ndarray,
    choose: Choose,
    params: RoundsParams,
    first_noise: int,
) -> tuple[np.ndarray, dict[str, Tensor], dict[str, Any]]:
    """Return the best levels, the network's weights for them under the names of `named_in_network`, and facts.

    `start` are the levels to improve on. Each round tunes for an equal share of
    `params.tune_steps`. The metric's images use the preparation's noises from `first_noise` on,
    then come those of the tuned trajectories; earlier ones are the flow's and the guard's. The
    fact "returned" is there if the weights are the untuned network's.
    """
    # tuning steps of each round
    shares = np.diff(np.arange(params.rounds + 1) * params.tune_steps // params.rounds).tolist()
    tuned: list[dict[str, Any]] = []

    def phase_1(weights: Weights) -> np.ndarray:
        network = loaded(context.network, weights)
        if weights is None:
            return choose(network, gap_costs(flow.eps, flow.eps, grid))
        left = left_ends(network, flow.states, grid, context)
        return choose(network, landing_errors(flow.states, left, grid))

    def phase_2(weights: Weights, levels: np.ndarray) -> Weights:
        number = len(tuned)
        found, facts = tune_at(
            context,
            levels,
            params,
            from_state=weights,
            steps=shares[number],
            first_noise=first_noise + params.metric_images + number * (params.tune_trajectories + HELD_OUT),
        )
        tuned.append(facts)
        return found

    def metric(weights: Weights, levels: np.ndarray) -> float:
        return fid_at(loaded(context.network, weights), levels, context, first_noise, params.metric_images)

    # alternate, and describe every phase
    best = alternate(start, None, phase_1, phase_2, metric, params.rounds)
    phases = [{"made": p.made, "levels": p.levels.tolist(), "fid": p.metric, "kept": p.kept} for p in best.phases]
    facts = {"phases": phases, "tuning": tuned, "fid": best.metric}
    if best.weights is None:
        return best.levels, named_in_network(context.network.state_dict()), {**facts, "returned": UNTUNED}
    return best.levels, named_in_network(best.weights), facts


@torch.no_grad()
def left_ends(network: Network, states: Tensor, grid: np.ndarray, context: PrepareContext) -> Tensor:
    """Return eps = (x - D(x; g)) / g at the states of every level of the grid, float64 [M + 1, K, dim]."""
    data = network.data
    found = []
    for m in context.passes(len(grid)):
        g = float(grid[m])
        x = states[m].to(weight_of(network).device).unflatten(1, (data.channels, data.resolution, data.resolution))
        found.append(((x - denoised(network, x, g)) / g).flatten(1).to(states))
    return torch.stack(found)


@torch.no_grad()
def fid_at(network: Network, levels: np.ndarray, context: PrepareContext, first: int, n_images: int) -> float:
    """Return the FID of the trial's solver on levels [N + 1], from the preparation's noises `first`, ...."""
    edges = [*range(first, first + n_images, _BATCH), first + n_images]
    made = []
    for k in context.passes(len(edges) - 1):
        x = starts(context, edges[k], edges[k + 1] - edges[k])
        made.append(end(network, context.solver, x, levels).float())
    return context.fid(torch.cat(made))


def loaded(network: Network, weights: Weights) -> Network:
    """Return a copy with these weights, ready to sample; for None the network itself."""
    if weights is None:
        return network
    copied = copy.deepcopy(network)
    copied.load_state_dict(dict(weights))
    return copied.requires_grad_(False).eval()


def rounds_refusal(params: RoundsParams, parts: Mapping[str, Method], network: NetworkParams) -> str | None:
    """Return why a schedule cannot alternate as its parameters say with the trial's denoiser, or None."""
    if params.rounds == 1:
        fields = RoundsParams.model_fields
        given = [name for name, field in fields.items() if getattr(params, name) != field.default]
        return f"rounds is 1, so nothing is tuned and {', '.join(given)} would not be read" if given else None

    # several rounds
    denoiser, solver = parts.get("denoiser"), parts.get("solver")
    if denoiser is not None and denoiser.name != "few-step":
        return (
            f'rounds is {params.rounds}, which tunes the network, but denoiser "{denoiser.name}" would sample with '
            'the untuned one; take denoiser "few-step"'
        )
    if isinstance(solver, Solver) and solver.stochastic:
        return f'rounds is {params.rounds}, whose FID is of a deterministic solver; take another than "{solver.name}"'
    return untunable_at_levels(network) or params.unread()
