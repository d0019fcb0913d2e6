"""What each part of a run takes of devices: trainings, preparations, references, sampling, scores, timing, with ranges.

On cores a suite for GPUs takes years, so no run of it is there. Where the cores would be busy for days, parts are
priced in GPU-hours, at the assumed speed of a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.planning.cost.flops_guess import SPEEDS
from harness.planning.cost.task_seconds import TaskEstimate, TaskEstimator
from harness.planning.cost.unfinished import KeptTasks
from harness.planning.plan import Plan
from harness.specs.prepare import PrepareSpec
from harness.specs.train import TrainSpec
from harness.storage.run_rates import DeviceRates
from harness.task import Task

_LEAST_SHOWN = 3_600.0
"""Device-seconds of a whole run from which on its parts are priced; shorter ones are said in a sentence."""
_MOST_ON_CORES = 172_800.0
"""Core-seconds of a whole run above which its parts are priced on GPUs."""
_HOUR = 3_600.0
_NAMES = {
    "weights": "reading weights",
    "reference": "the reference",
    "reference-solution": "reference solutions",
    "sample": "sampling",
    "score": "scores",
    "fidelity": "comparing images",
    "time": "timing",
}
_KINDS = ("train", "weights", "prepare", "reference", "reference-solution", "sample", "score", "fidelity", "time")
"""Kinds of tasks in the order of a run."""


@dataclass(frozen=True)
class PartPrice:
    """Device-seconds of one part of a run, with a range."""

    part: str
    seconds: float
    low: float
    high: float
    device: str
    """GPU or core."""

    @property
    def sentence(self) -> str:
        """Return it in words, such as "12 GPU-hours (4.0 to 36) for timing"."""
        ends = f"{format_hours(self.low)} to {format_hours(self.high)}"
        return f"{format_hours(self.seconds)} {self.device}-hours ({ends}) for {self.part}"


def format_hours(seconds: float) -> str:
    """Return seconds as hours, of two digits or so."""
    hours = seconds / _HOUR
    return f"{hours:,.0f}" if hours >= 9.95 else f"{hours:.1f}" if hours >= 0.095 else f"{hours:.1g}"


def price_parts(plan: Plan, tasks: Iterable[TaskEstimate], kept: KeptTasks) -> tuple[PartPrice, ...]:
    """Return the price of every part of a run in the order of its work; nothing for a run of less than an hour."""
    found, device = list(tasks), "GPU" if plan.device_class.startswith("cuda") else "core"
    total = sum(_device_seconds(one, one.total.seconds) for one in found)
    if total < _LEAST_SHOWN:
        return ()
    if device == "core" and total > _MOST_ON_CORES:
        on_gpu = TaskEstimator(replace(plan, device_class="cuda"), DeviceRates(), kept, batch=plan.suite.batch)
        found, device = [on_gpu.estimate(one.task) for one in found], "GPU"

    parts: dict[str, list[TaskEstimate]] = {}
    for one in sorted(found, key=lambda one: _KINDS.index(one.task.kind) if one.task.kind in _KINDS else len(_KINDS)):
        parts.setdefault(_name_part(one.task), []).append(one)
    return tuple(_add(name, some, device) for name, some in parts.items())


def assumed_words(prices: Iterable[PartPrice], device_class: str) -> str:
    """Return at what speed prices on GPUs were guessed on a machine without; "" where they are of its own devices."""
    guessed = any(price.device == "GPU" for price in prices) and not device_class.startswith("cuda")
    return f"GPU-hours are a guess from counted FLOPs at {SPEEDS['cuda'].words}" if guessed else ""


def _add(part: str, tasks: Iterable[TaskEstimate], device: str) -> PartPrice:
    """Return the price of a part: all its tasks at their middle, all at their low and all at their high end."""
    middle, low, high = (
        sum(_device_seconds(one, getattr(one.total, end)) for one in tasks) for end in ("seconds", "low", "high")
    )
    return PartPrice(part, middle, low, high, device)


def _device_seconds(one: TaskEstimate, seconds: float) -> float:
    """Return seconds of a task over all devices that it holds."""
    return seconds * max(one.task.ranks, 1)


def _name_part(task: Task) -> str:
    """Return the part of a run that a task belongs to: trainings by network, preparations by method."""
    spec = task.spec
    if isinstance(spec, TrainSpec):
        return f"training {spec.network.name}"
    if isinstance(spec, PrepareSpec):
        return f"preparing {spec.method.name} on {spec.model.network.name}"
    return _NAMES.get(task.kind, task.kind)
