"""SRDS: what it evaluates and sends, when samples and ranks stop, and what it refuses."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from kit.solver_kit import label, unit
from kit.srds_kit import Conv, grid, mixture_of, run, serial, start, threaded

from methods.executors.lockstep import count_evaluations
from methods.executors.srds import SRDS
from methods.executors.srds_blocks import plan_blocks
from methods.networks.base import NetworkParams
from methods.parts import Solver, Trace
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.heun import Heun
from methods.solvers.unipc import UniPC

pytestmark = pytest.mark.usefixtures("one_thread")

FORMS = ("vanilla", "pipelined", "batched")
FIXED = ("vanilla", "pipelined")  # forms whose calls have one shape


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("steps", "k", "flags", "total"),
    [
        (16, 4, {"share": False, "skip": False}, 84),
        (25, 5, {"share": False, "skip": False}, 155),
        (64, 8, {"share": False, "skip": False}, 584),
        (64, 3, {}, 173),
        (64, 8, {}, 288),
        (64, 3, {"share": False}, 8 + sum((8 - p + 1) * 8 + 8 - p for p in (1, 2, 3))),
    ],
    ids=str,
)
def test_evaluations_are_those_of_the_formulas(
    form: str, steps: int, k: int, flags: dict[str, bool], total: int
) -> None:
    made = run(mixture_of(), grid(steps), start(1), tolerance=0, most=k, form=form, **flags)
    assert made.boundary.evaluations == total
    plan = plan_blocks(steps, **flags)
    assert made.depth == [(plan.chain_pipelined(k) if form == "pipelined" else plan.chain_in_turns(k)).sum()]
    assert made.trace.speculative == 0
    assert made.trace.bytes_sent == 0


def test_batched_solves_make_one_call_a_sub_step() -> None:
    calls = run(mixture_of(), grid(64), start(2), tolerance=0, most=2, form="batched").boundary.calls
    assert calls == [2] * 8 + [16] * 7 + [2] * 7 + [14] * 7 + [2] * 6
    assert set(run(mixture_of(), grid(64), start(2), tolerance=0, most=2, form="vanilla").boundary.calls) == {2}


@pytest.mark.parametrize("form", FORMS)
def test_zero_tolerance_refines_to_the_end_and_an_endless_one_once(form: str) -> None:
    assert run(mixture_of(), grid(16), start(3), tolerance=0, form=form).iterations == [4, 4, 4]
    assert run(mixture_of(), grid(16), start(3), tolerance=math.inf, form=form).iterations == [1, 1, 1]
    assert run(mixture_of(), grid(16), start(3), tolerance=0, most=9, form=form).iterations == [4, 4, 4]


@pytest.mark.parametrize("form", FIXED)
def test_a_sample_stops_by_itself_and_keeps_its_bytes_in_any_company(form: str) -> None:
    network, x = Conv(), start(8, torch.float32)
    x[1:3] = x[1:3] * 1e-3  # easy ones
    made = run(network, grid(64), x, tolerance=2e-4, form=form)
    assert len(set(made.iterations)) > 1
    for rows in ([1] * 8, [7, 1, 0, 2, 5, 5, 3, 6]):
        other = run(network, grid(64), x[rows], tolerance=2e-4, form=form)
        assert other.iterations == [made.iterations[row] for row in rows]
        assert torch.equal(other.final, made.final[rows])
    for k in set(made.iterations):
        fixed, stopped = run(network, grid(64), x, tolerance=0, most=k, form=form), torch.tensor(made.iterations) == k
        assert torch.equal(fixed.final[stopped], made.final[stopped])


def test_work_for_samples_that_have_stopped_is_counted_apart_or_not_done() -> None:
    network, x = mixture_of(), start(12, seed=3)
    plan = plan_blocks(64)
    for form in FORMS:
        made = run(network, grid(64), x, tolerance=1e-4, form=form)
        assert len(set(made.iterations)) > 1
        needed = sum(plan.total_cost(k) for k in made.iterations)
        assert made.boundary.evaluations == needed + made.trace.speculative
        total = len(x) * plan.total_cost(max(made.iterations))
        assert made.boundary.evaluations == (needed if form == "batched" else total)
        chain = plan.chain_pipelined if form == "pipelined" else plan.chain_in_turns
        assert made.depth == [chain(k).sum() for k in made.iterations]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("size", "steps", "flags"),
    [
        (2, 25, {}), (3, 25, {}), (4, 25, {}), (2, 33, {}), (3, 33, {}), (4, 33, {}),
        (2, 33, {"share": False}), (4, 25, {"share": False}), (3, 25, {"skip": False}), (4, 33, {"skip": False}),
    ],
    ids=str,
)  # fmt: skip
def test_ranks_come_to_the_bytes_of_one_device(size: int, form: str, steps: int, flags: dict[str, bool]) -> None:
    network, x = mixture_of(), start(6, seed=3)
    params = {"tolerance": 1e-2, "form": form, **flags}
    one = run(network, grid(steps), x, **params)
    ranks = threaded(size, network, grid(steps), x, **params)
    assert len(set(one.iterations)) > 1
    for made in ranks:
        torch.testing.assert_close(made.final, one.final, rtol=0, atol=0 if form in FIXED else 1e-12)
        assert made.iterations == one.iterations
        assert made.depth == one.depth
    needed = sum(plan_blocks(steps, **flags).total_cost(k) for k in one.iterations)
    assert sum(made.boundary.evaluations - made.trace.speculative for made in ranks) == needed


def test_what_a_pipeline_sends_is_one_state_per_block_and_refinement() -> None:
    x = start(2)
    ranks = threaded(2, mixture_of(), grid(16), x, tolerance=0, form="pipelined")
    state, told = x.numel() * 8, x.numel() * 8 + 2 * 8  # the last block's owner tells the final state and counts
    crossings = 3 + 3 + 2 + 1  # sweep 0, then every active block but the last
    assert sum(made.trace.bytes_sent for made in ranks) == crossings * state + told


@pytest.mark.parametrize(
    ("solver", "params", "steps", "words"),
    [
        (DDPM(), {}, 16, '"ddpm" is stochastic'),
        (DPMPP2M(), {}, 16, '"dpmpp-2m" is multistep .* restart = true'),
        (DDIM(), {"blocks": 17}, 16, "blocks is 17, but there are only 16 steps; give at most 16"),
        (DDIM(), {"devices": 5}, 16, "devices is 5, but there are only 4 blocks to spread; give at most 4"),
        (DDIM(), {"devices": 3, "blocks": 2}, 16, "devices is 3, but there are only 2 blocks"),
    ],
    ids=lambda v: label(v) if isinstance(v, Solver) else str(v)[:20],
)
def test_bad_combinations_are_refused_in_one_sentence(
    solver: Solver, params: dict[str, Any], steps: int, words: str
) -> None:
    executor = SRDS(**params)
    reason = executor.refusal({"solver": solver, "executor": executor}, steps, NetworkParams())
    assert reason is not None
    with pytest.raises(ValueError, match=words):
        raise ValueError(reason)
    assert "\n" not in reason


def test_good_combinations_are_not_refused() -> None:
    for solver, params in ((DDIM(), {"blocks": 16, "devices": 4}), (Heun(), {}), (UniPC(), {"restart": True})):
        executor = SRDS(**params)
        assert executor.refusal({"solver": solver}, 16, NetworkParams()) is None
    assert SRDS(devices=3).device_group() == 3


@pytest.mark.parametrize(
    "bad", [{"blocks": 0}, {"most": 0}, {"devices": 0}, {"tolerance": -1.0}, {"form": "fast"}], ids=str
)
def test_parameters_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        SRDS(**bad)


def test_ranks_that_are_not_those_of_the_parameters_are_an_error() -> None:
    with pytest.raises(ValueError, match="devices is 2, but 1 ranks are here"):
        run(mixture_of(), grid(16), start(1), devices=2)


def test_the_work_of_a_solver_is_found_without_the_network() -> None:
    zero = np.append(grid(4), 0.0)
    assert count_evaluations(DDIM(), grid(4), (0, 2)) == ([1, 1, 1, 1], True)
    assert count_evaluations(Heun(), zero, (0, 2)) == ([2, 2, 2, 2, 1], True)
    assert count_evaluations(UniPC(), grid(4), (0, 2)) == ([1, 1, 1, 1], True)
    began = time.perf_counter()
    count_evaluations(DDIM(), grid(64), (0,))
    assert time.perf_counter() - began < 0.5


class Midpoint(DDIM):
    """A one-step solver that never evaluates at its own state and level, so there is nothing to share."""

    def step(self, x, i, sigmas, denoise, memory, noise):  # type: ignore[no-untyped-def]
        middle = float((sigmas[i] + sigmas[i + 1]) / 2)
        return super().step(x, i, sigmas, lambda y, s: denoise(y * 1.0, middle), memory, noise)


def test_a_solver_that_does_not_begin_as_the_coarse_step_shares_nothing() -> None:
    x = start(2)
    made = run(mixture_of(), grid(16), x, Midpoint(), tolerance=0, form="vanilla")
    assert torch.equal(made.final, serial(mixture_of(), grid(16), x, Midpoint()))
    assert made.boundary.evaluations == 2 * plan_blocks(16, share=False).total_cost(4)


def test_a_denoiser_whose_steps_run_apart_gives_the_same_sample() -> None:
    from harness.sampling.call_counts import CallCounts
    from harness.sampling.evaluator import Evaluator
    from methods.parts import BuiltDenoiser

    network = mixture_of()

    class ByStep(BuiltDenoiser):
        by_step = True

        def __call__(self, x, sigma, step):  # type: ignore[no-untyped-def]
            return (1 + 1e-3 * step) * network(x, sigma), {"network": 1}

        def units(self):  # type: ignore[no-untyped-def]
            return {}

    x, done = start(3), CallCounts()
    evaluate, noise = Evaluator(ByStep(), done), lambda step: unit(0)
    trace = Trace()
    with torch.inference_mode():
        final = SRDS(tolerance=0).run(evaluate, DDIM(), grid(16), x, noise, trace)
        truth = x
        for i in range(16):
            truth = DDIM().step(truth, i, grid(16), lambda y, s, i=i: evaluate(y, s, i), None, noise)
    torch.testing.assert_close(final, truth, rtol=0, atol=1e-12)
    counts = done.to_counts().evaluations
    assert sum(counts.values()) == 3 * (plan_blocks(16).total_cost(4) + 16)
