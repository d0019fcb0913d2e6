"""Learning-to-Cache: routers by hand, what training does to them, work, and sentences of refusal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kit.block_kit import both, network
from kit.cache_kit import LEVELS, called, names, states, whole_estimates
from kit.toy_context import ToyContext
from torch import Tensor

import harness
from harness.errors import UsageError
from harness.measure.flops import count_flops
from methods.denoisers.l2c import L2C, CallRecorder, RouterLoss, Routers
from methods.networks.blocks import BlockNetwork
from methods.networks.branches import KINDS
from methods.networks.uvit import UViTParams
from methods.parts import Artifact
from methods.solvers.heun import Heun

SMALL = UViTParams(depth=2, width=8, heads=1, patch=2)
BRIEF: dict[str, Any] = {"tune_steps": 30, "tune_batch": 8, "trajectories": 8, "tune_lr": 0.3}


def shares(net: BlockNetwork, value: float | None = None, calls: int = len(LEVELS)) -> Artifact:
    """Return the artifact of routers of one value, or of random ones."""
    shape = calls // 2, net.n_blocks, len(KINDS)
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Artifact({"shares": drawn if value is None else torch.full(shape, value)}, {"calls": calls})


def recorded(net: BlockNetwork, rows: int = 6) -> CallRecorder:
    recorder = CallRecorder(net)
    for first in range(0, rows, 3):
        called(recorder, states(seed=first), LEVELS[:4])
    return recorder


@both
def test_a_theta_of_0_is_the_whole_network_bit_for_bit_and_costs_as_much(family: str) -> None:
    net, x = network(family), states()
    denoiser = L2C(theta=0).build(net, shares(net))
    found, units = called(denoiser, x)
    assert names(units) == ["full"] * len(LEVELS)
    assert all(map(torch.equal, found, whole_estimates(net, x)))
    (unit,) = denoiser.units().values()
    assert count_flops(unit, x, torch.ones(3)) == count_flops(net, x, torch.ones(3))


@both
def test_routers_of_0_reuse_every_branch_in_every_second_call(family: str) -> None:
    net = network(family)
    denoiser = L2C().build(net, shares(net, 0.05))
    assert names(called(denoiser, states())[1]) == ["full", "cached"] * (len(LEVELS) // 2)

    # a cached call at the same state is the whole call
    memory, sigma = denoiser.init_memory(3), torch.full((3,), 2.0, dtype=torch.float64)
    found = [denoiser(states(), sigma, 0, memory)[0] for _ in range(2)]
    assert all(torch.equal(one, net(states(), sigma)) for one in found)


@both
def test_a_larger_theta_costs_less_and_units_cost_what_their_calls_run(family: str) -> None:
    net, x, costs = network(family), states(1), []
    for theta in (0.0, 0.3, 0.7, 0.999):
        denoiser = L2C(theta=theta).build(net, shares(net))
        sigma = torch.full((1,), 2.0, dtype=torch.float64)
        units = {name: count_flops(call, x, sigma) for name, call in denoiser.units().items()}
        counted = sum(units[name] for name in names(called(denoiser, x)[1]))
        assert count_flops(lambda denoiser=denoiser: called(denoiser, x)) == counted
        costs.append(counted)
    assert costs == sorted(costs, reverse=True)
    whole = count_flops(net, x, torch.ones(1))
    assert costs[0] == len(LEVELS) * whole
    assert 0.5 * costs[0] < costs[-1] < 0.65 * costs[0]  # every second call is whole


@both
def test_the_loss_is_that_of_the_definition(family: str) -> None:
    net, recorder = network(family, depth=2), recorded(network(family, depth=2))
    routers = Routers(2, net.n_blocks, seed=3)
    objective = RouterLoss(net, routers, recorder.joined(), L2C(penalty=0.5).params)
    rows = torch.tensor([0, 4, 5])
    price = 0.5 * float(routers.shares()[1].sum().detach())
    assert float(objective.loss(torch.tensor([1, 1, 1]), rows).detach()) > price

    # all branches run: no error, and the price alone
    with torch.no_grad():
        routers.logits.fill_(50.0)
    loss = objective.loss(torch.tensor([1, 1, 1]), rows).detach()
    assert float(loss) == pytest.approx(0.5 * 2 * net.n_blocks, rel=1e-4)

    # none runs: the squared difference of raw outputs from reuse of the call before
    with torch.no_grad():
        routers.logits.fill_(-50.0)
    denoiser, calls = L2C().build(net, shares(net, 0.0, calls=4)), recorder.joined()
    memory, found = denoiser.init_memory(3), []
    for k in (2, 3):
        sigma = torch.full((3,), LEVELS[k], dtype=torch.float64)
        found.append(denoiser(calls[k].states[rows], sigma, k, memory)[0])
    whole = net(calls[3].states[rows], sigma)
    weight = float(net.preconditioning.weight(sigma[:1]))
    expected = weight * float(((found[1] - whole) ** 2).mean())
    assert float(objective.loss(torch.tensor([1, 1, 1]), rows).detach()) == pytest.approx(expected, rel=1e-3)
    assert expected > 0


def test_recorded_states_are_those_of_all_batches_in_order() -> None:
    net = network(depth=2)
    calls = recorded(net).joined()
    assert [call.sigma for call in calls] == list(LEVELS[:4])
    expected = torch.cat([states(seed=0), states(seed=3)]) * LEVELS[0]
    assert torch.equal(calls[0].states, expected)
    assert calls[0].classes is None


def trained(net: BlockNetwork, **params: Any) -> Tensor:
    artifact = L2C(**{**BRIEF, **params}).prepare(ToyContext(net, steps=4))
    assert artifact.facts["calls"] == 4
    return artifact.tensors["shares"]


def test_a_price_closes_routers_and_errors_open_them() -> None:
    net = network(depth=2)
    free, dear = trained(net, penalty=0.0), trained(net, penalty=100.0)
    assert free.shape == dear.shape == (2, net.n_blocks, 2)
    initial = Routers(2, net.n_blocks, seed=0).shares().detach()
    assert (dear < initial).all()
    assert float(dear.max()) < 0.2
    assert float(free.mean()) > float(initial.mean())
    assert torch.equal(free, trained(net, penalty=0.0))


def test_training_moves_the_routers_alone() -> None:
    net = network(depth=2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trained(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert L2C(tune_batch=8).train_batch == 8


def test_heun_s_second_call_is_the_one_that_reuses() -> None:
    net, method = network(depth=2), L2C(**BRIEF)
    artifact = method.prepare(ToyContext(net, steps=3, solver=Heun()))
    assert artifact.facts["calls"] == 6
    assert artifact.tensors["shares"].shape[0] == 3


def test_classes_of_rows_are_trained_on() -> None:
    net = network("dit", depth=2, classes=3)
    recorder = CallRecorder(net)
    net.row_classes = torch.tensor([0, 1, 2])
    called(recorder, states(), LEVELS[:2])
    net.row_classes = None
    calls = recorder.joined()
    assert calls[1].classes is not None
    routers = Routers(1, net.n_blocks, seed=3)
    objective = RouterLoss(net, routers, calls, L2C().params)
    one = objective.loss(torch.tensor([0, 0]), torch.tensor([0, 2])).detach()
    assert net.row_classes is None
    calls[1].classes.fill_(1)
    assert float(one) != float(objective.loss(torch.tensor([0, 0]), torch.tensor([0, 2])).detach())


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    assert L2C().refusal({}, 2, SMALL) is None
    assert "has 1 call" in str(L2C().refusal({}, 1, SMALL))
    assert "leave it out" in str(L2C(guidance=2.0, guidance_interval=(0.1, 1.0)).refusal({}, 5, SMALL))
    with pytest.raises(UsageError, match="theta"):
        harness.make_sampler("zoo:uvit-8", denoiser={"name": "l2c", "theta": 1.0}, steps=9)
    with pytest.raises(UsageError, match=r"remembers earlier calls of a trajectory"):
        harness.make_sampler("zoo:uvit-8", denoiser="l2c", executor="srds", steps=9)
