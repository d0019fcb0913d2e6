"""Whole runs of the driver on a stub pool: a plan of small trials, an engine, and the rows that it left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.driver.loop import Engine
from harness.planning.plan import Plan
from harness.storage.store import Store
from harness.task import Failure, Result, Unit
from kit import plan_kit
from kit.faulty import Ears
from kit.stub_pool import StubPool
from kit.stub_results import result_of, seconds_of

STEPS = 50  # with batches of 50 a unit is one batch

Outcome = Callable[[Unit, Mapping[str, Any]], Result | Failure]


def plan(units: int = 3, trials: int = 4, **more: Any) -> Plan:
    """Return a plan of trials of so many units each."""
    others = ({"steps": STEPS, "schedule": {"name": "edm", "rho": 10.0 + k}} for k in range(trials - 1))
    return plan_kit.plan(
        n_images=50 * units, batch=50, trials=[{"steps": STEPS}, *others], baseline={"clock_steps": STEPS}, **more
    )


def engine(
    made: Plan,
    folder: Path,
    result: Outcome = result_of,
    seconds: Callable[[Unit], float] = seconds_of,
    hosts: int = 2,
    devices: int = 4,
    ears: Ears | None = None,
) -> tuple[Engine, StubPool]:
    """Return an engine and its pool, whose clock it goes by."""
    pool = StubPool(hosts, devices, seconds, result)
    store = Store.create_or_open(folder / "mine")
    return Engine(made, store, folder, pool, ears or Ears(), clock=lambda: pool.now), pool


def rows(folder: Path) -> pd.DataFrame:
    """Return the accepted rows by trial, without the columns that tell of times, dates and attempts."""
    found = Store.create_or_open(folder / "mine").snapshot().latest().set_index("trial_id").sort_index()
    told = [name for name in found if any(word in name for word in ("seconds", "_at", "attempt", "started", "date"))]
    return found.drop(columns=told)
