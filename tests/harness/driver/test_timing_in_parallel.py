"""GPUs of a node time next to each other, in virtual time: nothing waits, and the clock alone has the node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import plan_kit
from kit.stub_pool import StubPool
from kit.stub_results import result_of, seconds_of
from kit.stub_runs import engine, rows

from harness.planning.plan import Plan
from harness.specs.time import TimeOutput, TimeSpec
from harness.task import Failure, Result, Unit

GPU = "cuda:a GPU"


def gpu_plan(alone: str = "device", trials: int = 8, units: int = 4) -> Plan:
    """Return a plan of trials whose images are so many units; the first is the clock."""
    steps = [{"steps": 50 + number} for number in range(trials)]
    return plan_kit.plan(
        GPU, "a GPU", trials=steps, baseline={"clock_steps": 50}, batch=50, n_images=50 * units,
        timing={"alone": alone}, fidelity={"measure": False},
    )  # fmt: skip


def _long_timings(unit: Unit) -> float:
    """Return the seconds of a unit; a timing takes twenty."""
    return 20.0 if unit.task.kind == "time" else seconds_of(unit)


class Watched:
    """Counts what ran on the same host when each timing began, or began while one ran."""

    def __init__(self, pool: StubPool) -> None:
        self.beside: Counter[bool] = Counter()
        self.most_timings = 0
        self._pool, self._submit = pool, pool.submit
        pool.submit = self._watch  # type: ignore[method-assign]

    def _watch(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        self._submit(unit, inputs)
        runs = [run for _, _, run in self._pool._runs if not run.dropped]
        timed = [run for run in runs if isinstance(run.unit.task.spec, TimeSpec)]
        self.most_timings = max(self.most_timings, len(timed))
        for run in timed:
            hosts = {host for host, _ in run.devices}
            others = [one for one in runs if one is not run and hosts & {host for host, _ in one.devices}]
            self.beside[run.unit.task.exclusive] += bool(others)


def test_timings_of_a_node_run_next_to_each_other_but_for_the_clocks_own(tmp_path: Path) -> None:
    driver, pool = engine(gpu_plan(), tmp_path, seconds=_long_timings, hosts=1, devices=4)
    watched = Watched(pool)
    assert {row["verdict"] for row in driver.run()} == {"VALID"}
    assert watched.most_timings > 1
    assert watched.beside[False] > 0
    assert watched.beside[True] == 0
    assert sorted(rows(tmp_path)["timed_alone"]) == ["device"] * 7 + ["node"]


def test_eight_gpus_of_a_node_wait_for_the_clock_alone(tmp_path: Path) -> None:
    """Timings of 20 s each: one after the other they take over five minutes while seven GPUs wait."""
    seconds, taken = {}, {}
    for alone in ("node", "device"):
        made = gpu_plan(alone, trials=16)
        driver, pool = engine(
            made, tmp_path / alone, hosts=1, devices=8,
            seconds=_long_timings,
        )  # fmt: skip
        driver.run()
        taken[alone] = pool.now
        seconds[alone] = sum(20.0 if task.kind == "time" else 10.0 * task.unit_count for task in made.tasks.values())
    assert taken["node"] > 16 * 20.0
    assert taken["device"] < 1.25 * (seconds["device"] / 8 + 20.0)


def test_a_timing_that_takes_long_is_not_begun_a_second_time(tmp_path: Path) -> None:
    """Else the sooner of two ends would count, which is the faster measurement."""
    made, started = gpu_plan(trials=6), Counter[str]()
    slow = made.trials[-1].row.time_id

    def seconds(unit: Unit) -> float:
        if unit.task.kind == "time":
            started[unit.task.id] += 1
        return 900.0 if unit.task.id == slow else seconds_of(unit)

    driver, _ = engine(made, tmp_path, seconds=seconds, hosts=1, devices=4)
    assert len(driver.run()) == 6
    assert set(started.values()) == {1}


@pytest.mark.parametrize(("slower", "verdict"), [(1.04, "VALID"), (1.07, "INVALID")])
def test_a_row_whose_clock_was_slower_with_neighbours_than_alone_is_not_valid(
    tmp_path: Path, slower: float, verdict: str
) -> None:
    made = gpu_plan(trials=3)

    def result(unit: Unit, inputs: Mapping[str, Any]) -> Result | Failure:
        found = result_of(unit, inputs)
        if not (isinstance(found.output, TimeOutput) and isinstance(unit.task.spec, TimeSpec)):
            return found
        factor = slower if unit.task.spec.alone == "device" else 1.0
        calls = [one.model_copy(update={"seconds": factor * one.seconds}) for one in found.output.repetitions]
        own = {"repetitions": calls, "alone": unit.task.spec.alone, "node": "node 1"}
        return Result(found.output.model_copy(update=own))

    engine(made, tmp_path, result, hosts=1, devices=2)[0].run()
    found = rows(tmp_path).set_index("steps").sort_index()
    assert list(found["verdict"]) == ["VALID", verdict, verdict]
    assert list(found["clock_over_alone"].dropna()) == pytest.approx([slower] * 2)
    if verdict == "INVALID":
        assert found["reasons"].iloc[1].startswith("slowed-by-neighbours: ")
