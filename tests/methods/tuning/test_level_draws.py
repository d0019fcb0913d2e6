"""Levels of a tuning: their distribution against its closed form, and which methods have the choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_context import ToyContext
from kit.toy_gates import lively

from methods.denoisers.adadiff import AdaDiff
from methods.denoisers.early_exit import EarlyExit
from methods.denoisers.few_step import FewStepDenoiser
from methods.schedules.few_step_rounds import RoundsParams
from methods.tuning.level_draws import DrawnTuningParams, LevelDraws

N = 40_000
LOW, HIGH = 0.002, 20.0


def drawn(kind: Any, preconditioning: str = "edm", rows: int = N, seed: int = 0) -> np.ndarray:
    """Return drawn levels, float64 [rows]."""
    network = lively("uvit", preconditioning=preconditioning)
    context = ToyContext(network, sigma_min=LOW, sigma_max=HIGH)
    sigma, noise = LevelDraws(network, context, DrawnTuningParams(tune_levels=kind)).draws(
        (rows, 1, 2, 2), torch.Generator().manual_seed(seed)
    )
    assert sigma.dtype == noise.dtype == torch.float32
    assert noise.shape == (rows, 1, 2, 2)
    return sigma.double().numpy()


def time(sigma: np.ndarray) -> np.ndarray:
    """Return t of the linear-beta process: 0.1 t + 9.95 t² = ln(1 + sigma²)."""
    return (np.sqrt(0.01 + 39.8 * np.log1p(sigma**2)) - 0.1) / 19.9


def distance(values: np.ndarray, cumulative: np.ndarray) -> float:
    """Return the Kolmogorov-Smirnov statistic of values against their cumulative shares; 0.01 is p = 0.0007 for N."""
    order = np.argsort(values)
    return float(np.abs(cumulative[order] - (np.arange(len(values)) + 0.5) / len(values)).max())


def in_time(sigma: np.ndarray) -> np.ndarray:
    low, high = time(np.array([LOW, HIGH]))
    return (time(sigma) - low) / (high - low)


def in_log(sigma: np.ndarray) -> np.ndarray:
    return np.log(sigma / LOW) / np.log(HIGH / LOW)


@pytest.mark.parametrize("preconditioning", ["edm", "vp"])
def test_time_is_uniform_between_the_ends_of_sampling(preconditioning: str) -> None:
    sigma = drawn("time", preconditioning)
    assert distance(sigma, in_time(sigma)) < 0.01
    assert distance(sigma, in_log(sigma)) > 0.1


def test_a_quarter_of_the_mixture_is_uniform_in_the_logarithm() -> None:
    sigma = drawn("mixed")
    assert distance(sigma, 0.75 * in_time(sigma) + 0.25 * in_log(sigma)) < 0.01
    assert distance(sigma, in_time(sigma)) > 0.05


def test_trainings_own_levels_are_the_networks_draws() -> None:
    network = lively("uvit")
    draws = LevelDraws(network, ToyContext(network), DrawnTuningParams(tune_levels="training"))
    found, own = (one.draws((9, 1, 8, 8), torch.Generator().manual_seed(3)) for one in (draws, network))
    assert all(torch.equal(*pair) for pair in zip(found, own, strict=True))


@pytest.mark.parametrize("kind", ["time", "mixed"])
@pytest.mark.parametrize("preconditioning", ["edm", "vp", "vp-discrete", "vp-latent"])
def test_no_level_lies_outside_sampling(kind: str, preconditioning: str) -> None:
    sigma = drawn(kind, preconditioning, rows=4000)
    assert LOW * 0.9999 < sigma.min() < 0.2
    assert 10 < sigma.max() < HIGH * 1.0001
    assert np.array_equal(sigma, drawn(kind, preconditioning, rows=4000))
    assert not np.array_equal(sigma, drawn(kind, preconditioning, rows=4000, seed=1))


def test_methods_that_tune_at_levels_of_their_own_have_no_choice() -> None:
    assert "tune_levels" in AdaDiff.Params.model_fields
    assert "tune_levels" in EarlyExit.Params.model_fields
    for params in (FewStepDenoiser.Params, RoundsParams):
        assert "tune_levels" not in params.model_fields


@pytest.mark.parametrize("method", [AdaDiff, EarlyExit])
def test_every_choice_tunes_another_network(method: Any) -> None:
    network, few = lively("uvit"), {"tune_steps": 2, "tune_batch": 4}
    found = [method(tune_levels=kind, **few).prepare(ToyContext(network)) for kind in ("mixed", "time", "training")]
    assert len({artifact.facts["loss"] for artifact in found}) == 3
