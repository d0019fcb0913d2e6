"""ParaDiGMS: Picard iteration over a sliding window of the trajectory, on one device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from methods.lockstep import Member, advance, work
from methods.networks.base import NetworkParams
from methods.parts import Evaluate, Executor, Method, Solver, StepNoise, Trace
from methods.parts import Params as BaseParams


class ParaDiGMS(Executor):
    """All steps of a window from the states of the iteration before: Shih, Belkhale, Ermon, Sadigh, Anari 2023.

    x_{t+1} <- x_b + sum_{u = b..t} (Phi_u(x_u) - x_u) for the window t = b, ..., where Phi_u is the solver's step with
    the noise of step u, if it adds any. The window goes on to the first state whose change is above the tolerance:
    mean |new - old|^2 > tolerance^2 v, as in the authors' code, where the states of both sides are variance
    preserving, x / sqrt(1 + sigma^2), and v is the posterior variance there of the step that leaves this state
    (`limits`). One more than the states at rest before it are done. New places begin as copies of the last state; so
    the window's last state is what each iteration makes of the final one.

    Unlike in the authors' code every sample has its own window, so none waits for another; and what is summed and
    copied are states at x = y + sigma n, not variance-preserving ones, so that the iterates differ, though what they
    tend to does not. All windows are stacked in one call; an image's last bits depend on its batch.
    """

    name = "paradigms"
    summary = "Picard iteration on a sliding window (Shih et al. 2023)"
    parallel = True

    class Params(BaseParams):
        window: int = Field(32, ge=1)
        """Most steps that are evaluated at once; the authors' for 200 steps of DDIM."""
        tolerance: float = Field(0.1, ge=0)
        """Most change of a state at rest over the noise of its step; 0 waits until nothing changes."""

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        solver = cast(Solver, parts["solver"])
        if solver.multistep:
            return (
                f'solver "{solver.name}" is multistep, and Picard iteration takes every step from its own state alone; '
                f"take a one-step solver"
            )
        return None

    def run(
        self, evaluate: Evaluate, solver: Solver, sigmas: np.ndarray, x: Tensor, noise: StepNoise, trace: Trace
    ) -> Tensor:
        n, batch = len(sigmas) - 1, len(x)
        size = min(self.params.window, n)
        limit = torch.from_numpy(np.append(limits(sigmas, self.params.tolerance), np.inf))
        costs, _ = work(solver, sigmas, range(n))
        samples = torch.arange(batch)
        places = torch.arange(size)[:, None]
        drawn: dict[int, Tensor] = {}
        states = x.expand(size + 1, *x.shape)  # of each sample those at its window's beginning, and after every step
        begin = torch.zeros(batch, dtype=torch.int64)
        iterations = torch.zeros(batch, dtype=torch.int64)
        critical = torch.zeros(batch, n, dtype=torch.float64)
        if trace.iterates is not None:
            trace.iterates.append(x)
        while (begin < n).any():
            steps = begin + places  # [size, batch]
            inside = steps < n
            going = begin < n
            iterations += going
            critical[samples[going], begin[going]] += torch.tensor(costs, dtype=torch.float64)[begin[going]]

            at = {int(t): ((steps == t) & inside).nonzero(as_tuple=True) for t in steps[inside].unique()}
            drawn = {t: d for t, d in drawn.items() if t in at}
            members = [Member(states[w, s], t, solver.start()) for t, (w, s) in at.items()]

            def noise_of(t: int, at: dict = at, drawn: dict = drawn) -> Tensor:
                if t not in drawn:
                    drawn[t] = noise(t)
                return drawn[t][at[t][1]]

            advance(evaluate, solver, sigmas, members, noise_of)
            change = torch.zeros_like(states[1:])
            for (w, s), member in zip(at.values(), members, strict=True):
                change[w, s] = member.x - states[w, s]
            sums = [states[0]]
            for one in change:  # in order: a cumulative sum on a GPU is not the same bytes every time
                sums.append(sums[-1] + one)
            new = torch.stack(sums)
            moved = (new - states)[1:].double().flatten(2).square().mean(2).cpu()  # [size, batch]
            rest = inside & (moved <= limit[steps.clamp(max=n - 1)])
            end = inside.sum(0)
            ahead = torch.minimum(rest.cumprod(0).sum(0) + 1, end)
            begin = begin + ahead
            # the window moves on; places beyond the old one take its last state
            source = torch.minimum(torch.arange(size + 1)[:, None] + ahead, end)
            states = new[source, samples]
            if trace.iterates is not None:
                trace.iterates.append(states[-1].clone())
        trace.iterations, trace.critical = iterations, critical
        return states[0]


def limits(sigmas: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the most mean square change [N - 1] of the state after each step but the last that is at rest.

    In the authors' code the states at level s are u = x / sqrt(1 + s^2), and the limit of the mean square change of u
    is tolerance^2 v, v = (1 - A') / (1 - A) (1 - A / A') the posterior variance (Ho et al. 2020, eq. 7) of the step
    from s on to s', A = 1 / (1 + s^2) and A' = 1 / (1 + s'^2) the products of the alphas. Here x is what changes:
    v = s'^2 (1 - (s' / s)^2) / (1 + s'^2), times 1 + s^2.
    """
    s, s_next = sigmas[1:-1], sigmas[2:]
    posterior = s_next**2 * (1 - (s_next / s) ** 2) / (1 + s_next**2)
    return tolerance**2 * posterior * (1 + s**2)
