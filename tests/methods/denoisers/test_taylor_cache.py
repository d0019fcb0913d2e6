"""FORA and TaylorSeer: which calls are whole, forecasts in closed form, work, and sentences of refusal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kit.block_kit import both, network
from kit.cache_kit import LEVELS, called, names, states, whole_estimates
from kit.toy_context import ToyContext

import harness
from harness.errors import UsageError
from harness.measure.flops import count_flops
from methods.denoisers.taylor_cache import TaylorCache, _Trajectory
from methods.networks.uvit import UViTParams
from methods.parts import Artifact
from methods.schedules.edm import EDM
from methods.solvers.heun import Heun

SMALL = UViTParams(depth=2, width=8, heads=1, patch=2)


def refusal(steps: int, parts: Any = None, **params: Any) -> str | None:
    return TaylorCache(**params).refusal(parts or {}, steps, SMALL)


def forecasts(values: list[float], at: list[float], ahead: float, order: int) -> float:
    """Return the forecast of a number that is known at some places, `ahead` of the last."""
    mine = _Trajectory()
    for k, value in enumerate(values):
        mine.gap = at[k] - at[k - 1] if k else None
        mine.keep("f", torch.tensor(value, dtype=torch.float64), order)
    mine.ahead = ahead
    return float(mine.forecast("f"))


@both
@pytest.mark.parametrize("level", ["branch", "last"])
def test_an_interval_of_1_is_the_whole_network_bit_for_bit(family: str, level: str) -> None:
    net, x = network(family), states()
    found, units = called(TaylorCache(interval=1, order=2, level=level).build(net), x)
    assert names(units) == ["full"] * len(LEVELS)
    assert all(map(torch.equal, found, whole_estimates(net, x)))


@both
@pytest.mark.parametrize("level", ["branch", "last"])
def test_a_cached_call_at_the_same_state_is_the_whole_call_bit_for_bit(family: str, level: str) -> None:
    net, x = network(family), states()
    built = TaylorCache(interval=3, order=0, warm=1, level=level).build(net)
    memory, sigma = built.init_memory(3), torch.full((3,), 2.0, dtype=torch.float64)
    (first, ran), (second, ran_then) = built(x, sigma, 0, memory), built(x, sigma, 0, memory)
    assert (ran, ran_then) == ({"full": 1}, {"cached": 1})
    assert torch.equal(first, second)
    # at another state the kept tokens or branches are those of the first
    third, _ = built(x + 1, sigma, 1, memory)
    assert not torch.allclose(third, net(x + 1, sigma))


def test_whole_calls_are_those_of_the_papers() -> None:
    net, x = network(depth=2), states(1)
    forecast = TaylorCache(interval=3, order=1).build(net)
    assert [k for k, name in enumerate(names(called(forecast, x)[1])) if name == "full"] == [0, 1, 4, 7]
    reuse = TaylorCache(interval=4, order=0, anchor="end").build(net, Artifact(facts={"calls": 10}))
    assert [k for k, name in enumerate(names(called(reuse, x)[1])) if name == "full"] == [0, 1, 5, 9]
    once = TaylorCache(interval=10, order=0, warm=1).build(net)
    assert names(called(once, x)[1]).count("full") == 1


def test_forecasts_are_exact_for_a_line_and_have_the_closed_form_above() -> None:
    line = [3.0 + 2.0 * k for k in (0, 1, 4)]
    assert forecasts(line, [0, 1, 4], 2.0, 1) == pytest.approx(3.0 + 2.0 * 6)
    assert forecasts(line, [0, 1, 4], 2.0, 0) == line[-1]
    # even calls: differences of a square are 2h - h² and 2, so that the forecast is off by ahead * h
    square = [float(k**2) for k in (0, 3, 6)]
    assert forecasts(square, [0, 3, 6], 2.0, 2) == pytest.approx(6**2 + 9 * 2 + (9 - 3) / 3 * 2**2 / 2)
    # an order above what there is, is lowered
    assert forecasts(line[:2], [0, 1], 1.0, 4) == pytest.approx(7.0)
    assert forecasts(line[:1], [0], 1.0, 4) == 3.0


def test_forecasts_follow_a_branch_that_is_linear_in_the_call_and_count_log_sigma_if_wished() -> None:
    net, x = network(depth=2), states(1)
    built = TaylorCache(interval=3, order=1, clock="log-sigma").build(net)
    memory, kept = built.init_memory(1), {}
    for k, level in enumerate(LEVELS[:3]):
        built(x, torch.full((1,), level, dtype=torch.float64), k, memory)
        kept[k] = {key: list(value) for key, value in memory.kept.items()}
    d0, d1 = kept[1][(0, "attn")]
    gap = torch.log(torch.tensor(LEVELS[0] / LEVELS[1]))
    assert torch.allclose(d1, (d0 - kept[0][(0, "attn")][0]) / gap)
    expected = d0 + d1 * torch.log(torch.tensor(LEVELS[1] / LEVELS[2]))
    assert torch.allclose(memory.forecast((0, "attn")), expected, atol=1e-6)


@both
def test_images_do_not_depend_on_the_batch(family: str) -> None:
    net, x = network(family), states(5)
    built = TaylorCache(interval=3, order=2).build(net)
    together, alone = called(built, x)[0][-1], called(built, x[3:4])[0][-1]
    assert torch.allclose(together[3:4], alone, atol=1e-5)


@both
@pytest.mark.parametrize("level", ["branch", "last"])
def test_units_cost_what_their_calls_run(family: str, level: str) -> None:
    net, x = network(family), states(1)
    built = TaylorCache(interval=2, order=0, warm=1, level=level).build(net)
    sigma, memory = torch.full((1,), 2.0, dtype=torch.float64), built.init_memory(1)
    units = {name: count_flops(call, x, sigma) for name, call in built.units().items()}
    for name in ("full", "cached"):
        assert count_flops(lambda: built(x, sigma, 0, memory)) == units[name]
    assert 0 < units["cached"] < 0.3 * units["full"]


def test_the_calls_of_a_trajectory_are_counted_beforehand_for_the_anchor_end() -> None:
    method = TaylorCache(anchor="end", order=0)
    assert method.prepares
    assert not TaylorCache().prepares
    assert method.prepare(ToyContext(network(depth=2), steps=4, solver=Heun())).facts == {"calls": 8}
    # an estimate after the last level is one call more
    for final, calls in (("none", 8), ("denoise", 9)):
        parts = {"solver": Heun(), "schedule": EDM(final=final)}
        assert refusal(4, parts, interval=calls + 1) is not None
        assert refusal(4, parts, interval=calls, order=0) is None


def test_what_does_not_fit_a_trajectory_is_refused_in_a_sentence() -> None:
    assert refusal(10) is None
    assert "interval is 11, more than the 10 calls" in str(refusal(10, interval=11))
    assert "order 4 needs 5 whole calls before a cached one" in str(refusal(10, order=4))
    assert "give order 3 or less" in str(refusal(10, order=4))
    assert refusal(10, order=3) is None
    assert refusal(10, order=4, interval=1) is None
    for wrong in ({"interval": 0}, {"order": 5}, {"order": -1}, {"warm": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            harness.make_sampler("zoo:uvit-8", denoiser={"name": "taylor-cache", **wrong}, steps=10)


@pytest.mark.parametrize("executor", ["srds", "paradigms"])
def test_parallel_executors_are_refused_with_the_reason(executor: str) -> None:
    with pytest.raises(UsageError, match=r"remembers earlier calls of a trajectory"):
        harness.make_sampler("zoo:uvit-8", denoiser="taylor-cache", executor=executor, steps=9)


@pytest.mark.parametrize(("solver", "calls"), [("ddim", 6), ("heun", 12), ("dpmpp-2m", 6), ("unipc", 6)])
def test_solvers_of_one_and_two_calls_a_step_make_images_independent_of_the_batch(solver: str, calls: int) -> None:
    from harness.sampling.call_counts import CallCounts

    made = harness.make_sampler("zoo:uvit-8", denoiser="taylor-cache", solver=solver, steps=6)
    counts = CallCounts()
    together = made.run(range(3), counts)
    assert sum(counts.evaluations.values()) == 3 * calls
    whole = sum(k < 2 or (k - 1) % 3 == 0 for k in range(calls))
    assert counts.total_units() == {"cached": 3 * (calls - whole), "full": 3 * whole}
    assert torch.allclose(together[1:2], made.run([1]), atol=1e-4)
