"""The error of a solver's own steps from fine trajectories: its target, and what tuning on it does."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from kit import digits_kit
from kit.toy_context import ToyContext

from methods.networks.base import DataShape
from methods.networks.unet import UNet
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Solver
from methods.schedules.edm import EDM
from methods.schedules.search.teacher import end, starts
from methods.solvers.ddim import DDIM
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.heun import Heun
from methods.solvers.ipndm import IPNDM
from methods.solvers.unipc import UniPC
from methods.tuning.level_tuning import LevelTuningParams, tune_at
from methods.tuning.trajectory_loss import TrajectoryLoss, fine_states

LEVELS = EDM().levels(4, 0.02, 10.0)
SOLVERS: list[Any] = [DDIM, Heun, DPMPP2M, IPNDM, UniPC]


def network(**changes: Any) -> UViT:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"depth": 2, "width": 16, "heads": 2, "patch": 2, **changes}
    built = UViT(UViTParams(**sizes), DataShape(1, 8))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return built.eval().requires_grad_(False).double()


def test_fine_states_are_those_of_the_flow_at_the_levels() -> None:
    context = ToyContext(network())
    states = fine_states(context, LEVELS, 3, 5)
    assert states.shape == (5, 5, 1, 8, 8)
    assert states.dtype == torch.float64
    assert torch.equal(states[0], starts(context, 3, 5))
    for i in range(4):
        fine = np.geomspace(LEVELS[i], LEVELS[i + 1], 101)
        torch.testing.assert_close(end(context.network, Heun(), states[i], fine), states[i + 1], rtol=0, atol=2e-3)


def test_of_a_first_order_step_the_error_is_the_outputs_less_its_target() -> None:
    """The target is (x_{i+1} - r x_i) / (1 - r), and the weight EDM's of the step's own level."""
    context = ToyContext(network())
    net, states = context.network, fine_states(context, LEVELS, 0, 6)
    loss = TrajectoryLoss(net, DDIM(), LEVELS, states)
    chosen = torch.tensor([4, 1])
    found = loss.errors(chosen)
    for i in range(4):
        r = LEVELS[i + 1] / LEVELS[i]
        target = (states[i + 1] - r * states[i]) / (1 - r)
        output = net(states[i][chosen], torch.full((2,), LEVELS[i], dtype=torch.float64))
        torch.testing.assert_close(found[i], output - target[chosen], rtol=1e-9, atol=1e-11)
    generator, again = (torch.Generator().manual_seed(5) for _ in range(2))
    drawn = loss.weighted(loss.draw(12, generator))
    assert drawn.shape[:2] == (4, 3)  # twelve evaluations are three trajectories of four steps
    errors = loss.errors(torch.randint(6, (3,), generator=again))
    weights = torch.tensor([(s**2 + 0.25) / (0.5 * s) ** 2 for s in LEVELS[:-1]])
    torch.testing.assert_close(drawn, weights.view(4, 1, 1, 1, 1) * errors**2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_takes_its_own_step_from_the_trajectory(solver: type[Solver]) -> None:
    """Where it lands is where the solver itself goes from these states, its memory being of the trajectory."""
    context = ToyContext(network())
    net, states = context.network, fine_states(context, LEVELS, 0, 3)
    made = solver()
    errors = TrajectoryLoss(net, made, LEVELS, states).errors(torch.arange(3))
    memory = made.init_memory(None)
    for i in range(4):

        def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
            return net(x, torch.full((len(x),), sigma, dtype=torch.float64))

        landed = made.step(states[i], i, LEVELS, denoise, memory, lambda step: torch.zeros(0))
        expected = (landed - states[i + 1]) / (1 - LEVELS[i + 1] / LEVELS[i])
        torch.testing.assert_close(errors[i], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("solver", SOLVERS)
def test_gradients_reach_every_weight_that_learns(solver: type[Solver]) -> None:
    context = ToyContext(network())
    states = fine_states(context, LEVELS, 0, 3)
    student = network().requires_grad_(True)
    TrajectoryLoss(student, solver(), LEVELS, states).weighted(torch.tensor([1])).mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in student.parameters())


@pytest.mark.parametrize("solver", [DDIM, DPMPP2M])
def test_tuning_on_trajectories_lowers_the_discretisation_error_and_the_data_loss_does_not(
    solver: type[Solver],
) -> None:
    """On noises that nothing was tuned on: the point of phase 2, and why the denoising loss is only a control."""
    net, clean = digits_kit.briefly_trained()
    made = solver()
    context = ToyContext(net, clean=clean, solver=made)
    x = starts(context, 5000, 32)
    exact = fine_states(context, LEVELS, 5000, 32)[-1]

    def error(weights: dict[str, torch.Tensor]) -> float:
        tuned = UNet(net.params, DataShape(1, 8)).eval().requires_grad_(False)
        tuned.load_state_dict(weights)
        return float((end(tuned, made, x, LEVELS) - exact).square().mean().sqrt())

    before, found = error(net.state_dict()), {}
    for objective in ("trajectory", "data"):
        params = LevelTuningParams(tune_objective=objective, tune_steps=60, tune_lr=1e-3)
        weights, facts = tune_at(context, LEVELS, params)
        assert facts["objective"] == objective
        found[objective] = error(weights)
        if objective == "trajectory":
            ratio = np.array(facts["steps"]["error_after"]) / facts["steps"]["error_before"]
            assert len(ratio) == 4
            print("errors of the steps, after over before", ratio.round(2))
            assert ratio[1:].max() < 1
    print(f"{before:.4f} -> {found}")
    assert found["trajectory"] < 0.8 * before
    assert found["data"] > found["trajectory"]


def test_a_share_of_the_batch_may_take_pre_trainings_loss() -> None:
    context = ToyContext(network(), clean=torch.rand(9, 1, 8, 8).double())
    changes: dict[str, Any] = {"tune_steps": 4, "tune_batch": 8, "tune_trajectories": 5, "tune_lr": 1e-2}
    weights = [tune_at(context, LEVELS, LevelTuningParams(**changes, tune_jitter=j))[0] for j in (0.0, 0.5, 1.0)]
    assert all(any(not torch.equal(a[n], b[n]) for n in a) for a, b in pairwise(weights))


def test_a_conditional_network_is_tuned_on_the_trajectories_of_no_class() -> None:
    net = network(classes=3)
    params = LevelTuningParams(tune_steps=1, tune_batch=4, tune_trajectories=3, tune_lr=1e-12)
    _, facts = tune_at(ToyContext(net), LEVELS, params)
    states = fine_states(ToyContext(net), LEVELS, 128 + 3, 64)
    expected = TrajectoryLoss(net, DDIM(), LEVELS, states).errors(torch.arange(64)).square().flatten(1).mean(1).sqrt()
    assert facts["steps"]["error_before"] == pytest.approx(expected.tolist(), rel=1e-6)
    assert facts["steps"]["error_after"] == pytest.approx(expected.tolist(), rel=1e-3)
