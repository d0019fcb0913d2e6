"""Checks before anything is run: declarations, levels, steps; every shipped method passes, every toy fails its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kit import check_toys as toys
from kit.check_kit import candidate_of

from harness.check.candidate import Candidate, find_candidate
from harness.check.class_contract import check_declarations, check_name_and_summary, check_parameters
from harness.check.convergence import check_order
from harness.check.method_check import OF_CLASS, OF_PART
from harness.check.outcome import CheckOutcome, CheckState, run_check
from harness.check.schedule_contract import check_impossible_ranges, check_level_grid
from harness.check.solver_contract import check_evaluations_per_step, check_memory, check_noise, check_step
from harness.registry import registry
from methods.parts import Method

SHIPPED = [method for method in registry().methods() if method.__module__.startswith("methods.")]
Check = Callable[[Candidate], CheckOutcome]


@pytest.mark.parametrize("method", SHIPPED, ids=lambda found: f"{found.part}-{found.name}")
def test_every_shipped_method_passes(method: type[Method]) -> None:
    candidate = find_candidate(f"{method.part}/{method.name}", [], None, 10)
    outcomes = [run_check(check, candidate) for check in (*OF_CLASS, *OF_PART[method.part])]
    assert not [one for one in outcomes if one.state is CheckState.failed]
    assert all(one.found for one in outcomes)


@pytest.mark.parametrize(
    ("check", "toy", "found"),
    [
        (check_name_and_summary, toys.Undescribed, "a summary of 9 characters on 2 lines"),
        (check_parameters, toys.LooseParams, "Params takes unknown keys; Params can be changed"),
        (check_declarations, toys.WrongTypes, "prepares_for is ('weather',); order is 'second'"),
        (check_level_grid, toys.OtherEnds, "1 steps from 20 to 0.002: ends 20.0 and 0.0"),
        (check_level_grid, toys.Rises, "3 steps from 20 to 0.002: level 2 is"),
        (check_level_grid, toys.SinglePrecision, "float32 [2]"),
        (check_impossible_ranges, toys.TakesAnything, "no ValueError for"),
        (check_step, toys.WritesState, "step 0 wrote into its state x"),
        (check_step, toys.Narrows, "step 0 returned [3, 1, 4, 4] torch.float32 for [3, 1, 4, 4] torch.float64"),
        (check_step, toys.Raises, "ZeroDivisionError: one step is broken (check_toys.py, line "),
        (check_evaluations_per_step, toys.CallsTwice, "2 a step"),
        (check_noise, toys.SecretNoise, "6 draws in 6 steps"),
        (check_memory, toys.Remembers, "two trajectories in turns differ"),
        (check_order, toys.FirstOrder, "on gaussian-mixture, errors"),
    ],
)
def test_a_broken_promise_is_a_failure_with_what_to_do(check: Check, toy: type[Method], found: str) -> None:
    outcome = run_check(check, candidate_of(toy()))
    assert outcome.state is CheckState.failed
    assert found in outcome.found
    assert outcome.expected
    assert outcome.to_do


def test_a_schedule_may_refuse_step_counts() -> None:
    outcome = check_level_grid(candidate_of(toys.Choosy()))
    assert outcome.state is CheckState.passed
    assert "refused 6, such as 1 from 20 to 0.002 (fewer than 5 steps)" in outcome.found


def test_what_draws_noise_has_no_order() -> None:
    stochastic = registry().make("solver", "ddpm", {})
    assert check_order(candidate_of(stochastic)).state is CheckState.absent


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("heun", 2), ("dpmpp-2m", 2), ("unipc", 2)])
def test_the_order_that_is_measured_is_that_of_theory(name: str, order: int) -> None:
    found = check_order(candidate_of(registry().make("solver", name, {}))).found
    assert float(found.partition(" ")[0]) == pytest.approx(order, abs=0.25)
