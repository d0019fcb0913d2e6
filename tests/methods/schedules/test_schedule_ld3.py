"""LD3: samplers on learnt levels are the solvers, gradients are right, and learning reaches the known optimum."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.schedule_kit import HIGH, LOW, check, context, euler_error, gaussian, mixture, prepared
from kit.toy_context import ToyContext

from harness.registry import registry
from methods.networks.base import DataShape
from methods.networks.unet import UNet, UNetParams
from methods.parts import Solver
from methods.schedules.arctan import Arctan
from methods.schedules.edm import EDM
from methods.schedules.ld3 import LD3, _Learner, _Pairs, levels_from_logits, logits_from_levels, within
from methods.schedules.ld3_unrolled import Unrollable, unrolled
from methods.schedules.logsnr import LogSNR
from methods.schedules.search.hand_made import hand_made
from methods.schedules.search.teacher import end, starts
from methods.solvers.ddim import DDIM
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.heun import Heun
from methods.solvers.ipndm import IPNDM

SOLVERS: dict[Unrollable, Solver] = {"ddim": DDIM(), "dpmpp-2m": DPMPP2M(), "ipndm": IPNDM()}


def method(**params: Any) -> LD3:
    return LD3(**{"train_noises": 12, "validation_noises": 12, "batch": 4, "rounds": 3, **params})


def small_unet() -> UNet:
    """Return a U-Net whose outputs are not zero, in float64, frozen."""
    torch.manual_seed(0)
    made = UNet(UNetParams(channels=(8,), norm_groups=4), DataShape(1, 4)).eval().double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made.requires_grad_(False)


# The sampler on levels that are a tensor.


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 16])
def test_on_fixed_levels_it_is_the_solver(steps: int, name: Unrollable) -> None:
    network, levels = mixture(), EDM().levels(steps, LOW, HIGH)
    x = starts(context(network, steps), 0, 5)
    mine = unrolled(name, network, x, torch.as_tensor(levels))
    torch.testing.assert_close(mine, end(network, SOLVERS[name], x, levels), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("kind", ["analytic", "unet"])
def test_gradients_to_levels_and_states_are_those_of_finite_differences(kind: str, name: Unrollable) -> None:
    """The levels are told to the network too; a gradient that misses it is wrong."""
    network = mixture(2) if kind == "analytic" else small_unet()
    levels = torch.as_tensor(EDM().levels(4, 0.5, 10.0)).requires_grad_()
    x = starts(context(network, 4), 0, 2).div(8).requires_grad_()
    # diffusers embeds the noise label in float32, so that a short difference would be all rounding
    how = {"eps": 1e-6, "rtol": 1e-4} if kind == "analytic" else {"eps": 3e-3, "rtol": 1e-2}
    assert torch.autograd.gradcheck(partial(unrolled, name, network), (x, levels), atol=1e-3, **how)


# The levels of logits, and the ball.


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=1, max_size=30))
def test_levels_of_any_logits_decrease_between_exact_ends(logits: list[float]) -> None:
    levels = levels_from_logits(torch.tensor(logits, dtype=torch.float64), LOW, HIGH).numpy()
    check(levels, len(logits))
    gaps = np.diff(np.log(levels)) / np.log(LOW / HIGH)
    np.testing.assert_allclose(gaps, torch.tensor(logits, dtype=torch.float64).softmax(0).numpy(), atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 5, 16])
@pytest.mark.parametrize("name", [*hand_made(4, LOW, HIGH)])
def test_the_logits_of_levels_make_these_levels(name: str, steps: int) -> None:
    levels = hand_made(steps, LOW, HIGH)[name]
    made = levels_from_logits(torch.from_numpy(logits_from_levels(levels)), LOW, HIGH).numpy()
    np.testing.assert_allclose(made, levels, rtol=1e-12)
    assert (made[0], made[-1]) == (HIGH, LOW)


def test_a_state_outside_of_its_ball_is_drawn_back_to_the_surface() -> None:
    centre = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], dtype=torch.float64).view(3, 1, 1, 2)
    moved = centre + torch.tensor([[3.0, 4.0], [0.1, 0.0], [0.0, 0.0]], dtype=torch.float64).view(3, 1, 1, 2)
    expected = centre + torch.tensor([[0.6, 0.8], [0.1, 0.0], [0.0, 0.0]], dtype=torch.float64).view(3, 1, 1, 2)
    torch.testing.assert_close(within(moved, centre, 1.0), expected)


# Learning.


@pytest.mark.parametrize("steps", [4, 6])
def test_on_gaussian_data_it_learns_eulers_best_levels(steps: int) -> None:
    """Those are known: uniform in arctan(sigma / c); with c = 0.1 no hand-made schedule has them."""
    levels, artifact = prepared(method(rounds=12, batch=2), context(gaussian(std=0.1), steps))
    check(levels, steps)
    best = euler_error(Arctan(c=0.1).levels(steps, LOW, HIGH), 0.1)
    given = {name: euler_error(made, 0.1) for name, made in hand_made(steps, LOW, HIGH).items()}
    assert min(given.values()) > 1.05 * best
    assert best <= euler_error(levels, 0.1) < 1.02 * best
    assert artifact.facts["start"] == min(given, key=given.__getitem__)


def test_where_a_hand_made_schedule_is_the_optimum_it_stays_there() -> None:
    """On data N(0, 0.5² I) Euler's best levels are those of `arctan`."""
    levels, artifact = prepared(method(), context(gaussian(), 5))
    assert artifact.facts["start"] == "arctan"
    assert euler_error(levels) == pytest.approx(euler_error(Arctan().levels(5, LOW, HIGH)), rel=1e-6)


@pytest.mark.parametrize("make", [gaussian, mixture])
@pytest.mark.parametrize("name", ["ddim", "dpmpp-2m"])
@pytest.mark.parametrize("lr", [5e-3, 2.0])
def test_no_hand_made_schedule_is_better_on_its_own_loss(name: Unrollable, make: Callable, lr: float) -> None:
    """At a rate at which learning runs astray too; the losses are made again, by the solvers themselves."""
    given = context(make(2), 5)
    levels, artifact = prepared(method(solver=name, lr=lr), given)
    x = starts(given, 12, 12)
    teacher = end(given.network, Heun(), x, EDM().levels(20, LOW, HIGH))

    def loss(grid: np.ndarray) -> float:
        return float((end(given.network, SOLVERS[name], x, grid) - teacher).square().mean())

    facts, candidates = artifact.facts, hand_made(5, LOW, HIGH)
    assert facts["hand_made"] == pytest.approx({k: loss(grid) for k, grid in candidates.items()}, rel=1e-9)
    assert set(facts["hand_made"]) == set(candidates)
    assert facts["objective_at_start"] == facts["hand_made"][facts["start"]] == min(facts["hand_made"].values())
    assert facts["objective"] <= facts["objective_at_start"]
    assert loss(levels) == pytest.approx(facts["objective"], rel=1e-9)
    assert loss(levels) <= min(loss(grid) for grid in candidates.values()) * (1 + 1e-9)


@pytest.mark.parametrize("name", SOLVERS)
def test_on_a_mixture_it_beats_its_start_under_its_solver_on_other_noises(name: Unrollable) -> None:
    given = context(mixture(2), 5)
    levels, _ = prepared(method(solver=name, train_noises=24, rounds=4), given)
    x = starts(given, 1000, 128)
    exact = end(given.network, Heun(), x, EDM().levels(100, LOW, HIGH))
    mine, start = (
        float((end(given.network, SOLVERS[name], x, grid) - exact).norm())
        for grid in (levels, LogSNR().levels(5, LOW, HIGH))
    )
    assert mine < 0.85 * start


@pytest.mark.parametrize("lr", [5e-3, 2.0])
def test_what_is_kept_is_the_best_on_validation_and_never_worse_than_the_start(lr: float) -> None:
    """At a rate at which learning runs astray too."""
    given = context(mixture(2), 5)
    levels, artifact = prepared(method(lr=lr), given)
    facts = artifact.facts
    assert len(facts["validation_losses"]) == 1 + 3 * 3
    assert facts["objective"] == min(facts["validation_losses"]) <= facts["objective_at_start"]
    x = starts(given, 12, 12)
    teacher = end(given.network, Heun(), x, EDM().levels(20, LOW, HIGH))
    start = hand_made(5, LOW, HIGH)[facts["start"]]
    for grid, loss in ((levels, facts["objective"]), (start, facts["objective_at_start"])):
        reached = end(given.network, DDIM(), x, grid)
        assert float((reached - teacher).square().mean()) == pytest.approx(loss, rel=1e-9)
    assert json.loads(json.dumps(dict(facts))) == facts


def learner(steps: int = 4, **params: Any) -> _Learner:
    """Return a learner on a mixture whose training targets are the 20-step teacher's."""
    given, p = context(mixture(2), steps), method(**params).params
    x = starts(given, 0, 24)
    pairs = _Pairs(x, end(given.network, Heun(), x, EDM().levels(20, LOW, HIGH)))
    return _Learner(given, p, pairs.rows(slice(12)), pairs.rows(slice(12, None)))


@pytest.mark.parametrize("noise_rate", [12.0, 1e5])
def test_noises_move_inside_their_balls_and_only_to_lower_losses(noise_rate: float) -> None:
    """At the higher rate every move is as long as its ball is wide, too long for some."""
    made = learner(lr=1e-30, radius=0.1, noise_rate=noise_rate)  # the levels stay
    before = [made._loss(made._train.x, made._train.target).detach()]
    for _ in range(5):
        made._step(torch.arange(12))
        before.append(made._loss(made._train.x, made._train.target).detach())
    for earlier, later in pairwise(before):
        assert bool((later <= earlier).all())
    assert float(before[-1].sum()) < float(before[0].sum())
    shift = (made._train.x - made._centres).flatten(1).norm(dim=1)
    radius = 0.1 * 4 / 4**2 * HIGH
    assert 0 < float(shift.max()) <= radius * (1 + 1e-12)


def test_a_hard_target_leaves_the_noises_where_they_are() -> None:
    made = learner(radius=0.0)
    made.learn()
    assert torch.equal(made._train.x, made._centres)


def test_a_soft_target_leaves_the_validation_noises_where_they_are() -> None:
    made = learner(radius=0.1)
    before = made._validation.x.clone()
    made.learn()
    assert torch.equal(made._validation.x, before)
    assert not torch.equal(made._train.x, made._centres)


def test_steps_that_do_not_help_bring_the_best_back_and_lower_the_rate() -> None:
    made = learner(lr=2.0, patience=2)
    made.learn()
    misses = len(made.losses) - 1 - made.best_at
    assert misses >= 2
    rate = made._optimizer.param_groups[0]["lr"]
    times = round(float(np.log(rate / 2.0) / np.log(0.8)))
    assert times >= 1
    assert rate == pytest.approx(2.0 * 0.8**times, rel=1e-12)
    floored = learner(lr=2.0, patience=2, least_lr=1.9)
    floored.learn()
    assert floored._optimizer.param_groups[0]["lr"] == 1.9
    below = learner(lr=1e-9, patience=1)
    below.learn()
    assert below._optimizer.param_groups[0]["lr"] == 1e-9
    patient = learner(lr=2.0, patience=1000)
    patient.learn()
    assert patient._optimizer.param_groups[0]["lr"] == 2.0


def test_one_step_has_nothing_to_learn() -> None:
    levels, artifact = prepared(method(), context(mixture(2), 1))
    assert levels.tolist() == [HIGH, LOW]
    assert len(artifact.facts["validation_losses"]) == 1


def test_a_frozen_trained_network_stays_as_it_is() -> None:
    network = small_unet().float()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    given = ToyContext(network, steps=3)
    levels, artifact = prepared(method(rounds=2), given)
    assert len(set(artifact.facts["validation_losses"])) > 1  # it moved, if to nothing better
    assert artifact.facts["objective"] <= artifact.facts["objective_at_start"]
    assert (levels[0], levels[-1]) == (given.sigma_max, given.sigma_min)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())


def test_learning_is_the_same_every_time_and_tells_how_far_it_is() -> None:
    given = context(mixture(2), 4)
    first, again = prepared(method(), given), prepared(method(), context(mixture(2), 4))
    assert np.array_equal(first[0], again[0])
    assert first[1].facts == again[1].facts
    assert given.told[-1][:2] == (9, 9)


def test_levels_need_a_preparation() -> None:
    assert LD3().prepares
    assert LD3.prepares_for == ("steps",)
    with pytest.raises(ValueError, match='schedule "ld3" finds its levels in a preparation, but none was given'):
        LD3().levels(4, LOW, HIGH)


def test_the_registry_knows_it() -> None:
    assert registry().method("schedule", "ld3") is LD3
