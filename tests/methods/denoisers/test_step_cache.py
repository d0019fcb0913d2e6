"""Threshold caches: the rules by hand, decisions per image, fits in closed form, work, refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from kit.block_kit import both, network
from kit.cache_kit import LEVELS, called, states, whole_estimates
from kit.toy_context import ToyContext
from torch import Tensor

import harness
from harness.errors import UsageError
from harness.measure.flops import count_flops
from methods.denoisers.step_cache import StepCache
from methods.denoisers.step_cache_fits import FittedChange, WienerGain, fit_change, relative_change, spectrum_of
from methods.networks.blocks import BlockNetwork
from methods.networks.uvit import UViTParams
from methods.parts import Artifact, BuiltDenoiser
from methods.solvers.heun import Heun

SMALL = UViTParams(depth=2, width=8, heads=1, patch=2)
FACTS: dict[str, Mapping[str, Any]] = {
    "input": {"calls": len(LEVELS), "coefficients": [0.01, 0.9], "r2": 0.9},
    "first-block": {},
    "spectral": {"calls": len(LEVELS), "amplitude": 0.05, "beta": 2.0},
}
each = pytest.mark.parametrize("indicator", FACTS)


def built(net: BlockNetwork, indicator: str, **params: Any) -> BuiltDenoiser:
    return StepCache(indicator=indicator, **params).build(net, Artifact(facts=FACTS[indicator]))


def decisions(units: list[dict[str, Any]], rows: int) -> list[list[bool]]:
    """Return by call which rows ran whole."""
    whole = [torch.as_tensor(ran["full"]).expand(rows).bool().tolist() for ran in units]
    for ran in units:
        assert bool((torch.as_tensor(ran["full"]) + torch.as_tensor(ran.get("cached", 0)) == 1).all())
    return whole


@both
@each
def test_a_threshold_of_0_is_the_whole_network_bit_for_bit(family: str, indicator: str) -> None:
    net, x = network(family), states()
    found, units = called(built(net, indicator, threshold=0), x)
    assert all(all(rows) for rows in decisions(units, 3))
    assert all(map(torch.equal, found, whole_estimates(net, x)))


@both
@each
def test_a_skipped_call_at_the_same_state_is_the_whole_call(family: str, indicator: str) -> None:
    net, x = network(family), states()
    denoiser = built(net, indicator, threshold=0.02)
    memory, sigma = denoiser.init_memory(3), torch.full((3,), 2.0, dtype=torch.float64)
    first, ran = denoiser(x, sigma, 0, memory)
    second, ran_then = denoiser(x, sigma, 0, memory)
    assert ran == {"full": 1}
    assert torch.equal(torch.as_tensor(ran_then["cached"]), torch.ones(3, dtype=torch.int64))
    assert torch.equal(first, net(x, sigma))
    assert torch.allclose(first, second, atol=1e-5)
    # a state far away runs whole
    third, ran_far = denoiser(50 * x + 9, sigma, 1, memory)
    assert torch.equal(torch.as_tensor(ran_far["full"]), torch.ones(3, dtype=torch.int64))
    assert torch.allclose(third, net(50 * x + 9, sigma), atol=1e-4)


@both
@each
def test_decisions_and_images_are_those_of_each_image_alone(family: str, indicator: str) -> None:
    net, x = network(family), states(8) * torch.linspace(0.2, 3, 8)[:, None, None, None]
    denoiser = built(net, indicator, threshold=0.3)
    found, units = called(denoiser, x)
    together = decisions(units, 8)
    for i in range(8):
        alone, own = called(denoiser, x[i : i + 1])
        assert [rows[i] for rows in together] == [rows[0] for rows in decisions(own, 1)]
        assert torch.allclose(found[-1][i : i + 1], alone[-1], atol=1e-5)


def test_images_of_a_batch_differ_in_their_decisions() -> None:
    x = states(8) * torch.linspace(0.2, 3, 8)[:, None, None, None]
    together = decisions(called(built(network("dit"), "input", threshold=0.3), x)[1], 8)
    assert any(len(set(rows)) == 2 for rows in together)


@each
def test_the_rule_is_the_one_that_is_written_down(indicator: str) -> None:
    """The same indicator, by hand: an accumulated change, or one against the last whole call."""
    net, x, threshold = network("dit"), states(1), 0.25
    denoiser = built(net, indicator, threshold=threshold)
    seen: list[Tensor] = []
    keep = denoiser._decide  # type: ignore[attr-defined]
    denoiser._decide = lambda mine, m: (seen.append(m), keep(mine, m))[1]  # type: ignore[attr-defined]
    whole = [rows[0] for rows in decisions(called(denoiser, x)[1], 1)]

    total, last, expected = 0.0, 0, [True]
    for k in range(1, len(seen)):
        r = float(relative_change(seen[k], seen[last if indicator == "first-block" else k - 1]))
        total = r if indicator == "first-block" else total + (max(0.01 + 0.9 * r, 0) if indicator == "input" else r)
        runs = total >= threshold or (indicator != "first-block" and k == len(LEVELS) - 1)
        expected.append(runs)
        total, last = (0.0, k) if runs else (total, last)
    assert whole == expected
    assert not all(whole)


@each
def test_a_larger_threshold_skips_no_less_until_decisions_part(indicator: str) -> None:
    x, before = states(4), None
    for threshold in (0.05, 0.1, 0.2, 0.4, 0.8):
        whole = decisions(called(built(network("dit"), indicator, threshold=threshold), x)[1], 4)
        if before is not None:
            for i in range(4):
                pairs = [(a[i], b[i]) for a, b in zip(before, whole, strict=True)]
                parted = next((pair for pair in pairs if pair[0] != pair[1]), (True, False))
                assert parted == (True, False)
        before = whole


def test_no_more_calls_in_a_row_are_skipped_than_allowed() -> None:
    x = states(2)
    free = decisions(called(built(network(), "spectral", threshold=100), x)[1], 2)
    assert [rows[0] for rows in free] == [True] + [False] * 8 + [True]
    two = decisions(called(built(network(), "spectral", threshold=100, most_in_a_row=2), x)[1], 2)
    assert [rows[1] for rows in two] == [True, False, False] * 3 + [True]


@both
@each
def test_units_cost_what_their_calls_run(family: str, indicator: str) -> None:
    net, x = network(family), states(1)
    denoiser = built(net, indicator, threshold=0.5)
    sigma, memory = torch.full((1,), 2.0, dtype=torch.float64), denoiser.init_memory(1)
    units = {name: count_flops(call, x, sigma) for name, call in denoiser.units().items()}
    for name in ("full", "cached"):
        assert count_flops(lambda: denoiser(x, sigma, 0, memory)) == units[name]
    assert all(call(states(3), torch.ones(3)).shape == (3, 1, 8, 8) for call in denoiser.units().values())
    assert units["cached"] < (0.5 if indicator == "first-block" else 0.3) * units["full"]


def test_a_fit_finds_a_polynomial_and_says_how_much_it_explains() -> None:
    inputs = [k / 20 for k in range(40)]
    exact = fit_change(inputs, [0.1 + 2 * x - 0.5 * x**3 for x in inputs])
    assert exact.coefficients == pytest.approx((0.1, 2, 0, -0.5, 0), abs=1e-8)
    assert exact.r2 == pytest.approx(1)
    assert FittedChange((-1.0, 2.0), 1.0).predicted(torch.tensor([0.25, 1.0])).tolist() == [0.0, 1.0]
    noise = torch.randn(40, generator=torch.Generator().manual_seed(0)).tolist()
    assert fit_change(inputs, noise).r2 < 0.5
    assert fit_change(inputs, [1.0] * 40).r2 == 0.0


def test_a_spectrum_is_fitted_and_its_gain_has_mean_1_and_takes_out_high_frequencies() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.fft.fftfreq(16, dtype=torch.float64)
    radius = (one[:, None] ** 2 + one[None] ** 2).sqrt()
    radius[0, 0] = 1
    noise = torch.randn(400, 1, 16, 16, generator=generator, dtype=torch.float64)
    shaped = torch.fft.fft2(noise) * (0.3 / radius**2.4).sqrt()
    found = spectrum_of(torch.fft.ifft2(shaped).real)
    assert found["beta"] == pytest.approx(2.4, abs=0.1)
    assert found["amplitude"] == pytest.approx(0.3, rel=0.1)
    gain = WienerGain({"amplitude": 0.3, "beta": 2.4}, 16, torch.device("cpu")).gain(2.0)
    assert float(gain.mean()) == pytest.approx(1)
    assert float(gain[0, 0]) == float(gain.max())
    assert float(gain[8, 8] / gain[0, 0]) == pytest.approx(1 / (1 + 4 * 0.5**1.2 / 0.3), rel=1e-6)


@pytest.mark.parametrize("indicator", ["input", "spectral"])
def test_preparing_counts_calls_and_fits(indicator: str) -> None:
    method, net = StepCache(indicator=indicator, threshold=0.3), network(depth=2)
    left = method.prepare(ToyContext(net, steps=4, solver=Heun()))
    assert left.facts["calls"] == 8
    assert set(left.facts) - {"calls"} == ({"coefficients", "r2"} if indicator == "input" else {"amplitude", "beta"})
    x = states(2)
    assert decisions(called(method.build(net, left), x, LEVELS[:8])[1], 2)[-1] == [True, True]


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    assert "so that none can be skipped" in str(StepCache().refusal({}, 2, SMALL))
    assert StepCache().refusal({"solver": Heun()}, 2, SMALL) is None
    assert StepCache(indicator="first-block").refusal({}, 2, SMALL) is None
    assert "the first is whole" in str(StepCache(indicator="first-block").refusal({}, 1, SMALL))
    given: dict[str, Any] = {"name": "step-cache", "indicator": "first-block", "threshold": -0.1}
    with pytest.raises(UsageError, match="threshold"):
        harness.make_sampler("zoo:uvit-8", denoiser=given, steps=10)
    given["threshold"] = 0.1
    with pytest.raises(UsageError, match=r"remembers earlier calls of a trajectory"):
        harness.make_sampler("zoo:uvit-8", denoiser=given, executor="paradigms", steps=9)


def test_guided_rows_decide_for_themselves() -> None:
    net = network("dit", classes=3)
    denoiser = built(net, "input", threshold=0.3)
    x = states(2)
    net.row_classes = torch.tensor([0, 2])
    with_class = decisions(called(denoiser, x)[1], 2)
    net.row_classes = torch.tensor([3, 3])
    without = decisions(called(denoiser, x)[1], 2)
    net.row_classes = torch.tensor([0, 2, 3, 3])
    both_kinds = decisions(called(denoiser, torch.cat([x, x]))[1], 4)
    assert both_kinds == [a + b for a, b in zip(with_class, without, strict=True)]
