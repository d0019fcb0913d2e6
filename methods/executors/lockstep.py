"""Steps of a solver from many states at once: what they ask for at the same time is one call of the network.

A solver's step calls the network in the middle. Here it is run until it asks, and run again from its beginning once
it is answered; that costs it a few operations on states more, and works with any solver.
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
    """One state on its way: where it is, and what the solver remembers of its path."""

    x: Tensor
    """[rows, channels, height, width]"""
    step: int
    """The next step of the grid."""
    memory: Any
    known: Tensor | None = None
    """D at x and at the level of the next step, where it has been evaluated already."""
    answers: list[Tensor] = field(default_factory=list)


class _Asks(Exception):
    """A step needs D(x; sigma) to go on."""

    def __init__(self, x: Tensor, sigma: float) -> None:
        super().__init__()
        self.x = x
        self.sigma = sigma


def advance(
    evaluate: Evaluate, solver: Solver, sigmas: np.ndarray, members: Sequence[Member], noise: StepNoise
) -> None:
    """Take every member one step on; evaluations of the same stage are stacked in the members' order.

    One member alone is evaluated as the serial loop would, with one level and one step for all its rows.
    """
    waiting = list(members)
    while waiting:
        asked = [(m, ask) for m in waiting if (ask := _try(solver, sigmas, m, noise)) is not None]
        if len(asked) == 1:
            member, ask = asked[0]
            member.answers.append(evaluate(ask.x, ask.sigma, member.step))
        elif asked:
            rows = torch.tensor([len(ask.x) for _, ask in asked])
            levels = torch.tensor([ask.sigma for _, ask in asked], dtype=torch.float64).repeat_interleave(rows)
            steps = torch.tensor([m.step for m, _ in asked]).repeat_interleave(rows)
            out = evaluate(torch.cat([ask.x for _, ask in asked]), levels, steps)
            for (member, _), answer in zip(asked, out.split(rows.tolist()), strict=True):
                member.answers.append(answer)
        waiting = [m for m, _ in asked]


def work(solver: Solver, sigmas: np.ndarray, starts: Sequence[int]) -> tuple[list[int], bool]:
    """Return the evaluations of every step [N] where the memory is new at `starts`, and whether they read the start.

    They read the start if the first evaluation of each is that of its own state at its own level. A dummy of one
    number takes the steps.
    """
    counts, reads = [], True
    member = Member(torch.zeros(1, 1), 0, None)
    for step in range(len(sigmas) - 1):
        if step in starts:
            member = Member(torch.zeros(1, 1), step, solver.init_memory(solver.artifact))
            first = _try(solver, sigmas, member, _nothing)
            reads = reads and first is not None and first.x is member.x and first.sigma == float(sigmas[step])
        count = 0
        while (ask := _try(solver, sigmas, member, _nothing)) is not None:
            member.answers.append(torch.zeros_like(ask.x))
            count += 1
        counts.append(count)
    return counts, reads


def _nothing(step: int) -> Tensor:
    return torch.zeros(1, 1)


def _try(solver: Solver, sigmas: np.ndarray, member: Member, noise: StepNoise) -> _Asks | None:
    """Take the step with the answers so far; return what it asks for next, or None once it is taken."""
    memory = deepcopy(member.memory)
    answers = iter(member.answers)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        if member.known is not None and x is member.x and sigma == float(sigmas[member.step]):
            return member.known
        answer = next(answers, None)
        if answer is None:
            raise _Asks(x, sigma)
        return answer

    try:
        x = solver.step(member.x, member.step, sigmas, denoise, memory, noise)
    except _Asks as ask:
        return ask
    member.x, member.memory, member.known, member.answers = x, memory, None, []
    member.step += 1
    return None
