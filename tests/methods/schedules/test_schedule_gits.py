"""GITS: what a jump costs in closed form, the cheapest path against all paths, and a gain over EDM's levels."""

from __future__ import annotations

import json
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from kit.schedule_kit import HIGH, LOW, STD, check, context, euler_error, gaussian, mixture, prepared
from torch import Tensor

from harness.registry import registry
from methods.networks.base import NetworkParams
from methods.parts import Artifact, Done
from methods.schedules.edm import EDM
from methods.schedules.gits import GITS, deviation, jump_costs, teacher_grid, teacher_trajectories
from methods.schedules.search.teacher import end, starts
from methods.solvers.ddim import DDIM
from methods.solvers.heun import Heun
from methods.solvers.ipndm import IPNDM

METRICS = ["L1", "L2", "dev"]


def method(**params: Any) -> GITS:
    return GITS(**{"noises": 8, "batch": 8, **params})


# The teacher.


def test_the_published_schedule_lies_on_the_teachers_grid() -> None:
    """The example of the authors' launch script for CIFAR-10, 6 steps."""
    published = [80, 10.9836, 3.8811, 1.584, 0.5666, 0.1698, 0.002]
    grid = teacher_grid(GITS().params.teacher_steps, context(gaussian(), 6))
    assert len(grid) == 61
    nearest = [int(np.abs(np.log(grid / level)).argmin()) for level in published]
    assert nearest == [0, 19, 27, 33, 39, 45, 60]
    assert np.round(grid[nearest], 4).tolist() == published


def test_the_teacher_is_ipndm_and_its_slopes_are_noise_estimates() -> None:
    given = context(mixture(), 6)
    grid, x = teacher_grid(10, given), starts(given, 3, 5)
    states, slopes = teacher_trajectories(given, x, grid)
    assert (states.shape, slopes.shape) == ((11, 5, 16), (10, 5, 16))
    for m in (1, 4, 10):
        torch.testing.assert_close(states[m].view_as(x), end(given.network, IPNDM(), x, grid[: m + 1]))
    for m in (0, 7):
        state = states[m].view_as(x)
        clean = given.network(state, torch.full((5,), float(grid[m]), dtype=torch.float64))
        torch.testing.assert_close(slopes[m].view_as(x), (state - clean) / grid[m])


# What a jump costs.


def exact_flow(x: Tensor, grid: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return states and slopes of the flow of data N(0, 0.5² I) through x [K, dim] at grid[0]."""
    sigma = torch.as_tensor(grid)[:, None, None]
    states = x * ((STD**2 + sigma**2) / (STD**2 + grid[0] ** 2)).sqrt()
    return states, (states * sigma / (STD**2 + sigma**2))[:-1]


@pytest.mark.parametrize(("metric", "p"), [("L1", 1), ("L2", 2)])
def test_jumps_on_gaussian_data_cost_what_they_do_in_closed_form(metric: Any, p: int) -> None:
    """In the angle theta = arctan(s / c) a jump from a to b falls short by the factor 1 - cos(theta_a - theta_b)."""
    grid = EDM().levels(12, LOW, HIGH)
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * HIGH
    states, slopes = exact_flow(x, grid)
    costs = jump_costs(states, slopes, grid, metric)
    theta = np.arctan(grid / STD)
    short = 1 - np.cos(theta[:, None] - theta)
    size = states.norm(p=p, dim=-1).T.numpy()
    np.testing.assert_allclose(costs.numpy(), np.triu(short * size[:, None, :], 1), rtol=1e-9, atol=1e-12)


def test_trajectories_of_one_gaussian_are_straight_and_deviate_nowhere() -> None:
    grid = EDM().levels(12, LOW, HIGH)
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * HIGH
    assert float(jump_costs(*exact_flow(x, grid), grid, "dev").abs().max()) < 1e-12 * HIGH


def test_deviation_is_the_distance_from_the_line_between_the_ends() -> None:
    states = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]], [[4.0, 3.0]]], dtype=torch.float64)
    points = torch.tensor([[[1.0, 1.0]], [[0.0, 5.0]], [[8.0, 6.0]]], dtype=torch.float64)
    expected = torch.tensor([[0.2], [4.0], [0.0]], dtype=torch.float64)
    torch.testing.assert_close(deviation(points, states), expected)


def test_a_jump_that_ends_nearer_to_the_line_than_the_teacher_costs_less_than_nothing() -> None:
    grid = np.array([3.0, 2.0, 1.0])
    states = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]], [[2.0, 0.0]]], dtype=torch.float64)
    slopes = torch.tensor([[[-1.0, -0.25]], [[-1.0, 2.0]]], dtype=torch.float64)
    costs = jump_costs(states, slopes, grid, "dev")[0]
    # From 3: to (1, 0.25), 0.25 from the line against the teacher's 1, and to (2, 0.5); from 2: to (2, -1).
    expected = torch.tensor([[0.0, -0.75, 0.5], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(costs, expected)


# The choice.


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("gamma", [0.8, 1.0, 1.15, 2.0])
def test_no_path_of_as_many_steps_is_cheaper(gamma: float, metric: str) -> None:
    given = context(mixture(), 3)
    gits = method(metric=metric, gamma=gamma, teacher_steps=9)
    levels, artifact = prepared(gits, given)
    costs = sum(d.artifact.tensors["costs"] for d in given.done).numpy() / 8

    def price(path: tuple[int, ...]) -> float:
        return sum(gamma**i * costs[a, b] for i, (a, b) in enumerate(pairwise(path)))

    paths = [(0, *inner, 9) for inner in combinations(range(1, 9), 2)]
    assert tuple(artifact.facts["indices"]) == min(paths, key=price)
    assert artifact.facts["objective"] == pytest.approx(min(map(price, paths)), rel=1e-12)
    assert np.array_equal(levels, teacher_grid(9, given)[artifact.facts["indices"]])


def test_as_many_steps_as_the_teachers_are_the_teachers_levels() -> None:
    given = context(mixture(), 9)
    levels, artifact = prepared(method(teacher_steps=9, gamma=1.0, metric="L2"), given)
    assert np.array_equal(levels, teacher_grid(9, given))
    costs = given.done[0].artifact.tensors["costs"].numpy() / 8
    assert artifact.facts["objective"] == pytest.approx(np.diag(costs, 1).sum(), rel=1e-12)


@pytest.mark.parametrize("metric", ["L1", "L2"])
def test_on_gaussian_data_its_levels_beat_edms_under_euler(metric: str) -> None:
    for steps in (4, 6, 10):
        levels, _ = prepared(method(metric=metric), context(gaussian(), steps))
        check(levels, steps)
        assert euler_error(levels) < 0.65 * euler_error(EDM().levels(steps, LOW, HIGH))


@pytest.mark.parametrize("metric", METRICS)
def test_on_a_mixture_its_levels_beat_edms_under_euler_on_other_noises(metric: str) -> None:
    given = context(mixture(side=2), 6)
    levels, _ = prepared(method(metric=metric, noises=64, batch=64), given)
    x = starts(given, 1000, 256)
    exact = end(given.network, Heun(), x, EDM().levels(100, LOW, HIGH))
    mine, edm = (
        float((end(given.network, DDIM(), x, grid) - exact).norm()) for grid in (levels, EDM().levels(6, LOW, HIGH))
    )
    assert mine < 0.85 * edm


# The search.


def test_jobs_make_the_same_costs_however_the_noises_are_divided() -> None:
    found = []
    for batch in (8, 3):
        given = context(mixture(), 4)
        prepared(method(batch=batch, teacher_steps=12), given)
        assert len(given.done) == -(-8 // batch)
        found.append(sum(d.artifact.tensors["costs"] for d in given.done))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_every_number_of_steps_and_every_gamma_asks_for_the_same_jobs_and_never_twice() -> None:
    gits, params = GITS(batch=100), NetworkParams()
    jobs = gits.next_jobs(4, params, [])
    assert [(job["first_noise"], job["n_noises"]) for job in jobs] == [(0, 100), (100, 100), (200, 56)]
    assert jobs == gits.next_jobs(10, params, []) == GITS(batch=100, gamma=1.0).next_jobs(4, params, [])
    done = [Done(json.loads(json.dumps(job)), Artifact()) for job in jobs]
    assert gits.next_jobs(4, params, done[1:]) == [jobs[0]]
    assert gits.next_jobs(4, params, done) == []
    assert (GITS.prepares_for, GITS.jobs_for) == (("steps",), ())
    assert set(GITS.search_only) == set(GITS.Params.model_fields) - {"final"}


def test_a_search_is_the_same_every_time() -> None:
    first, again = (prepared(method(), context(mixture(), 5)) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert first[1].facts == again[1].facts == json.loads(json.dumps(first[1].facts))


def test_what_cannot_be_is_refused_in_one_sentence() -> None:
    refused = GITS().refusal({}, 61, NetworkParams())
    assert refused == "it chooses among the levels of 60 teacher_steps, too few for 61 steps; raise them"
    assert GITS().refusal({}, 60, NetworkParams()) is None
    with pytest.raises(ValueError, match='schedule "gits" finds its levels in a preparation, but none was given'):
        GITS().levels(4, LOW, HIGH)


def test_the_registry_knows_it() -> None:
    assert registry().method("schedule", "gits") is GITS
