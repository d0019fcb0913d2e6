"""Solver steps from many states at once: evaluations of the same stage are stacked in one call of the network.

A solver's step calls the network in its middle. Here the step runs until it needs an output that
is not there yet. It is run again from its beginning once the output is there. That repeats a few
operations on states, and works with any solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.parts import Evaluate, Solver, StepNoise


@dataclass
class Member:
    """One state on its trajectory, with the solver's memory."""

    x: Tensor
    """[rows, channels, height, width]"""
    step: int
    """The next step of the grid."""
    memory: Any
    known: Tensor | None = None
    """D at x and at the level of the next step, if it was evaluated before."""
    outputs: list[Tensor] = field(default_factory=list)
    """D as evaluated for the step so far, in order."""
    images: Tensor | None = None
    """The places in the batch of the images that the rows are states of, int64 [rows]; None: all in order."""


class _EvaluationNeeded(Exception):
    """A step cannot go on without D(x; sigma)."""

    def __init__(self, x: Tensor, sigma: float) -> None:
        super().__init__()
        self.x = x
        self.sigma = sigma


def advance(
    evaluate: Evaluate, solver: Solver, sigmas: np.ndarray, members: Sequence[Member], noise: StepNoise
) -> None:
    """Advance every member by one step, in place.

    Evaluations of a stage are stacked in the members' order.

    A single member is evaluated as in the serial loop, with one level and one step for all its
    rows. Called by parallel executors, inside what is timed.
    """
    waiting = list(members)
    while waiting:
        # run each step up to its next evaluation
        pending = [(m, request) for m in waiting if (request := _try_step(solver, sigmas, m, noise)) is not None]

        # evaluate together
        if len(pending) == 1:
            member, request = pending[0]
            named = {} if member.images is None else {"images": member.images}
            member.outputs.append(evaluate(request.x, request.sigma, member.step, **named))
        elif pending:
            rows = torch.tensor([len(request.x) for _, request in pending])
            levels = torch.tensor([request.sigma for _, request in pending], dtype=torch.float64)
            steps = torch.tensor([m.step for m, _ in pending]).repeat_interleave(rows)
            own = [m.images for m, _ in pending if m.images is not None]
            named = {"images": torch.cat(own)} if len(own) == len(pending) else {}
            states = torch.cat([request.x for _, request in pending])
            out = evaluate(states, levels.repeat_interleave(rows), steps, **named)
            for (member, _), output in zip(pending, out.split(rows.tolist()), strict=True):
                member.outputs.append(output)

        waiting = [m for m, _ in pending]


def count_evaluations(solver: Solver, sigmas: np.ndarray, starts: Sequence[int]) -> tuple[list[int], bool]:
    """Return the evaluations of every step [N], and whether trajectories begun at `starts` evaluate their start.

    They do if the first evaluation of each is that of its own state at its own level. The solver's
    memory is new at every one of `starts`. The steps are taken by a dummy state of one number.
    """
    counts, reads = [], True
    member = Member(torch.zeros(1, 1), 0, None)
    for step in range(len(sigmas) - 1):
        if step in starts:
            member = Member(torch.zeros(1, 1), step, solver.init_memory(solver.artifact))
            first = _try_step(solver, sigmas, member, _zero_noise)
            reads = reads and first is not None and first.x is member.x and first.sigma == float(sigmas[step])

        count = 0
        while (request := _try_step(solver, sigmas, member, _zero_noise)) is not None:
            member.outputs.append(torch.zeros_like(request.x))
            count += 1
        counts.append(count)
    return counts, reads


def _zero_noise(step: int) -> Tensor:
    return torch.zeros(1, 1)


def _try_step(solver: Solver, sigmas: np.ndarray, member: Member, noise: StepNoise) -> _EvaluationNeeded | None:
    """Take the step with the outputs so far.

    Return the evaluation it needs next, or None once it is taken.
    """
    memory = deepcopy(member.memory)
    outputs = iter(member.outputs)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        if member.known is not None and x is member.x and sigma == float(sigmas[member.step]):
            return member.known
        output = next(outputs, None)
        if output is None:
            raise _EvaluationNeeded(x, sigma)
        return output

    try:
        x = solver.step(member.x, member.step, sigmas, denoise, memory, noise)
    except _EvaluationNeeded as request:
        return request

    # the step is taken
    member.x, member.memory, member.known, member.outputs = x, memory, None, []
    member.step += 1
    return None
