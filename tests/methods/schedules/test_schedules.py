"""Schedules: exact end points, strict decrease, and the formula of each source."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from methods.parts import Schedule
from methods.schedules.arctan import Arctan
from methods.schedules.cosine import Cosine
from methods.schedules.edm import EDM
from methods.schedules.flow_uniform import FlowUniform
from methods.schedules.logsnr import LogSNR
from methods.schedules.quadratic_t import QuadraticT
from methods.schedules.uniform_sigma import UniformSigma
from methods.schedules.uniform_t import UniformT
from methods.vp_time import EPS_S, fitted_beta, fitted_sigma

ANY_RANGE: list[Schedule] = [
    FlowUniform(),
    Cosine(),
    LogSNR(),
    EDM(),
    EDM(rho=1.5),
    Arctan(),
    Arctan(c=2.0),
    UniformSigma(),
]
VP_RANGE: list[Schedule] = [UniformT(), QuadraticT()]
ALL = ANY_RANGE + VP_RANGE

lowest = st.floats(1e-4, 1.0)
factor = st.floats(1.5, 1e5)
count = st.integers(1, 200)


def fitted_time(sigma: np.ndarray, sigma_min: float, sigma_max: float) -> np.ndarray:
    """Return t of bd t² / 2 + bmin t = ln(1 + sigma²), of the two forms of the root the one that subtracts nothing."""
    bd, bmin = fitted_beta(sigma_min, sigma_max)
    integral = np.log1p(np.square(sigma))
    root = np.sqrt(np.maximum(bmin**2 + 2 * bd * integral, 0.0))
    return (root - bmin) / bd if bmin < 0 else 2 * integral / (bmin + root)


def check(schedule: Schedule, steps: int, sigma_min: float, sigma_max: float) -> None:
    levels = schedule.levels(steps, sigma_min, sigma_max)
    assert levels.dtype == np.float64
    assert levels.shape == (steps + 1,)
    assert levels[0] == sigma_max
    assert levels[-1] == sigma_min
    assert np.all(np.diff(levels) < 0)


@pytest.mark.parametrize("schedule", ANY_RANGE, ids=lambda s: f"{s.name}-{s.params}")
@settings(max_examples=50, deadline=None)
@given(steps=count, sigma_min=lowest, factor=factor)
def test_levels_decrease_strictly_between_ends_that_are_equal_to_the_bit(
    schedule: Schedule, steps: int, sigma_min: float, factor: float
) -> None:
    check(schedule, steps, sigma_min, sigma_min * factor)


@pytest.mark.parametrize("schedule", VP_RANGE, ids=lambda s: s.name)
@settings(max_examples=100, deadline=None)
@given(steps=count, share=st.floats(1e-6, 0.999), sigma_max=st.floats(0.5, 1e4))
def test_levels_in_vp_time_do_so_wherever_a_linear_beta_can_be_fitted(
    schedule: Schedule, steps: int, share: float, sigma_max: float
) -> None:
    limit = math.sqrt(math.expm1(EPS_S * (2 - EPS_S) * math.log1p(sigma_max**2)))
    check(schedule, steps, share * limit, sigma_max)


@pytest.mark.parametrize("schedule", VP_RANGE, ids=lambda s: s.name)
def test_a_range_that_no_linear_beta_fits_is_refused_in_one_sentence(schedule: Schedule) -> None:
    with pytest.raises(ValueError, match="no VP process with linear beta is monotone from 1"):
        schedule.levels(4, 0.5, 1.0)


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: f"{s.name}-{s.params}")
def test_a_request_that_makes_no_sense_is_refused_in_one_sentence(schedule: Schedule) -> None:
    with pytest.raises(ValueError, match="at least 1 step, but steps is 0"):
        schedule.levels(0, 0.002, 80.0)
    for low, high in ((0.0, 80.0), (-1.0, 80.0), (80.0, 80.0), (81.0, 80.0), (math.nan, 80.0), (0.002, math.inf)):
        with pytest.raises(ValueError, match="sigma_min must lie in"):
            schedule.levels(4, low, high)


def test_more_steps_than_float64_can_tell_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be told apart"):
        UniformSigma().levels(10, 1.0, float(np.nextafter(1.0, 2.0)))


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: f"{s.name}-{s.params}")
def test_one_step_is_the_two_ends(schedule: Schedule) -> None:
    assert schedule.levels(1, 0.002, 80.0).tolist() == [80.0, 0.002]


@pytest.mark.parametrize(
    ("schedule", "coordinate"),
    [
        (UniformSigma(), lambda s: s),
        (LogSNR(), np.log),
        (EDM(), lambda s: s ** (1 / 7)),
        (EDM(rho=3.0), lambda s: s ** (1 / 3)),
        (Cosine(), np.arctan),
        (Arctan(), lambda s: np.arctan(2 * s)),
        (Arctan(c=0.2), lambda s: np.arctan(5 * s)),
        (UniformT(), lambda s: fitted_time(s, 0.002, 80.0)),
        (QuadraticT(), lambda s: np.sqrt(fitted_time(s, 0.002, 80.0))),
    ],
    ids=lambda v: getattr(v, "name", ""),
)
def test_levels_are_uniform_in_the_coordinate_that_names_the_schedule(schedule: Schedule, coordinate) -> None:
    steps = np.diff(coordinate(schedule.levels(12, 0.002, 80.0)))
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-9)


def test_edm_levels_are_those_printed_by_the_authors_formula() -> None:
    # Karras et al. 2022, eq. 5, at i = 1 of 4: (80^(1/7) + (0.002^(1/7) - 80^(1/7)) / 4)^7
    expected = (0.75 * 80 ** (1 / 7) + 0.25 * 0.002 ** (1 / 7)) ** 7
    assert EDM().levels(4, 0.002, 80.0)[1] == pytest.approx(expected, rel=1e-13)


def test_vp_constants_are_those_of_the_fit_of_karras() -> None:
    # What the fit must satisfy: log(sigma^2 + 1) at t = eps_s and t = 1.
    bd, bmin = fitted_beta(0.002, 80.0)
    assert bd / 2 + bmin == pytest.approx(math.log(80.0**2 + 1), rel=1e-14)
    assert bd * EPS_S**2 / 2 + bmin * EPS_S == pytest.approx(math.log1p(0.002**2), rel=1e-9)
    # Song et al.'s own process has bd = 19.9 and bmin = 0.1; its ends give them back.
    own = np.sqrt(np.expm1(19.9 * np.array([EPS_S, 1.0]) ** 2 / 2 + 0.1 * np.array([EPS_S, 1.0])))
    np.testing.assert_allclose(fitted_beta(*own), (19.9, 0.1), rtol=1e-9)


@settings(max_examples=100, deadline=None)
@given(t=st.floats(EPS_S, 1.0), share=st.floats(1e-4, 0.99), sigma_max=st.floats(0.5, 1e4))
def test_time_and_level_are_inverse_to_each_other(t: float, share: float, sigma_max: float) -> None:
    sigma_min = share * math.sqrt(math.expm1(EPS_S * (2 - EPS_S) * math.log1p(sigma_max**2)))
    sigma = fitted_sigma(np.array(t), sigma_min, sigma_max)
    # Near the limit of the fit sigma hardly changes with t at t = 1, so only half of the digits come back there.
    assert float(fitted_time(sigma, sigma_min, sigma_max)) == pytest.approx(t, rel=1e-6 if share > 0.9 else 1e-9)


def test_time_and_level_meet_at_the_two_ends() -> None:
    np.testing.assert_allclose(fitted_sigma(np.array([EPS_S, 1.0]), 0.002, 80.0), [0.002, 80.0], rtol=1e-9)


def test_parameters_out_of_range_or_misspelt_are_refused() -> None:
    for wrong in ({"rho": 0.0}, {"rho": -7.0}, {"roh": 7.0}):
        with pytest.raises(ValidationError):
            EDM(**wrong)
    with pytest.raises(ValidationError):
        Arctan(c=0.0)
