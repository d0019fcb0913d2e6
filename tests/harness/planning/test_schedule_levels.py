"""A schedule that has no levels is refused by the plan, with the place in the method's code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from kit.toys import registered, suite_file, trial

import harness
from harness.errors import UsageError
from methods.parts import Artifact
from methods.parts import Params as BaseParams
from methods.schedules.edm import EDM


class Dividing(EDM):
    """Levels that a parameter of 0 leaves without a value."""

    name = "dividing"

    class Params(BaseParams):
        c: float = 1.0

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        return np.geomspace(sigma_max, sigma_min, steps + 1) * (self.params.c / self.params.c)


class Unlimited(EDM):
    """Levels that are no numbers."""

    name = "unlimited"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        return np.geomspace(sigma_max, sigma_min, steps + 1) / 0.0


def planned(folder: Path, schedule: str) -> None:
    harness.plan(suite_file(folder, trial(steps=3) + f"schedule = {schedule}\n"))


def test_what_a_schedule_raises_is_told_with_entry_file_and_line(tmp_path: Path) -> None:
    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "self.params.c /" in text)
    said = (
        'suite toy.toml, [[trials]] entry 2 (trials.1): schedule "dividing" has no levels for 3 steps on "gaussian": '
        f"ZeroDivisionError: float division by zero (test_schedule_levels.py, line {line})"
    )
    with registered(Dividing):
        planned(tmp_path, '{ name = "dividing", c = 2.0 }')
        with pytest.raises(UsageError, match=re.escape(said)):
            planned(tmp_path, '{ name = "dividing", c = 0.0 }')
        with pytest.raises(UsageError, match="ZeroDivisionError"):
            harness.make_sampler("analytic", dataset="gaussian", steps=3, schedule={"name": "dividing", "c": 0.0})


def test_levels_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    with registered(Unlimited), pytest.raises(UsageError, match=r"found \[inf, .* expected finite numbers"):
        planned(tmp_path, '"unlimited"')
