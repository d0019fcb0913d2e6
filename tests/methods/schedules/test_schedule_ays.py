"""Align Your Steps: forward pairs and their bound in closed form, the descent on it, and the released tables."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.schedule_kit import HIGH, LOW, STD, check, context, euler_error, gaussian, mixture, prepared

from harness.registry import registry
from methods.networks.base import NetworkParams
from methods.parts import Artifact, Done
from methods.schedules.arctan import Arctan
from methods.schedules.ays import AYS, RELEASED, bounded_grid, descended, forward_outputs, interpolated, subdivided
from methods.schedules.edm import EDM
from methods.schedules.search.pair_costs import cheapest, path_cost

CLEAN = torch.randn(3000, 1, 2, 2, generator=torch.Generator().manual_seed(5)) * STD


def method(**params: Any) -> AYS:
    return AYS(**{"images": 200, "batch": 100, "cells": 64, **params})


def mmse(s: np.ndarray) -> np.ndarray:
    return STD**2 * s**2 / (STD**2 + s**2)


def exact_costs(grid: np.ndarray) -> np.ndarray:
    """Return the bounds of all steps on data N(0, 0.5² I), where E||D_a - D_s||² = mmse(a) - mmse(s) per value."""

    def primitive(s: np.ndarray) -> np.ndarray:
        """Return the indefinite integral of s^-3 mmse(s)."""
        return np.log(s / np.sqrt(STD**2 + s**2))

    a, b = grid[:, None], grid[None, :]
    return np.triu(mmse(a) / 2 * (b**-2 - a**-2) - (primitive(a) - primitive(b)), 1)


# Pairs of a forward process.


def test_states_of_a_forward_process_are_images_plus_accumulated_noise() -> None:
    """The exact denoiser is linear here, so that states can be read off its outputs."""
    grid = np.array([5.0, 1.0, 0.3, 1e-6])
    outputs = forward_outputs(context(gaussian(), 4, clean=CLEAN), 0, 3000, grid)
    assert (outputs.shape, outputs.dtype) == ((4, 3000, 4), torch.float64)
    states = outputs * torch.as_tensor((STD**2 + grid**2) / STD**2)[:, None, None]
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(states[-1], CLEAN.double()[order].flatten(1), atol=1e-5, rtol=0)
    for a in range(3):
        for q in range(a + 1, 4):
            noise = (states[a] - states[q]) / math.sqrt(grid[a] ** 2 - grid[q] ** 2)
            assert float(noise.std()) == pytest.approx(1.0, abs=0.03)  # 12000 numbers
            assert abs(float((noise * states[q]).mean() / states[q].std())) < 0.04


def test_outputs_of_a_pair_differ_by_the_difference_of_their_risks() -> None:
    grid = np.array([5.0, 1.0, 0.3, 0.1])
    outputs = forward_outputs(context(gaussian(), 4, clean=CLEAN), 0, 3000, grid)
    for a in range(3):
        for q in range(a + 1, 4):
            squares = (outputs[a] - outputs[q]).square().mean(1)
            error = float(squares.std()) / 3000**0.5
            assert float(squares.mean()) == pytest.approx(float(mmse(grid[a]) - mmse(grid[q])), abs=4 * error)


def test_images_are_used_once_before_any_is_used_again() -> None:
    grid = np.array([5.0, 1e-6])
    few = CLEAN[:10]
    outputs = forward_outputs(context(gaussian(), 4, clean=few), 0, 20, grid)[-1]
    torch.testing.assert_close(outputs[:10], outputs[10:], atol=1e-4, rtol=0)
    torch.testing.assert_close(outputs[:10].sum(0), few.double().flatten(1).sum(0), atol=1e-4, rtol=0)


# The bound.


def test_the_estimated_bounds_are_those_in_closed_form() -> None:
    given = context(gaussian(), 10, clean=CLEAN)
    prepared(method(images=1000, batch=500), given)
    grid = bounded_grid(64, 0.1, given)
    costs = sum(d.artifact.tensors["costs"] for d in given.done).numpy() / 1000
    exact = exact_costs(grid)
    for a, b in ((0, 10), (0, 64), (15, 45), (30, 64), (50, 60)):
        assert costs[a, b] == pytest.approx(exact[a, b], rel=0.05)


@pytest.mark.parametrize(("steps", "error"), [(4, 0.7475), (6, 0.6106), (8, 0.5169), (10, 0.4498), (16, 0.3285)])
def test_the_least_bound_without_early_stopping_is_far_from_the_best_levels_for_the_ode(
    steps: int, error: float
) -> None:
    """Table 7.2 of the project's notes: continuous levels there, 513 of them here."""
    grid = bounded_grid(512, 0.0, context(gaussian(), steps))
    levels = grid[cheapest(exact_costs(grid), steps)[-1]]
    assert euler_error(levels) == pytest.approx(error, rel=0.01)
    assert euler_error(levels) > 2 * euler_error(Arctan().levels(steps, LOW, HIGH))


def test_the_least_estimated_bound_is_about_as_far() -> None:
    given = context(gaussian(8), 10, clean=torch.randn(256, 1, 8, 8, generator=torch.Generator().manual_seed(5)) * STD)
    prepared(AYS(stop_sigma=0.0), given)
    costs = sum(d.artifact.tensors["costs"] for d in given.done).numpy() / 256
    levels = bounded_grid(128, 0.0, given)[cheapest(costs, 6)[-1]]
    assert euler_error(levels) == pytest.approx(0.6106, rel=0.05)


# The descent.


def test_no_single_level_can_be_moved_to_a_lower_bound_and_the_start_is_improved() -> None:
    grid = bounded_grid(64, 0.1, context(gaussian(), 10))
    costs = exact_costs(grid)
    start = np.linspace(0, 64, 11).round().astype(np.int64)
    path = descended(costs, start)
    least = path_cost(costs, path)
    assert least < 0.7 * path_cost(costs, start)
    for i in range(1, 10):
        for index in range(path[i - 1] + 1, path[i + 1]):
            moved = path.copy()
            moved[i] = index
            assert path_cost(costs, moved) >= least
    best = path_cost(costs, cheapest(costs, 10)[-1])
    assert best <= least < 1.06 * best  # one at a time is not all at once


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 62), max_size=30), st.integers(0, 2**31))
def test_a_descent_ends_in_order_even_where_many_costs_are_equal(inner: set[int], seed: int) -> None:
    costs = np.random.default_rng(seed).integers(0, 3, (64, 64)).astype(np.float64)
    start = np.array([0, *sorted(inner), 63])
    path = descended(costs, start)
    assert (path[0], path[-1], len(path)) == (0, 63, len(start))
    assert np.all(np.diff(path) > 0)
    assert path_cost(costs, path) <= path_cost(costs, start)


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(1, 39), max_size=19))
def test_a_subdivision_has_twice_the_steps_in_order_between_the_same_ends(inner: set[int]) -> None:
    path = np.array([0, *sorted(inner), 40])
    longer = subdivided(path)
    assert (longer[0], longer[-1], len(longer)) == (0, 40, 2 * len(path) - 1)
    assert np.all(np.diff(longer) > 0)
    if np.all(np.diff(path) > 1):
        assert np.array_equal(longer[::2], path)


def test_longer_schedules_are_optimised_again_and_others_interpolated() -> None:
    found = {}
    for steps in (1, 6, 10, 13, 20, 40, 50):
        given = context(gaussian(), steps, clean=CLEAN)
        found[steps], artifact = prepared(method(), given)
        check(found[steps], steps)
        expected = 10 if steps <= 10 else 20 if steps <= 20 else 40
        assert artifact.facts["optimised_steps"] == expected
        if steps in (10, 20, 40):
            costs = sum(d.artifact.tensors["costs"] for d in given.done).numpy() / 200
            grid = bounded_grid(64, 0.1, given)
            path = [int(np.abs(grid - level).argmin()) for level in found[steps][:-1]] + [64]
            assert np.array_equal(descended(costs, np.array(path)), path)
            assert artifact.facts["objective"] == pytest.approx(path_cost(costs, path), rel=1e-12)
    between = np.interp(np.arange(14) * 20 / 13, np.arange(21), np.log([*found[20][:-1], 0.1]))
    np.testing.assert_allclose(np.log(found[13][:-1]), between[:-1], rtol=1e-12, atol=1e-12)


def test_no_level_but_the_last_lies_below_the_early_stop() -> None:
    given = context(gaussian(), 10, clean=CLEAN)
    lowest = {stop: prepared(method(stop_sigma=stop), given)[0][-2] for stop in (0.0, 0.002, 0.1, 0.5)}
    assert 0.1 < lowest[0.1] < 0.5 < lowest[0.5]
    assert lowest[0.0] == lowest[0.002] < 0.01
    with pytest.raises(ValueError, match=r"stop_sigma is 80.0, but levels begin at sigma_max = 80.0; give a lower one"):
        prepared(method(stop_sigma=80.0), given)


def test_a_search_on_a_mixture_makes_levels_and_is_the_same_every_time() -> None:
    first, again = (prepared(method(), context(mixture(), 6)) for _ in range(2))
    check(first[0], 6)
    assert np.array_equal(first[0], again[0])
    assert first[1].facts == again[1].facts == json.loads(json.dumps(first[1].facts))


def test_jobs_make_the_same_bounds_however_the_images_are_divided() -> None:
    found = []
    for batch in (200, 70):
        given = context(mixture(), 4)
        prepared(method(batch=batch), given)
        assert len(given.done) == -(-200 // batch)
        found.append(sum(d.artifact.tensors["costs"] for d in given.done))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_every_number_of_steps_asks_for_the_same_jobs_and_never_twice() -> None:
    ays, params = AYS(batch=100), NetworkParams()
    jobs = ays.next_jobs(4, params, [])
    assert [(job["first_image"], job["n_images"]) for job in jobs] == [(0, 100), (100, 100), (200, 56)]
    assert jobs == ays.next_jobs(40, params, [])
    done = [Done(json.loads(json.dumps(job)), Artifact()) for job in jobs]
    assert ays.next_jobs(4, params, done[1:]) == [jobs[0]]
    assert ays.next_jobs(4, params, done) == []
    assert (AYS.prepares_for, AYS.jobs_for) == (("steps",), ())
    assert set(AYS.search_only) == set(AYS.Params.model_fields) - {"final"}


# The released tables.


@pytest.mark.parametrize("table", ["sd-1.5", "sdxl"])
def test_ten_steps_of_a_table_are_its_own_and_others_lie_between(table: Any) -> None:
    ays = AYS(table=table)
    assert not ays.prepares
    assert AYS().prepares
    levels = ays.levels(10, 0.0292, 14.6146)
    np.testing.assert_allclose(levels, [*RELEASED[table], 0.0292], rtol=1e-4)
    assert (levels[0], levels[-1]) == (14.6146, 0.0292)
    twice, half = ays.levels(20, 0.0292, 14.6146), ays.levels(5, 0.0292, 14.6146)
    np.testing.assert_allclose(twice[::2], levels, rtol=1e-12)
    np.testing.assert_allclose(twice[3], math.sqrt(levels[1] * levels[2]), rtol=1e-12)
    np.testing.assert_allclose(half, levels[::2], rtol=1e-12)
    for steps in range(1, 60):
        assert np.all(np.diff(ays.levels(steps, 0.0292, 14.6146)) < 0)


def test_a_table_serves_only_its_own_range() -> None:
    for low, high in ((0.002, 80.0), (0.0292, 14.0), (0.2, 14.615)):
        with pytest.raises(ValueError, match=r'the table "sd-1.5" goes from 14.615 down to 0.152 .* take a table of'):
            AYS(table="sd-1.5").levels(4, low, high)
    with pytest.raises(ValueError, match="at least 1 step"):
        AYS(table="sd-1.5").levels(0, 0.0292, 14.615)


def test_interpolation_is_linear_in_log_sigma() -> None:
    levels = EDM().levels(10, LOW, HIGH)
    np.testing.assert_allclose(interpolated(levels, 10), levels, rtol=1e-12)
    np.testing.assert_allclose(interpolated(levels[[0, 10]], 4), np.geomspace(HIGH, LOW, 5), rtol=1e-12)


def test_without_a_table_levels_need_a_preparation() -> None:
    with pytest.raises(ValueError, match='schedule "ays" finds its levels in a preparation, but none was given'):
        AYS().levels(4, LOW, HIGH)


def test_the_registry_knows_it() -> None:
    assert registry().method("schedule", "ays") is AYS
