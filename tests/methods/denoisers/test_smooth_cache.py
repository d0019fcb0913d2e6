"""SmoothCache: errors of reuse by hand, masks from them, work, and sentences of refusal."""

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
from methods.denoisers.smooth_cache import MaskedBranches, ReuseRecorder, SmoothCache, computed_calls
from methods.networks.blocks import BlockNetwork
from methods.networks.branches import KINDS
from methods.networks.uvit import UViTParams
from methods.parts import Artifact, BuiltDenoiser
from methods.solvers.heun import Heun

SMALL = UViTParams(depth=2, width=8, heads=1, patch=2)


def left(net: BlockNetwork, reach: int = 3) -> Artifact:
    """Return what a calibration on three states leaves."""
    recorder = ReuseRecorder(net, reach)
    called(recorder, states())
    return Artifact({"errors": recorder.errors()}, {"calls": recorder.calls})


def built(net: BlockNetwork, **params: Any) -> BuiltDenoiser:
    return SmoothCache(**params).build(net, left(net))


@both
@pytest.mark.parametrize("per", ["type", "block"])
def test_an_alpha_of_0_is_the_whole_network_bit_for_bit(family: str, per: str) -> None:
    net, x = network(family), states()
    found, units = called(built(net, alpha=0, per=per), x)
    assert names(units) == ["full"] * len(LEVELS)
    assert all(map(torch.equal, found, whole_estimates(net, x)))


@both
def test_reused_branches_at_the_same_state_are_the_whole_call_bit_for_bit(family: str) -> None:
    net, x, sigma = network(family), states(), torch.full((3,), 2.0, dtype=torch.float64)
    every = frozenset((i, kind) for i in range(net.n_blocks) for kind in KINDS)
    some = frozenset(key for key in every if key[1] == "attn")
    denoiser = MaskedBranches(net, [every, some, frozenset()])
    memory = denoiser.init_memory(3)
    found = [denoiser(x, sigma, 0, memory) for _ in range(3)]
    assert [next(iter(ran)) for _, ran in found] == ["full", "mask-1", "cached"]
    assert all(torch.equal(estimate, net(x, sigma)) for estimate, _ in found)


def test_masks_by_hand() -> None:
    no = [9.0, 9.0]
    assert computed_calls([no] * 5, 0.1) == [0, 1, 2, 3, 4]
    # the largest distance that fits, whatever the smaller ones are
    assert computed_calls([[9.0, 0.05], no, no, [0.1, 9.0], no, no], 0.1) == [0, 3, 5]
    # the last call computes
    assert computed_calls([[0.0, 0.0]] * 4, 0.1) == [0, 3]
    assert computed_calls([[0.0]] * 6, 0.0) == [0, 2, 4, 5]
    assert computed_calls([[0.0]], 1.0) == [0]


@both
def test_errors_are_those_of_the_definition(family: str) -> None:
    net, x = network(family, depth=2), states()
    recorder, seen = ReuseRecorder(net, 2), []
    memory, x = recorder.init_memory(3), x * LEVELS[0]
    for step, level in enumerate(LEVELS[:4]):
        x = 0.5 * recorder(x, torch.full((3,), level, dtype=torch.float64), step, memory)[0] + 0.5 * x
        seen.append(dict(memory[0]))
    errors = recorder.errors()
    assert errors.shape == (net.n_blocks, 2, 4, 2)
    for k, j in ((0, 1), (0, 2), (1, 2), (2, 1)):
        for place, kind in enumerate(KINDS):
            then, now = seen[k][1, kind], seen[k + j][1, kind]
            expected = float((then - now).abs().sum() / now.abs().sum())
            assert float(errors[1, place, k, j - 1]) == pytest.approx(expected, rel=1e-5)
    assert torch.isinf(errors[:, :, 3]).all()
    assert torch.isinf(errors[:, :, 2, 1]).all()


def test_errors_do_not_depend_on_the_order_of_the_calibration_noises() -> None:
    net, found = network(), []
    for order in ([0, 1, 2], [2, 0, 1]):
        recorder = ReuseRecorder(net, 3)
        called(recorder, states()[order])
        found.append(recorder.errors())
    assert torch.allclose(found[0], found[1], rtol=1e-4)


def test_masks_of_types_are_shared_by_all_blocks_and_those_of_blocks_are_their_own() -> None:
    net = network("dit")
    by_type = SmoothCache(alpha=0.3).build(net, left(net))._computing  # type: ignore[attr-defined]
    for keys in by_type:
        for kind in KINDS:
            assert len({(i, kind) in keys for i in range(net.n_blocks)}) == 1
    by_block = SmoothCache(alpha=0.3, per="block").build(net, left(net))._computing  # type: ignore[attr-defined]
    assert by_block != by_type
    assert len(by_block[0]) == len(by_block[-1]) == 2 * net.n_blocks


@both
def test_a_larger_alpha_costs_less_and_units_cost_what_their_calls_run(family: str) -> None:
    net, x, costs = network(family), states(1), []
    for alpha in (0.0, 0.3, 1.0, 9.0):
        denoiser = built(net, alpha=alpha, per="block")
        sigma = torch.full((1,), 2.0, dtype=torch.float64)
        units = {name: count_flops(call, x, sigma) for name, call in denoiser.units().items()}
        assert count_flops(lambda denoiser=denoiser: called(denoiser, x)) == sum(
            units[name] for name in names(called(denoiser, x)[1])
        )
        costs.append(sum(units[name] for name in names(called(denoiser, x)[1])))
        assert all(call(states(3), torch.ones(3)).shape == (3, 1, 8, 8) for call in denoiser.units().values())
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == len(LEVELS) * count_flops(net, x, torch.ones(1))
    assert costs[-1] < 0.6 * costs[0]


@both
def test_images_do_not_depend_on_the_batch(family: str) -> None:
    net, x = network(family), states(5)
    denoiser = built(net, alpha=0.4)
    assert torch.allclose(called(denoiser, x)[0][-1][3:4], called(denoiser, x[3:4])[0][-1], atol=1e-5)


def test_a_calibration_is_of_the_trial_s_calls() -> None:
    method = SmoothCache(alpha=9.0)
    artifact = method.prepare(ToyContext(network(depth=2), steps=4, solver=Heun()))
    assert artifact.facts == {"calls": 8}
    units = called(method.build(network(depth=2), artifact), states(), LEVELS[:8])[1]
    assert names(units) == ["full", "cached", "cached", "cached", "full", "cached", "cached", "full"]


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    assert SmoothCache().refusal({}, 5, SMALL) is None
    assert "reach is 3, and 2 calls lie between" in str(SmoothCache().refusal({}, 4, SMALL))
    assert "the first and the last compute all" in str(SmoothCache().refusal({}, 2, SMALL))
    with pytest.raises(UsageError, match="alpha"):
        harness.make_sampler("zoo:uvit-8", denoiser={"name": "smooth-cache", "alpha": -1}, steps=9)
    with pytest.raises(UsageError, match=r"remembers earlier calls of a trajectory"):
        harness.make_sampler("zoo:uvit-8", denoiser="smooth-cache", executor="srds", steps=9)
