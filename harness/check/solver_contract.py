"""What a solver does in a step: shapes and types, its evaluations, its noise, its memory. On exact data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.check.candidate import EXACT_DATASET, Candidate
from harness.check.exact_problem import ExactProblem
from harness.check.outcome import CheckOutcome, conclude
from methods.parts import Solver

_STEPS = 6
_ROWS = 3
_NEW_STATE = "a new finite state of the same shape and type, and nothing else changed"


@dataclass
class RecordedSolver:
    """A solver on exact data, with a record of what its steps called."""

    solver: Solver
    problem: ExactProblem
    dtype: torch.dtype = torch.float64
    evaluations: list[int] = field(default_factory=list)
    """By step."""
    noises: int = 0
    faults: list[str] = field(default_factory=list)

    def begin(self) -> Any:
        """Return the memory of a new trajectory."""
        return self.solver.init_memory(self.solver.artifact)

    def step(self, x: Tensor, i: int, memory: Any) -> Tensor:
        """Return the state after step i, with what is wrong with it noted."""
        before, levels = x.clone(), self.problem.levels(_STEPS)
        given = levels.copy()
        self.evaluations.append(0)
        after = self.solver.step(x, i, given, self._denoise, memory, self._noise)

        # what came back, and what was written to
        if not isinstance(after, Tensor) or (after.shape, after.dtype) != (x.shape, x.dtype):
            got = f"{list(after.shape)} {after.dtype}" if isinstance(after, Tensor) else type(after).__name__
            self.faults.append(f"step {i} returned {got} for {list(x.shape)} {x.dtype}")
        elif not torch.isfinite(after).all():
            self.faults.append(f"step {i} returned NaN or infinity")
        if not torch.equal(before, x):
            self.faults.append(f"step {i} wrote into its state x")
        if not np.array_equal(given, levels):
            self.faults.append(f"step {i} wrote into sigmas")
        return after

    def run(self, x: Tensor) -> Tensor:
        """Return the state at the end of a trajectory; ends where a step returned no state."""
        memory = self.begin()
        for i in range(_STEPS):
            x = self.step(x, i, memory)
            if self.faults:
                break
        return x

    def _denoise(self, x: Tensor, sigma: float) -> Tensor:
        if isinstance(sigma, Tensor) or not float(sigma) > 0:
            self.faults.append(f"denoise was called at {sigma!r}, expected a float above 0")
        if x.dtype != self.dtype:
            self.faults.append(f"denoise was called with a state of {x.dtype}, expected {self.dtype}")
        self.evaluations[-1] += 1
        return self.problem.denoise(x, float(sigma))

    def _noise(self, step: int) -> Tensor:
        self.noises += 1
        return self.problem.noise(step, _ROWS).to(self.dtype)


def check_step(candidate: Candidate) -> CheckOutcome:
    """Take all steps of a trajectory in single and in double precision."""
    for dtype in (torch.float32, torch.float64):
        recorded = _record(candidate, dtype)
        if recorded.faults:
            return conclude(
                False, recorded.faults[0], "a new finite state of the same shape and type", "correct step()"
            )
    found = f"{_STEPS} steps of {_ROWS} images on {EXACT_DATASET}, float32 and float64"
    return conclude(True, found, "finite states of the same shape and type", "")


def check_evaluations_per_step(candidate: Candidate) -> CheckOutcome:
    """Compare the evaluations of a step with the declared ones, by which plans and units are sized."""
    recorded, solver = _record(candidate), _solver(candidate)
    found, declared = int(np.median(recorded.evaluations)), solver.evaluations_per_step
    return conclude(
        found == declared,
        f"{found} a step" + ("" if len(set(recorded.evaluations)) == 1 else f" (by step {recorded.evaluations})"),
        f"{declared}, as evaluations_per_step says",
        f"set evaluations_per_step = {found}, or evaluate {declared} times",
    )


def check_noise(candidate: Candidate) -> CheckOutcome:
    """Compare whether a solver draws noise with whether it says so."""
    drawn, says = _record(candidate).noises, _solver(candidate).stochastic
    return conclude(
        (drawn > 0) == says,
        f"{drawn} draws in {_STEPS} steps",
        "some, as stochastic = True says" if says else "none, as stochastic = False says",
        "set stochastic to what step() does; all noise must come from its argument `noise`",
    )


def check_memory(candidate: Candidate) -> CheckOutcome:
    """Take two trajectories in turns, and compare each with the same one alone."""
    problem = ExactProblem()
    starts = [problem.start(_ROWS, first=first) for first in (0, _ROWS)]
    alone = [_recorded(candidate, problem).run(start) for start in starts]

    together, states = _recorded(candidate, problem), list(starts)
    memories = [together.begin(), together.begin()]
    for i in range(_STEPS):
        states = [together.step(x, i, memory) for x, memory in zip(states, memories, strict=True)]
    worst = max(_difference(*pair) for pair in zip(states, alone, strict=True))
    return conclude(
        worst == 0.0,
        f"two trajectories in turns differ from each alone by {worst:.1e}",
        "0: all that a step remembers is in the memory of its trajectory",
        "keep past outputs in the object that init_memory() returns, a new one each time, not on the solver",
    )


def _difference(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def _record(candidate: Candidate, dtype: torch.dtype = torch.float64) -> RecordedSolver:
    problem = ExactProblem()
    recorded = _recorded(candidate, problem, dtype)
    recorded.run(problem.start(_ROWS).to(dtype))
    return recorded


def _recorded(candidate: Candidate, problem: ExactProblem, dtype: torch.dtype = torch.float64) -> RecordedSolver:
    return RecordedSolver(_solver(candidate), problem, dtype)


def _solver(candidate: Candidate) -> Solver:
    assert isinstance(candidate.method, Solver)
    return candidate.method
