"""The order of convergence of a solver: how its error falls with the number of steps, on a flow that is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from harness.check.candidate import EXACT_DATASET, Candidate
from harness.check.exact_problem import ExactProblem
from harness.check.outcome import CheckOutcome, conclude, not_applicable
from methods.parts import Solver

STEP_COUNTS = (64, 128, 256)
ORDER_SLACK = 0.25
"""So much less than declared still counts: at these step counts the order is not yet reached exactly."""
_ROUNDING = 1e-10
"""Errors below this are those of rounding, and have no order."""
_ROWS = 8


def check_order(candidate: Candidate) -> CheckOutcome:
    """Compare the measured order of convergence with the declared one."""
    solver = candidate.method
    assert isinstance(solver, Solver)
    if solver.stochastic:
        return not_applicable("it draws noise, and follows no flow that could be compared")
    if solver.prepares:
        return not_applicable("it is prepared for a trained network")

    errors = measure_errors(solver)
    order, declared = _order(errors), solver.order
    found = f"{order:.2f} on {EXACT_DATASET}, errors {', '.join(f'{one:.1e}' for one in errors)}"
    found += f" at {', '.join(map(str, STEP_COUNTS))} steps"
    return conclude(
        order >= declared - ORDER_SLACK,
        found,
        f"{declared}, as order says, or more (within {ORDER_SLACK})",
        f"the step is not of order {declared}: look for a wrong level, weight or sign in it, or declare the true order",
    )


def measure_errors(solver: Solver) -> list[float]:
    """Return the relative errors of final states at `STEP_COUNTS` steps."""
    problem = ExactProblem()
    start = problem.start(_ROWS)
    exact = problem.solve(start)
    return [_error(solver, problem, steps, start, exact) for steps in STEP_COUNTS]


def _error(solver: Solver, problem: ExactProblem, steps: int, start: Tensor, exact: Tensor) -> float:
    levels, memory, x = problem.levels(steps), solver.init_memory(solver.artifact), start
    with torch.inference_mode():
        for i in range(steps):
            x = solver.step(x, i, levels, problem.denoise, memory, _no_noise)
    return float((x - exact).norm() / exact.norm())


def _order(errors: list[float]) -> float:
    """Return the order between the two finest counts that rounding does not hide; infinity where all are exact."""
    ratios = [
        float(np.log2(coarse / fine)) for coarse, fine in pairwise(errors) if fine > _ROUNDING and coarse > _ROUNDING
    ]
    return ratios[-1] if ratios else float("inf")


def _no_noise(step: int) -> Tensor:
    raise ValueError("the solver draws noise and does not say stochastic = True")
