"""SRDS on one device: the samples and errors of section 6 of its specification, by their numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from kit.solver_kit import label, no_noise
from kit.srds_kit import HIGH, Boundary, Conv, RowNetwork, grid, mixture_of, run, serial, start
from torch import Tensor

import methods.executors.srds_refinement
from methods.executors.srds_blocks import plan_blocks
from methods.executors.srds_refinement import Propagators, refine_in_turns
from methods.parts import Solver
from methods.peers import SinglePeer
from methods.solvers.ddim import DDIM
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.heun import Heun
from methods.solvers.ipndm import IPNDM
from methods.solvers.unipc import UniPC

pytestmark = pytest.mark.usefixtures("one_thread")

C = 0.5
FORMS = ("vanilla", "pipelined", "batched")
FIXED = ("vanilla", "pipelined")  # forms whose calls have one shape
ORACLE = {
    64: (1.8e-1, 1.3e-2, 3.9e-4, 4.9e-6, 2.5e-8, 4.9e-11),
    256: (1.0e-1, 4.7e-3, 1.2e-4, 1.9e-6, 1.8e-8, 1.2e-10),
}
MULTIMODAL = (1e-1, 7e-2, 2e-2, 2e-3, 7e-5, 2e-6)
MULTISTEP: list[Solver] = [DPMPP2M(), IPNDM(), UniPC(order=3)]


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    return C**2 / (C**2 + sigma.to(x)[:, None, None, None] ** 2) * x


def alone(network: RowNetwork, steps: int, most: int, form: str) -> Tensor:
    """Return the refined scalar of Gaussian data from 1."""
    x = torch.full((1, 1, 1, 1), HIGH, dtype=torch.float64)
    return run(network, grid(steps), x, tolerance=0, most=most, form=form).final


def sweep(network: RowNetwork, sigmas: np.ndarray, x: Tensor, blocks: int) -> Tensor:
    """Return the end of the coarse sweep before the first refinement."""
    f = Propagators(Boundary(network), DDIM(), sigmas, no_noise, plan_blocks(len(sigmas) - 1, blocks))
    with torch.inference_mode():
        return refine_in_turns(f, x, SinglePeer(), 0.0, 0, False).final


def exact_blocks(form: str, network: RowNetwork, x: Tensor, skip: bool = True) -> None:
    """Invariant 1: x^p_i is the serial state for i <= p; x^p_i is the end of a run on the first i blocks."""
    for p in range(1, 5):
        for i in range(1, p + 1):
            part = grid(25)[: 5 * i + 1]
            made = run(network, part, x, blocks=i, most=p, tolerance=0, form=form, skip=skip)
            assert torch.equal(made.final, serial(network, part, x))


def oracle_errors(steps: int, form: str) -> list[float]:
    """Invariant 5: relative errors of x_B to the serial answer, after 0, 1, ... refinements."""
    x = torch.full((1, 1, 1, 1), HIGH, dtype=torch.float64)
    truth = serial(gaussian, grid(steps), x)
    states = [sweep(gaussian, grid(steps), x, math.isqrt(steps))]
    states += [alone(gaussian, steps, p, form) for p in range(1, 6)]
    return [abs(float(state / truth) - 1) for state in states]


@pytest.mark.parametrize("form", FIXED)
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("network", [mixture_of(), Conv()], ids=["float64", "float32"])
def test_the_first_blocks_are_exact(form: str, skip: bool, network: RowNetwork) -> None:
    exact_blocks(form, network, start(3, torch.float32 if isinstance(network, Conv) else torch.float64), skip)


@pytest.mark.parametrize("form", FIXED)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 16, 23])
@pytest.mark.parametrize("network", [mixture_of(), Conv()], ids=["float64", "float32"])
def test_full_convergence_is_the_serial_sample_bitwise(form: str, steps: int, network: RowNetwork) -> None:
    x = start(3, torch.float32 if isinstance(network, Conv) else torch.float64)
    made = run(network, grid(steps), x, tolerance=0, form=form)
    assert torch.equal(made.final, serial(network, grid(steps), x))
    assert made.iterations == [plan_blocks(steps).blocks] * 3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("flags", [{"share": False}, {"skip": False}, {"share": False, "skip": False}], ids=str)
def test_nothing_left_out_or_shared_changes_a_byte(form: str, flags: dict[str, bool]) -> None:
    x = start(2)
    plain = run(mixture_of(), grid(16), x, tolerance=0, form=form, **flags)
    torch.testing.assert_close(plain.final, serial(mixture_of(), grid(16), x), rtol=0, atol=1e-12)
    if form in FIXED:
        for most in (1, 2, 3):
            some = run(mixture_of(), grid(16), x, tolerance=0, most=most, form=form, **flags)
            assert torch.equal(some.final, run(mixture_of(), grid(16), x, tolerance=0, most=most, form=form).final)


@pytest.mark.parametrize("form", FIXED)
@pytest.mark.parametrize("to_zero", [False, True])
def test_heun_converges_to_serial_heun_with_two_evaluations_a_step(form: str, to_zero: bool) -> None:
    sigmas = np.append(grid(15), 0.0) if to_zero else grid(16)
    x, network = start(2), mixture_of()
    made = run(network, sigmas, x, Heun(), tolerance=0, form=form)
    assert torch.equal(made.final, serial(network, sigmas, x, Heun()))
    plan = plan_blocks(16, work=[2] * 15 + [1 if to_zero else 2])
    assert made.boundary.evaluations == 2 * plan.total_cost(4)
    assert made.depth == [(plan.chain_in_turns(4) if form == "vanilla" else plan.chain_pipelined(4)).sum()] * 2


@pytest.mark.parametrize("solver", MULTISTEP, ids=label)
@pytest.mark.parametrize("form", FORMS)
def test_a_multistep_solver_converges_to_itself_restarted_in_every_block(form: str, solver: Solver) -> None:
    x, network, sigmas = start(2), mixture_of(), grid(20)
    made = run(network, sigmas, x, solver, tolerance=0, blocks=4, restart=True, form=form)
    truth = serial(network, sigmas, x, solver, restarts=(0, 5, 10, 15))
    torch.testing.assert_close(made.final, truth, rtol=0, atol=0 if form in FIXED else 1e-12)
    assert not torch.equal(truth, serial(network, sigmas, x, solver))
    assert made.boundary.evaluations == 2 * plan_blocks(20, 4).total_cost(4)


def test_the_sweep_is_plain_ddim_on_the_coarse_grid() -> None:
    for network, x in ((mixture_of(), start(3)), (Conv(), start(3, torch.float32))):
        for blocks, edges in ((8, list(range(0, 65, 8))), (5, [0, 13, 26, 39, 52, 64])):
            assert torch.equal(sweep(network, grid(64), x, blocks), serial(network, grid(64)[edges], x))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", [64, 256])
def test_errors_on_gaussian_data_are_the_printed_ones(steps: int, form: str) -> None:
    for error, printed in zip(oracle_errors(steps, form), ORACLE[steps], strict=True):
        assert error == pytest.approx(printed, rel=0.05)


def test_errors_follow_the_linear_recurrence() -> None:
    sigmas, edges = grid(64), range(0, 65, 8)

    def multiplier(levels: np.ndarray) -> float:
        return float(np.prod((C**2 + levels[:-1] * levels[1:]) / (C**2 + levels[:-1] ** 2)))

    fine = [multiplier(sigmas[a : a + 9]) for a in edges[:-1]]
    coarse = [multiplier(sigmas[[a, a + 8]]) for a in edges[:-1]]
    matrix = np.zeros((9, 9))
    for i in range(9):
        for j in range(i):
            matrix[i, j] = (fine[j] - coarse[j]) * np.prod(coarse[j + 1 : i])
    truth = HIGH * np.cumprod([1, *fine])
    error = HIGH * np.cumprod([1, *coarse]) - truth
    for p in range(1, 9):
        error = matrix @ error
        assert abs(float(alone(gaussian, 64, p, "vanilla")) - truth[8] - error[8]) <= 1e-14
    assert not error.any()


def test_errors_on_a_multimodal_target_decay_as_printed_and_end_at_zero() -> None:
    network, x = mixture_of(), start(64)
    truth = serial(network, grid(64), x)
    errors = [
        float((run(network, grid(64), x, tolerance=0, most=p).final - truth).square().mean().sqrt())
        for p in range(1, 8)
    ]
    for error, printed in zip(errors, MULTIMODAL, strict=False):
        assert printed / 5 < error < printed * 5
    assert torch.equal(run(network, grid(64), x, tolerance=0, most=8, form="vanilla").final, truth)


@pytest.mark.parametrize("steps", [16, 23, 64])
@pytest.mark.parametrize("most", [None, 2])
def test_pipelined_is_vanilla_bitwise_and_batched_nearly(steps: int, most: int | None) -> None:
    for network, x in ((mixture_of(), start(4)), (Conv(), start(4, torch.float32))):
        vanilla, pipelined, batched = (
            run(network, grid(steps), x, tolerance=1e-3, most=most, form=form) for form in FORMS
        )
        assert torch.equal(vanilla.final, pipelined.final)
        assert vanilla.iterations == pipelined.iterations == batched.iterations
        torch.testing.assert_close(batched.final, vanilla.final, rtol=0, atol=1e-5)


def test_the_error_at_the_stop_is_of_the_size_of_the_tolerance(record_property: Any) -> None:
    network, worst = mixture_of(), {}
    for tolerance in (1e-2, 1e-3, 7.8e-4, 1e-4):
        ratios = []
        for seed in range(100, 103):
            x = start(16, seed=seed)
            made = run(network, grid(64), x, tolerance=tolerance)
            error = (made.final - serial(network, grid(64), x)).flatten(1).abs().mean(1)
            ratios.append(float(error.max()) / tolerance)
        worst[tolerance] = max(ratios)
        record_property(f"error over tolerance {tolerance:g}", worst[tolerance])
    assert max(worst.values()) < 5  # not guaranteed in general; here the change overestimates the error


@pytest.mark.parametrize("form", FORMS)
def test_one_block_is_one_fine_solve(form: str) -> None:
    x = start(2)
    made = run(mixture_of(), grid(9), x, blocks=1, tolerance=0, form=form)
    assert torch.equal(made.final, serial(mixture_of(), grid(9), x))
    assert made.iterations == [1, 1]
    assert made.boundary.evaluations == 2 * 9


@pytest.mark.parametrize("form", FORMS)
def test_blocks_of_one_step_are_at_rest_after_one_refinement(form: str) -> None:
    x = start(2)
    made = run(mixture_of(), grid(9), x, blocks=9, tolerance=1e-9, form=form)
    assert torch.equal(made.final, serial(mixture_of(), grid(9), x))
    assert made.iterations == [1, 1]


def wrong_sign(fine: Tensor, coarse: Tensor, before: Tensor) -> Tensor:
    return fine - (coarse - before)


class OtherBlock:
    """Takes the coarse step of the block that was corrected before this one."""

    def __init__(self) -> None:
        self.other: Tensor | None = None

    def __call__(self, fine: Tensor, coarse: Tensor, before: Tensor) -> Tensor:
        other, self.other = self.other, before
        return fine + (coarse - (before if other is None else other))


@pytest.mark.parametrize("form", FIXED)
@pytest.mark.parametrize("mutant", [lambda: wrong_sign, OtherBlock], ids=["wrong sign", "stale g of another block"])
def test_mutants_have_other_errors_than_the_printed_ones(form: str, mutant: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(methods.executors.srds_refinement, "corrected", mutant())
    errors = oracle_errors(64, form)
    assert errors[0] == pytest.approx(ORACLE[64][0], rel=0.05)
    assert all(error > 10 * printed for error, printed in zip(errors[2:], ORACLE[64][2:], strict=True))


@pytest.mark.parametrize("form", FIXED)
def test_the_bracket_of_another_block_is_not_exact(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        methods.executors.srds_refinement, "corrected", OtherBlock()
    )  # a wrong sign of the bracket 0 would be
    with pytest.raises(AssertionError):
        exact_blocks(form, mixture_of(), start(2), skip=False)


def test_states_keep_their_number_format_and_the_start_is_left_alone() -> None:
    for dtype in (torch.float32, torch.float64):
        x = start(2, dtype)
        kept = x.clone()
        for form in FORMS:
            assert run(gaussian, grid(16), x, form=form).final.dtype == dtype
        assert torch.equal(x, kept)
