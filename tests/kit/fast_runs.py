"""What makes the runs of tests short, for every process that runs tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from harness.measure import machine_load
from harness.metrics import reference
from harness.metrics.authenticity import Neighbours
from harness.metrics.feature_stream import Features
from harness.planning import task_graph

T = TypeVar("T")
LOAD_WINDOW = 0.05
"""Seconds in which a run looks at what other programs do; a run of people takes longer."""


def make_runs_fast() -> None:
    """Cut images into units of 100 evaluations, look shortly at the machine, and keep what reference sets cost."""
    task_graph.UNIT_EVALUATIONS = 100
    measure = machine_load.measure_machine_load
    machine_load.measure_machine_load = lambda seconds=LOAD_WINDOW: measure(seconds)
    reference.pair_mean = _kept(reference.pair_mean)
    Neighbours.of = _kept(Neighbours.of)  # type: ignore[method-assign]


def _kept(compute: Callable[[Features], T]) -> Callable[[Features], T]:
    """Return a function that computes once for equal features: toy runs share their reference set."""
    known: dict[str, T] = {}

    def look_up(features: Features) -> T:
        key = f"{features.dtype} {features.shape} {hashlib.sha256(features.tobytes()).hexdigest()}"
        if key not in known:
            known[key] = compute(features)
        return known[key]

    return look_up
