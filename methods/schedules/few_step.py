"""Levels chosen by dynamic programming on a bound of Euler's error along the network's own trajectories.

Huang 2024, "Optimizing Few-Step Sampler for Diffusion Probabilistic Model" (arXiv:2412.10786).
Only the abstract was available, so this is a reconstruction of phase 1. From the abstract: a
first-order sampler's output is a convex combination of the network's outputs. An upper bound on
the discretisation error of a schedule follows. It is estimated by Monte Carlo and minimised for
the frozen network.

Ours is the bound itself, U_1 = sum_i of the integral over step i of ||eps(x(s_i), s_i) - eps(x(s),
s)|| along the exact flow (objective "bound"). It counts an error as if nothing shrank it later,
and puts too many steps where errors die out. So the default, "contraction", weighs each step by
the flow's contraction from the step's end to the trajectory's. "risk" is the denoising risk under
the weights of the data form. Ours are also the log-spaced grid, the dynamic programme, the
refinement, and the guard: it keeps whichever of the hand-made and the optimised levels errs least
on fresh noises. U_1 is a true bound where the data are log-concave, and a surrogate elsewhere.
Contracted, its weights are exact for Gaussian data alone. Several rounds alternate with phase 2:
see few_step_rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, Done, Job, Method, PrepareContext, Schedule, ScheduleParams
from methods.schedules.few_step_rounds import Flow, RoundsParams, rounds_refusal, run_rounds
from methods.schedules.search.hand_made import hand_made
from methods.schedules.search.learned_levels import levels_artifact, prepared_levels
from methods.schedules.search.pair_costs import cheapest, contracted, gap_costs, interpolated_cost, refined, risk_costs
from methods.schedules.search.teacher import denoised, end, log_grid, starts, walk, weight_of
from methods.solvers.ddim import DDIM

_NOISES_PER_JOB = 32

Candidates = Mapping[str, np.ndarray]
"""Levels [N + 1] by the name of their schedule or optimisation."""


class FewStepSchedule(Schedule):
    """The cheapest path of N steps down a log-spaced grid, refined off the grid, and kept if it measures best.

    All numbers of steps share the jobs: the network's trajectories are solved once.
    """

    name = "few-step"
    summary = "levels that minimise a bound on Euler's error: reconstruction of Huang 2024 from its abstract"
    method_family = "few-step"
    claim = (
        "The abstract says that it consistently improves the baseline at various numbers of steps on ImageNet 64x64; "
        "no figure of the paper was found."
    )
    prepares = True
    jobs_for = ()

    class Params(ScheduleParams, RoundsParams):
        objective: Literal["contraction", "bound", "risk"] = "contraction"
        """bound: the output's change inside each step of the flow.

        contraction: weighted by what is left of it at the end. risk: that of denoising data, worse
        for ODEs.
        """
        grid: int = Field(default=128, ge=2, le=512)
        """Cells of the log-spaced grid; more steps than these are refused."""
        noises: int = Field(default=64, ge=2)
        """Trajectories that the objective is averaged over.

        For the risk, pairs of an image and a noise.
        """
        validation: int = Field(default=64, ge=1)
        """Further noises, on which the guard measures errors."""
        sub_steps: int = Field(default=1, ge=1)
        """Steps of Heun's method in each cell of the grid.

        One is already a hundred times finer than a schedule.
        """
        refine: bool = True
        """Whether levels leave the grid."""
        guard: bool = True
        """Whether hand-made levels are used where they err less than the optimised ones."""

    learns_from_images = True
    search_only = (*(name for name in Params.model_fields if name not in ("grid", "sub_steps")),)

    @property
    def prepares_for(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("steps", "solver") if self.params.rounds > 1 else ("steps",)

    @property
    def train_batch(self) -> int | None:  # type: ignore[override]
        return int(self.params.tune_batch) if self.params.rounds > 1 and self.params.tune_steps > 0 else None

    @property
    def scores(self) -> bool:  # type: ignore[override]
        return bool(self.params.rounds > 1)

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        p = self.params
        if steps > p.grid:
            return f"{steps} steps do not fit on a grid of {p.grid} cells; raise grid or take fewer steps"
        if p.rounds > 1 and (p.objective != "contraction" or not p.guard):
            return (
                f"rounds is {p.rounds}, and rounds go by the contraction and start from the best levels that the guard "
                f'measures; leave objective = "contraction" and guard = true'
            )
        return rounds_refusal(p, parts, network)

    def next_jobs(self, steps: int, network: NetworkParams, done: Sequence[Done]) -> Sequence[Job]:
        """Return all blocks of noises at once, first those of the objective, then the guard's."""
        p = self.params
        validation = _blocks("reference", p.noises, p.noises + p.validation) if p.guard else []
        return [] if done else _blocks(self._kind, 0, p.noises) + validation

    def do(self, context: PrepareContext, job: Job) -> Artifact:
        """Return the costs of the job's noises [n, M + 1, M + 1], their fine trajectories, or final states."""
        grid, x = self._grid(context), starts(context, job["first"], job["count"])
        if job["kind"] == "risk":
            return Artifact({"costs": risk_costs(_squared_errors(context, job, grid), grid)})

        # fine trajectories
        states, eps = walk(context.network, x, grid, self.params.sub_steps, context.passes)
        if job["kind"] == "reference":
            return Artifact({"ends": states[-1].view_as(x)})
        if job["kind"] == "flow":
            return Artifact(Flow(states, eps).tensors())
        return Artifact({"costs": gap_costs(eps, eps, grid)})

    def prepare(self, context: PrepareContext) -> Artifact:
        """Return the chosen levels with every candidate's bound and measured error, or those of the rounds."""
        p, grid = self.params, self._grid(context)
        if p.rounds > 1:
            return self._alternated(context, grid)

        # candidates, their bounds and their errors
        costs = self._weighed(context, grid, _joined(context, self._kind, "costs"))
        candidates = self._candidates(context, grid, costs)
        errors = self._errors(context, context.network, candidates) if p.guard else {}
        chosen = _least(errors) if p.guard else next(iter(candidates))
        bounds = {name: interpolated_cost(costs, grid, levels) for name, levels in candidates.items()}

        return levels_artifact(
            candidates[chosen],
            objective=p.objective,
            grid=p.grid,
            chosen=chosen,
            bound=float(bounds[chosen].mean()),
            bound_error=float(bounds[chosen].std() / len(costs) ** 0.5),
            bounds={name: float(bound.mean()) for name, bound in bounds.items()},
            errors=errors,
            candidates={name: levels.tolist() for name, levels in candidates.items()},
        )

    def _alternated(self, context: PrepareContext, grid: np.ndarray) -> Artifact:
        """Return the levels of the best round with the network's weights for them."""
        # start from the best hand-made levels
        p = self.params
        given = hand_made(context.steps, context.sigma_min, context.sigma_max)
        start = given[_least(self._errors(context, context.network, given))]

        def choose(network: Network, costs: Tensor) -> np.ndarray:
            candidates = self._candidates(context, grid, self._weighed(context, grid, costs))
            return candidates[_least(self._errors(context, network, candidates))]

        # alternate
        flow = Flow.joined([artifact for job, artifact in context.done if job["kind"] == "flow"])
        levels, weights, facts = run_rounds(context, flow, grid, start, choose, p, p.noises + p.validation)
        artifact = levels_artifact(levels, objective=p.objective, grid=p.grid, **facts)
        return replace(artifact, tensors={**artifact.tensors, **weights})

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        return prepared_levels(self.name, artifact, steps, sigma_min, sigma_max)

    @property
    def _kind(self) -> str:
        """Return the kind of the jobs that estimate the objective."""
        if self.params.rounds > 1:
            return "flow"
        return "risk" if self.params.objective == "risk" else "costs"

    def _grid(self, context: PrepareContext) -> np.ndarray:
        return log_grid(self.params.grid, context.sigma_min, context.sigma_max)

    def _weighed(self, context: PrepareContext, grid: np.ndarray, costs: Tensor) -> Tensor:
        """Return the objective's costs.

        The data's standard deviation is that of all training values.
        """
        if self.params.objective != "contraction":
            return costs
        return contracted(costs, grid, float(context.images().double().std()))

    def _candidates(self, context: PrepareContext, grid: np.ndarray, costs: Tensor) -> Candidates:
        """Return optimised and hand-made levels, the optimised ones first."""
        made = optimised(costs, grid, context.steps, self.params.refine)
        return {**made, **hand_made(context.steps, context.sigma_min, context.sigma_max)}

    def _errors(self, context: PrepareContext, network: Network, candidates: Candidates) -> dict[str, float]:
        """Return the error of Euler's final states on `network` from the frozen network's fine ones, by candidate."""
        p = self.params
        x, ends = starts(context, p.noises, p.validation), _joined(context, "reference", "ends")
        return {name: euler_end_error(network, x, levels, ends.to(x)) for name, levels in candidates.items()}


def optimised(costs: Tensor, grid: np.ndarray, steps: int, refine: bool) -> dict[str, np.ndarray]:
    """Return levels [steps + 1] of least mean cost, from costs [K, M + 1, M + 1]: `refine`d if wanted, and on the grid.

    The norms are averaged, not the vectors.
    """
    mean = costs.mean(0).numpy()
    on_grid = grid[cheapest(mean, steps)[-1]]
    return {**({"refined": refined(mean, grid, on_grid)} if refine else {}), "on-grid": on_grid}


@torch.no_grad()
def euler_end_error(network: Network, x: Tensor, levels: np.ndarray, ends: Tensor) -> float:
    """Return the root mean square over noises and pixels of Euler's final states less `ends`, both [K, c, h, w]."""
    return float((end(network, DDIM(), x, levels) - ends).square().mean().sqrt())


@torch.no_grad()
def _squared_errors(context: PrepareContext, job: Job, grid: np.ndarray) -> Tensor:
    """Return the mean over pixels of (D(y + s n; s) - y)^2 for the job's pairs at every level, float64 [n, M + 1]."""
    # pairs of an image and a noise
    images, noises = context.images(), range(job["first"], job["first"] + job["count"])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(context.seed))
    clean = images[order[torch.tensor(noises) % len(images)]].to(weight_of(context.network).device, torch.float64)
    unit = starts(context, job["first"], job["count"]) / context.sigma_max

    # errors at all levels
    errors = torch.empty(len(grid), job["count"], dtype=torch.float64)
    for level in context.passes(len(grid)):
        s = float(grid[level])
        errors[level] = (denoised(context.network, clean + s * unit, s) - clean).square().flatten(1).mean(1)
    return errors.T


def _least(errors: Mapping[str, float]) -> str:
    return min(errors, key=errors.__getitem__)


def _blocks(kind: str, first: int, stop: int) -> list[Job]:
    return [
        {"kind": kind, "first": k, "count": min(_NOISES_PER_JOB, stop - k)} for k in range(first, stop, _NOISES_PER_JOB)
    ]


def _joined(context: PrepareContext, kind: str, name: str) -> Tensor:
    """Return one tensor of all jobs of a kind, joined in the order of their noises."""
    return torch.cat([artifact.tensors[name] for job, artifact in context.done if job["kind"] == kind])
