"""The levels of a network: its own range, those of its process, and what leaves them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from methods.networks.base import NetworkParams
from methods.networks.preconditioned import PreconditionedParams


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("vp-discrete", 0.0100005, 157.4073),
        ("vp-latent", 0.0291672, 14.61464),
        ("vp", 0.0, 152.167),
        ("cosine", 0.0064254, 20291.0),
        ("edm", 0.0, float("inf")),
        ("flow", 0.0, float("inf")),
    ],
)
def test_a_process_has_the_published_levels(name: Any, low: float, high: float) -> None:
    found = PreconditionedParams(preconditioning=name).known_levels
    assert found == (pytest.approx(low, rel=1e-5), pytest.approx(high, rel=1e-4))


def test_other_betas_have_other_levels() -> None:
    wide = PreconditionedParams(preconditioning="vp-discrete", betas={"end": 0.03})  # type: ignore[arg-type]
    assert wide.known_levels[1] > 1000


def test_the_own_range_comes_before_that_of_the_data() -> None:
    assert NetworkParams(sigma_range=(0.01, 9.0)).range_within(0.002, 80.0) == (0.01, 9.0)
    assert NetworkParams().range_within(0.002, 80.0) == (0.002, 80.0)


@pytest.mark.parametrize("given", [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, float("inf"))])
def test_a_range_that_is_none_is_refused(given: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="expected a level above 0 and a higher one"):
        NetworkParams(sigma_range=given)


def test_a_range_outside_of_the_process_is_refused() -> None:
    PreconditionedParams(preconditioning="vp-discrete", sigma_range=(0.01, 157.4))
    with pytest.raises(ValidationError, match=r"its process has 0\.01"):
        PreconditionedParams(preconditioning="vp-discrete", sigma_range=(0.002, 80.0))
    with pytest.raises(
        ValueError, match=r"levels from 0.03 to 80 are asked for, but its process has 0.0291672 to 14.6"
    ):
        PreconditionedParams(preconditioning="vp-latent").range_within(0.03, 80.0)
