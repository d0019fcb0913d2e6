"""Sentences that documents quote, made from the tables of reference runs, and whether a document holds them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

import harness

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference"
TRAININGS = (0, 1, 2)
Sentence = Callable[[], str]


@cache
def trials(suite: str) -> pd.DataFrame:
    return harness.load(REFERENCE / suite).trials


@cache
def table(name: str, suite: str = "digits") -> pd.DataFrame:
    return pd.read_csv(REFERENCE / suite / f"{name}.csv")


def row(method: str, network: str, steps: int, suite: str = "digits", training: int = 0) -> pd.Series:
    """Return the one VALID row of a method, a network, a step count and a training."""
    rows = trials(suite)
    found = rows[(rows["method"] == method) & (rows["network"] == network) & (rows["steps"] == steps)]
    if "training" in found:  # older tables have none
        found = found[found["training"].isna() | (found["training"] == training)]
    assert len(found) == 1, f"{len(found)} rows of {network}:{method}-{steps} in {suite}, training {training}"
    (one,) = (r for _, r in found.iterrows())
    assert one["verdict"] == "VALID"
    return one


def values(method: str, network: str, steps: int, column: str = "fid", suite: str = "digits") -> list[float]:
    """Return a figure in all three trainings of a network."""
    return [float(row(method, network, steps, suite, k)[column]) for k in TRAININGS]


def pair(
    method: str,
    other: str,
    network: str,
    steps: int,
    kind: str = "control",
    suite: str = "digits",
    trainings: int = len(TRAININGS),
) -> pd.Series:
    """Return the stored comparison of two methods over so many trainings: a difference of FID with its interval."""
    rows = table("comparisons", suite)
    mine = rows[(rows["method"] == method) & (rows["network"] == network) & (rows["steps"] == steps)]
    mine = mine[(mine["other_method"] == other) & (mine["kind"] == kind)]
    assert len(mine) == 1, f"{len(mine)} comparisons of {network}:{method}-{steps} with {other}"
    assert mine.iloc[0]["trainings"] == trainings
    return mine.iloc[0]


def by_training(found: pd.Series) -> list[float]:
    return [float(value) for value in str(found["fid_difference_by_training"]).split()]


def lower(found: pd.Series) -> bool:
    """Return whether the FID is lower in every training, and over the trainings by more than the 95 % interval."""
    return bool(found["fid_difference_high"] < 0 and max(by_training(found)) < 0)


def undecided(found: pd.Series) -> bool:
    return bool(found["fid_difference_low"] < 0 < found["fid_difference_high"])


def difference(found: pd.Series, digits: int = 1) -> str:
    ends = (found[f"fid_difference{end}"] for end in ("", "_low", "_high"))
    value, low, high = (f"{number:.{digits}f}" for number in ends)
    return f"{value} [{low}, {high}]"


def time_ratio(found: pd.Series) -> str:
    return f"{found['time_ratio']:.2f} [{found['time_ratio_low']:.2f}, {found['time_ratio_high']:.2f}]"


def reached(name: str, target: float, suite: str = "digits") -> pd.Series:
    """Return the stored time to quality of a method on a network."""
    rows = table("time_to_quality", suite)
    found = rows[(rows["name"] == name) & (rows["target"] == target)]
    assert len(found) == 1, f"{len(found)} lines of {name} at FID {target}"
    return found.iloc[0]


def faster(found: pd.Series) -> str:
    """Return how many times as fast as the baseline a method reaches a target, with its interval; a bound says so."""
    value, low, high = (found[f"throughput_over_baseline{end}"] for end in ("", "_low", "_high"))
    if found["throughput_over_baseline_sign"] == ">=":
        return f"≥ {value:.1f} [{low:.1f}, –]"
    assert found["throughput_state"] == "reached"
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def listed(numbers: Iterable[float], digits: int = 1) -> str:
    *firsts, last = (f"{number:.{digits}f}" for number in numbers)
    return f"{', '.join(firsts)} and {last}"


def span(numbers: Iterable[float], digits: int = 1) -> str:
    """Return least and greatest of some figures, or the one that they round to."""
    ordered = sorted(numbers)
    ends = [f"{number:.{digits}f}" for number in (ordered[0], ordered[-1])]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def check_section(document: str, start: str, end: str, sentences: Sequence[Sentence]) -> None:
    """Assert that a section holds all sentences, and no figure but theirs."""
    text = (ROOT / document).read_text(encoding="utf-8")
    begin = text.index(start)
    rest = " ".join(text[begin : text.index(end, begin) if end else None].split())
    for sentence in sentences:
        assert sentence() in rest
        rest = rest.replace(sentence(), "")
    assert re.findall(r"\d+(?:\.\d+)?", rest) == []


def print_sentences(sentences: Sequence[Sentence]) -> None:
    """Print them as a list of a document."""
    for sentence in sentences:
        print("\n".join(textwrap.wrap(f"- {sentence()}", 118, subsequent_indent="  ", break_on_hyphens=False)))
