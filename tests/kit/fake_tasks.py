"""What fake workers run in place of tasks: they sleep as long as a kind of task takes, and return a stub's result."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.measure.device_names import fake_device_name
from harness.specs.base import Spec
from harness.specs.time import TimeOutput
from harness.task import Cut, Event, Ranks, Result, Span, Task
from kit.stub_results import result_of

if TYPE_CHECKING:
    from harness.planning.plan import Plan

SLEEPS = {"sample": 8.0, "score": 0.1, "time": 1.0, "reference": 0.1, "act": 8.0}
"""Seconds of a unit, by kind; an "act" is killed meanwhile."""


def ideal_seconds(made: Plan, workers: int, per_node: int) -> float:
    """Return the shortest time in which so many workers can do a plan: a timing takes a whole node."""
    tasks = made.tasks.values()
    return sum(SLEEPS[one.kind] * one.unit_count * (per_node if one.exclusive else 1) for one in tasks) / workers


def run(spec: Spec, inputs: Mapping[str, Any], span: Span | None, ranks: Ranks) -> Iterator[Event]:
    """Yield a result after the unit's seconds; fail where torch is imported."""
    time.sleep(SLEEPS[spec.kind])
    cut = None if span is None else Cut(span.start, span.stop, span.stop - span.start)
    result = result_of(Task("fake", spec, "fake", cut).unit(0), inputs)
    assert "torch" not in sys.modules
    if isinstance(result.output, TimeOutput):
        result = Result(result.output.model_copy(update={"device_name": fake_device_name()}), result.tensors)
    yield result
