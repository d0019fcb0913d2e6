"""DMN: the weights are those of a multistep exponential integrator, and the search lowers the bound they make."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_context import ToyContext
from scipy.integrate import quad

from harness.registry import registry
from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams
from methods.parts import Artifact
from methods.schedules.dmn import DMN, bound, step_weights
from methods.schedules.edm import EDM
from methods.schedules.logsnr import LogSNR
from methods.schedules.uniform_t import UniformT
from methods.solvers.ddim import DDIM

STEPS = [1, 2, 3, 4, 5, 7, 8, 12]


def context(steps: int) -> ToyContext:
    network = Analytic(NetworkParams(), DataShape(1, 1, {"means": [[0.0]], "stds": [0.5], "weights": [1.0]}))
    return ToyContext(network, steps=steps, sigma_min=0.002, sigma_max=80.0)


def prepared(steps: int, **params: Any) -> tuple[np.ndarray, Artifact]:
    dmn = DMN(**params)
    artifact = dmn.prepare(context(steps))
    return dmn.levels(steps, 0.002, 80.0, artifact), artifact


def uneven(steps: int) -> np.ndarray:
    """Return lambdas [steps + 1] of levels that are uniform in nothing."""
    draws = np.random.default_rng(steps).uniform(0.3, 1.7, steps)
    return np.concatenate(([0.0], np.cumsum(draws))) - 2.0


# The weights.


@pytest.mark.parametrize("steps", STEPS)
def test_weights_and_the_rest_of_the_start_add_up_to_one(steps: int) -> None:
    """With a constant output the exact solution is x_N = s_N / s_0 x_0 + (1 - s_N / s_0) D."""
    sigma = np.exp(-uneven(steps))
    weights = sigma[-1] * step_weights(uneven(steps))
    assert weights.sum() + sigma[-1] / sigma[0] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_a_step_integrates_exactly_what_its_order_promises(degree: int) -> None:
    """x_{n+1} / s_{n+1} - x_n / s_n is the integral of exp(lambda) D over the step, for D a power of lambda."""
    lambdas = uneven(8)
    got = step_weights(lambdas) @ lambdas[:-1] ** degree
    for n, order in enumerate([1, 2, 3, 3, 3, 3, 2, 1]):
        exact = quad(lambda v: math.exp(v) * v**degree, lambdas[n], lambdas[n + 1], epsabs=0, epsrel=1e-13)[0]
        assert (got[n] == pytest.approx(exact, rel=1e-10)) == (degree < order)


@pytest.mark.parametrize("steps", STEPS)
def test_a_step_reads_as_many_outputs_as_its_order(steps: int) -> None:
    weights = step_weights(uneven(steps))
    for n in range(steps):
        order = min(n + 1, steps - n, 3)
        assert np.flatnonzero(weights[n]).tolist() == [*range(n - order + 1, n + 1)]


def test_weights_of_first_order_are_those_of_ddim() -> None:
    """Two steps are both of first order; what DDIM gives an output is read off a network that answers 1 only there."""
    sigma = np.exp(-uneven(2))
    weights = sigma[-1] * step_weights(uneven(2))
    for m in range(2):
        x = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
        for i in range(2):
            answer = torch.full_like(x, float(i == m))
            x = DDIM().step(x, i, sigma, lambda x, s, answer=answer: answer, None, torch.zeros)
        assert weights.sum(0)[m] == pytest.approx(float(x), rel=1e-12)


# The bound.


def test_bounds_of_the_first_orders_are_those_on_paper() -> None:
    """Two steps of first order: sum_i s_i (1 / s_{i+1} - 1 / s_i) with the pixel law."""
    lambdas = -np.log(np.array([80.0, 0.4, 0.002]))
    assert bound(lambdas, "pixel") == pytest.approx(2 * 199, rel=1e-12)
    sizes = np.array([80**2 / math.sqrt(1 + 80**2), 0.4**2 / math.sqrt(1.16)])
    assert bound(lambdas, "latent") == pytest.approx(float(sizes @ [2.5 - 1 / 80, 500 - 2.5]), rel=1e-12)


def test_many_steps_let_errors_cancel_and_few_do_not_at_the_start() -> None:
    few, many = uneven(7), uneven(8)
    parts = [step_weights(v) * np.exp(-v[:-1]) for v in (few, many)]
    apart = np.sqrt((parts[0][:3] ** 2).sum(1)).sum() + np.abs(parts[0][3:].sum(0)).sum()
    assert bound(few, "pixel") == pytest.approx(apart, rel=1e-14)
    assert bound(many, "pixel") == pytest.approx(np.abs(parts[1].sum(0)).sum(), rel=1e-14)


# The search.


@pytest.mark.parametrize("error", ["pixel", "latent"])
@pytest.mark.parametrize("steps", STEPS)
def test_the_search_lowers_the_bound_and_keeps_the_grid_in_order(steps: int, error: str) -> None:
    levels, artifact = prepared(steps, error=error)
    start = (LogSNR() if error == "pixel" else UniformT()).levels(steps, 0.002, 80.0)
    assert levels.dtype == np.float64
    assert (levels[0], levels[-1]) == (80.0, 0.002)
    assert np.all(np.diff(levels) < 0)
    facts = artifact.facts
    assert facts["objective"] == pytest.approx(bound(-np.log(levels), error), rel=1e-12)
    assert facts["objective_at_start"] == pytest.approx(bound(-np.log(start), error), rel=1e-12)
    assert facts["objective"] <= facts["objective_at_start"]
    if steps > 2:
        assert facts["objective"] < 0.8 * facts["objective_at_start"]
        assert facts["objective"] < bound(-np.log(EDM().levels(steps, 0.002, 80.0)), error)
    assert json.loads(json.dumps(dict(facts))) == facts


def test_two_steps_of_the_pixel_law_meet_in_the_geometric_mean() -> None:
    """s_0 / s_1 + s_1 / s_2 is least there, which is where the search starts."""
    assert prepared(2)[0][1] == pytest.approx(0.4, rel=1e-3)


def test_two_steps_of_the_latent_law_meet_where_the_bound_is_least() -> None:
    free = np.exp(np.linspace(math.log(0.1), math.log(2.0), 4001))
    bounds = [bound(-np.log(np.array([80.0, s, 0.002])), "latent") for s in free]
    assert prepared(2, error="latent")[0][1] == pytest.approx(free[int(np.argmin(bounds))], rel=2e-3)


def test_a_search_is_the_same_every_time() -> None:
    assert np.array_equal(prepared(6)[0], prepared(6)[0])


def test_a_search_that_ends_worse_leaves_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    edm = -np.log(EDM().levels(6, 0.002, 80.0))
    worse = np.sort(np.concatenate((edm[:1], edm[-1] - np.arange(1, 6) * 1e-3, edm[-1:])))
    monkeypatch.setattr("methods.schedules.dmn._minimised", lambda lambdas, error: worse)
    levels, artifact = prepared(6)
    assert np.array_equal(levels, LogSNR().levels(6, 0.002, 80.0))
    assert artifact.facts["objective"] == artifact.facts["objective_at_start"]


# What the artifact is asked for.


def test_levels_without_the_right_preparation_are_refused_in_one_sentence() -> None:
    _, artifact = prepared(3)
    with pytest.raises(ValueError, match='schedule "dmn" finds its levels in a preparation, but none was given'):
        DMN().levels(3, 0.002, 80.0)
    with pytest.raises(ValueError, match="was prepared for 3 steps, but 4 are asked for"):
        DMN().levels(4, 0.002, 80.0, artifact)
    with pytest.raises(ValueError, match=r"was prepared from 80.0 to 0.002, but asked for from 80.0 to 0.01"):
        DMN().levels(3, 0.01, 80.0, artifact)
    with pytest.raises(ValueError, match="at least 1 step"):
        DMN().levels(0, 0.002, 80.0, artifact)


def test_the_registry_knows_it_and_one_preparation_serves_every_solver() -> None:
    assert registry().method("schedule", "dmn") is DMN
    assert DMN().prepares
    assert DMN().prepares_for == ("steps",)
