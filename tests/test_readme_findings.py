"""Every figure that README's findings quote stands in a committed table: the sentences are made here from the tables.

A finding that no longer holds, or that the tables say otherwise, fails. `python tests/test_readme_findings.py` prints
the sentences as the tables give them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import harness

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results" / "reference"
TRAININGS = ("", "-seed1", "-seed2")


@cache
def trials(suite: str) -> pd.DataFrame:
    return harness.load(REFERENCE / suite).trials


def row(method: str, network: str, steps: int, suite: str = "digits") -> pd.Series:
    """Return the one VALID row of a method, a network and a step count."""
    table = trials(suite)
    found = table[(table["method"] == method) & (table["network"] == network) & (table["steps"] == steps)]
    assert len(found) == 1, f"{len(found)} rows of {method} @ {network} at {steps} steps in {suite}"
    (one,) = (r for _, r in found.iterrows())
    assert one["verdict"] == "VALID"
    return one


def values(method: str, network: str, steps: int, column: str = "fid") -> list[float]:
    """Return a figure in all three trainings of a network."""
    return [float(row(method, f"{network}{training}", steps)[column]) for training in TRAININGS]


def ratios(method: str, other: str, network: str, steps: int, column: str) -> list[float]:
    pairs = zip(values(method, network, steps, column), values(other, network, steps, column), strict=True)
    return [one / two for one, two in pairs]


def listed(numbers: Iterable[float], digits: int = 1) -> str:
    first, second, third = (f"{number:.{digits}f}" for number in numbers)
    return f"{first}, {second} and {third}"


def compared(method: str, other: str, network: str, steps: int) -> list[Mapping[str, float]]:
    """Return the stored comparison of two methods in all three trainings: a difference of FID with its interval."""
    table = pd.read_csv(REFERENCE / "digits" / "comparisons.csv")
    found = []
    for training in TRAININGS:
        name = f"{network}{training}"
        mine = table[(table["method"] == method) & (table["network"] == name) & (table["steps"] == steps)]
        mine = mine[(mine["other_method"] == other) & (mine["kind"] == "control")]
        assert len(mine) == 1, f"{len(mine)} comparisons of {method} with {other} @ {name} at {steps} steps"
        found.append(mine.iloc[0])
    return found


def lower(method: str, other: str, network: str, steps: int) -> int:
    """Return in how many of the three trainings the FID is lower by more than the paired interval."""
    return sum(pair["fid_difference_high"] < 0 for pair in compared(method, other, network, steps))
