"""Every cheat is INVALID for the reason that its class names, and every honest row of its run is VALID."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from kit import cheats
from kit.cheats_tools import Cheat
from kit.toys import registered

import harness
from harness.pools.local import LocalPool
from harness.rows.rules import RULES, rule_name
from harness.sampling import pixels
from harness.sampling.call_counts import CallCounts

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "audits.md"
CHANGED: tuple[tuple[Any, str], ...] = (
    (pixels, "image_digests"), (CallCounts, "add"), (time, "perf_counter"), (torch.backends.mkldnn, "enabled"),
)  # fmt: skip
"""What cheats on the process change."""


def trials_of(folder: Path, of: tuple[type[Cheat], ...], trainings: int = 1) -> pd.DataFrame:
    """Run these cheats between honest trials in this process; return the rows of all."""
    with registered(*of):  # type: ignore[arg-type]
        tables = harness.run(
            cheats.suite_of(folder, of, trainings), pool=LocalPool, results=folder / "results", report=False
        )
    return tables.trials


def check(trials: pd.DataFrame, cheat: type[Cheat]) -> None:
    """Fail unless the cheat's row is INVALID, and each of its rules is among the reasons."""
    rows = trials[trials[cheat.part] == cheat.name]  # type: ignore[attr-defined]
    assert len(rows)
    assert "INVALID" in set(rows["verdict"]), f"{cheat.name} is VALID"
    reasons = "; ".join(rows["reasons"])
    found = [reason.partition(":")[0] for reason in reasons.split("; ")]
    assert set(cheat.rules) <= set(found), reasons


def check_honest(trials: pd.DataFrame) -> None:
    """Fail unless all honest rows are VALID."""
    honest = trials[trials["method"].isin(cheats.HONEST)]
    assert len(honest) >= len(cheats.HONEST)
    assert set(honest["verdict"]) == {"VALID"}, honest[["method", "reasons"]].to_dict("records")


@pytest.fixture(scope="module")
def rows_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], pd.DataFrame]]:
    """Return what runs all cheats of a kind, once, and returns the rows; the process is put back."""
    before = [getattr(owner, name) for owner, name in CHANGED]
    known: dict[str, pd.DataFrame] = {}

    def rows(kind: str) -> pd.DataFrame:
        if kind not in known:
            known[kind] = trials_of(tmp_path_factory.mktemp(kind), cheats.BY_KIND[kind])
        return known[kind]

    yield rows
    for (owner, name), value in zip(CHANGED, before, strict=True):
        setattr(owner, name, value)


@pytest.mark.parametrize(
    ("kind", "cheat"),
    [pytest.param(kind, cheat, id=cheat.name) for kind, some in cheats.BY_KIND.items() for cheat in some],  # type: ignore[attr-defined]
)
def test_a_cheat_is_invalid_for_its_reason(
    kind: str, cheat: type[Cheat], rows_of: Callable[[str], pd.DataFrame]
) -> None:
    check(rows_of(kind), cheat)


@pytest.mark.parametrize("kind", cheats.BY_KIND)
def test_honest_rows_among_cheats_are_valid(kind: str, rows_of: Callable[[str], pd.DataFrame]) -> None:
    check_honest(rows_of(kind))


@pytest.mark.parametrize("cheat", cheats.OF_TRAININGS, ids=lambda cheat: cheat.name)
def test_a_cheat_on_trainings_is_invalid_for_its_reason(cheat: type[Cheat], tmp_path: Path) -> None:
    trials = trials_of(tmp_path, (cheat,), trainings=2)
    check(trials, cheat)
    check_honest(trials)


def test_there_are_many_cheats_and_no_two_are_alike() -> None:
    assert len(cheats.CHEATS) >= 16
    assert len({cheat.name for cheat in cheats.CHEATS}) == len(cheats.CHEATS)  # type: ignore[attr-defined]
    assert len({cheat.__doc__ for cheat in cheats.CHEATS}) == len(cheats.CHEATS)


def test_the_document_lists_every_cheat_with_its_rules() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("| `cheat-")] == cheats.document_rows()


def test_the_document_lists_every_rule_with_its_bound() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    known = [cells[1].strip("`") for line in lines if len(cells := [one.strip() for one in line.split("|")]) == 5]
    assert known[:1] == ["rule"]
    assert [name for name in known if name not in ("rule", "---")] == [rule_name(rule) for rule in RULES]
