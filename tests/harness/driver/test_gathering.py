"""Devices wait for a unit on several while it comes first, so that units on one do not pass it for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kit import plan_kit
from kit.stub_results import seconds_of
from kit.stub_runs import STEPS, engine

from harness.driver.gathering import Gathering
from harness.planning.fit import spread_trainings
from harness.specs.limits import GATHER_SECONDS
from harness.task import Unit


@dataclass
class Busy:
    """As much of the running units as is asked for: their keys, one device each."""

    units: frozenset[str]

    @property
    def shared_devices(self) -> int:
        return len(self.units)

    def keys(self, exclusive: bool) -> frozenset[str]:
        assert not exclusive
        return self.units


@dataclass
class Wide:
    """A task on several devices."""

    id: str = "pair"
    ranks: int = 2


class Watch:
    """A gathering on a pool of `size` devices, and its clock."""

    def __init__(self, size: int = 2) -> None:
        self.now, self.size, self.busy = 0.0, size, Busy(frozenset())
        running: Any = self.busy
        self.gathering = Gathering(running, lambda: self.now)

    def keeps(self, busy: str, first: Any, now: float = 0.0) -> bool:
        """Tell whether devices are kept while units named by letters run."""
        self.now, self.busy.units = now, frozenset(busy)
        return self.gathering.keeps_devices(first, self.size - len(busy))


def test_devices_are_kept_until_there_are_enough() -> None:
    watch = Watch()
    assert watch.keeps("a", Wide())
    assert not watch.keeps("", Wide())


@pytest.mark.parametrize(
    ("size", "busy", "first"),
    [(2, "a", None), (2, "a", Wide(ranks=1)), (4, "ab", Wide()), (2, "a", Wide(ranks=3)), (1, "", Wide())],
    ids=["nothing-ready", "one", "enough", "never-enough", "too-small-a-pool"],
)
def test_devices_are_kept_for_nothing_that_could_start_or_never_can(size: int, busy: str, first: Any) -> None:
    assert not Watch(size).keeps(busy, first)


def test_a_wait_in_vain_is_not_repeated_until_what_it_waited_for_has_ended() -> None:
    watch, late = Watch(), GATHER_SECONDS
    assert watch.keeps("a", Wide(), 5.0)
    assert watch.keeps("a", Wide(), 4.0 + late)
    assert not watch.keeps("a", Wide(), 5.0 + late)
    assert not watch.keeps("a", Wide("other"), 9 * late)
    assert watch.keeps("b", Wide(), 9 * late)
    assert not watch.keeps("b", Wide(), 10 * late)


def test_each_task_has_a_wait_of_its_own() -> None:
    watch, late = Watch(), GATHER_SECONDS
    assert watch.keeps("a", Wide(), 0.0)
    assert watch.keeps("a", Wide("other"), 0.9 * late)
    assert watch.keeps("a", Wide("other"), 1.8 * late)


# whole runs: a network trained on all devices, a trial as it is, one that tunes on all devices, another as it is


def started(folder: Path, seconds: Callable[[Unit], float] = seconds_of) -> tuple[list[tuple[float, Unit]], set[str]]:
    """Return what was started and when on two devices, and the verdicts of the rows."""
    made = plan_kit.plan(
        **plan_kit.with_train(batch=64),
        n_images=500,
        batch=50,
        baseline={"clock_steps": STEPS},
        trials=[
            {"steps": STEPS},
            {"steps": STEPS, "denoiser": "few-step"},
            {"steps": STEPS, "schedule": {"name": "edm", "rho": 11.0}},
        ],
    )
    driver, pool = engine(spread_trainings(made, 2, is_here=True), folder, seconds=seconds, hosts=1, devices=2)
    begun, submit = list[tuple[float, Unit]](), pool.submit

    def noted(unit: Unit, inputs: Any) -> None:
        begun.append((pool.now, unit))
        submit(unit, inputs)

    pool.submit = noted  # type: ignore[method-assign]
    return begun, {row["verdict"] for row in driver.run()}


def test_a_preparation_on_all_devices_does_not_wait_for_all_that_needs_one(tmp_path: Path) -> None:
    begun, verdicts = started(tmp_path)
    assert verdicts == {"VALID"}
    kinds = [unit.task.kind for _, unit in begun]
    wide = kinds.index("prepare")
    assert begun[wide][1].task.ranks == begun[kinds.index("train")][1].task.ranks == 2
    assert kinds[:wide].count("sample") == 10  # those of the trial before it
    assert kinds[wide:].count("sample") == 20


def test_what_runs_for_hours_keeps_no_other_device_idle(tmp_path: Path) -> None:
    """The last unit of the first trial takes an hour; those of the last trial run meanwhile, a minute late."""
    slow: list[Unit] = []

    def seconds(unit: Unit) -> float:
        if unit.task.kind == "sample" and not slow:
            slow.append(unit)
        return 3600.0 if unit in slow else seconds_of(unit)

    begun, verdicts = started(tmp_path, seconds)
    assert verdicts == {"VALID"}
    ready = next(now for now, unit in begun if unit == slow[0])
    wide = next(now for now, unit in begun if unit.task.kind == "prepare")
    meanwhile = [now for now, unit in begun if unit.task.kind == "sample" and ready < now < wide]
    assert wide >= ready + 3600
    assert len(meanwhile) >= 18
    assert meanwhile[-1] < ready + 600
