"""Rates that a run leaves: seconds of its units over their work, in virtual time, also of an interrupted run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from kit import stub_runs
from kit.faulty import Ears
from kit.stub_results import SECONDS

from harness.driver.unit_rates import keep_run_rates, keeping_rates
from harness.measure.machine_use import MachineUse
from harness.planning.cost.wall_time import estimate_wall_time
from harness.planning.cost.work import round_work, task_work
from harness.specs.rules.timing import TIERS
from harness.specs.time import TimeSpec
from harness.storage.run_rates import RATES_FILE, DeviceRates, read_rates
from harness.task import Unit

DEVICE = "cpu:a chip"


def even_seconds(unit: Unit) -> float:
    """Return seconds that are the same for all units of a kind."""
    return SECONDS.get(unit.task.kind, 1.0)


def run_once(folder: Path, units: int = 3, trials: int = 3, ears: Ears | None = None) -> DeviceRates:
    """Run a plan on one host of two devices, and return the rates that it left."""
    made = stub_runs.plan(units, trials)
    engine, pool = stub_runs.engine(made, folder, seconds=even_seconds, hosts=1, devices=2, ears=ears)
    with keeping_rates(engine, folder, MachineUse(clock=lambda: pool.now), is_local=False):
        engine.run()
    return read_rates(folder).devices[DEVICE]


def test_rates_are_seconds_over_work(tmp_path: Path) -> None:
    found = run_once(tmp_path)
    made = stub_runs.plan(3, 3)
    assert found.runs == 1

    tasks = {task.kind: task for task in made.tasks.values()}
    for kind in ("reference", "score"):
        work = task_work(tasks[kind], made.tasks)
        assert found.rates[work.keys[0]].value == pytest.approx(SECONDS[kind] / work.amount)
    per_image = 10.0 / 50 / stub_runs.STEPS  # a unit is a batch of 50
    for key in task_work(tasks["sample"], made.tasks).keys:
        assert found.rates[key].value == pytest.approx(per_image)


def test_a_timing_leaves_its_rounds_its_blocks_and_the_rest(tmp_path: Path) -> None:
    found = run_once(tmp_path)
    timing = next(task.spec for task in stub_runs.plan(3, 3).tasks.values() if isinstance(task.spec, TimeSpec))
    one = 2.0 / 11  # the stub's block: 2 s of 11 rounds, in a task of 5 s
    assert found.rates[round_work(timing).keys[0]].value == pytest.approx(one / (2 * stub_runs.STEPS))
    assert found.rates[f"rest {timing.tier}"].value == pytest.approx(3.0 - TIERS[timing.tier].warm_up_calls * one)
    assert found.rates[f"blocks {timing.tier}"].value == 1.0


def test_networks_leave_their_flops(tmp_path: Path) -> None:
    found = run_once(tmp_path)
    (flops,) = (rate.value for key, rate in found.rates.items() if key.startswith("flops "))
    assert flops == 64.0  # as the stub counts
    assert found.rates["flop"].value == pytest.approx(10.0 / 50 / stub_runs.STEPS / 64)


def test_the_next_run_is_predicted_within_its_range(tmp_path: Path) -> None:
    """A plan of other sizes on as many devices, before and after."""
    run_once(tmp_path / "rates", units=3, trials=3)
    made = stub_runs.plan(9, 6)
    predicted = estimate_wall_time(made, (), tmp_path / "rates", 2)
    engine, pool = stub_runs.engine(made, tmp_path / "next", seconds=even_seconds, hosts=1, devices=2)
    engine.run()
    assert predicted.low < pool.now < predicted.high


def test_an_interrupted_run_keeps_what_it_saw(tmp_path: Path) -> None:
    made = stub_runs.plan(3, 3)
    engine, pool = stub_runs.engine(made, tmp_path, seconds=even_seconds, hosts=1, devices=2)
    add = engine.rates.add_unit

    def add_then_stop(unit: Unit, *given: object) -> None:
        add(unit, *given)  # type: ignore[arg-type]
        if unit.task.kind == "sample":
            raise KeyboardInterrupt

    engine.rates.add_unit = add_then_stop  # type: ignore[assignment, method-assign]
    with pytest.raises(KeyboardInterrupt), keeping_rates(engine, tmp_path, MachineUse(lambda: pool.now), False):
        engine.run()
    kinds = {key.split()[0] for key in read_rates(tmp_path).devices[DEVICE].rates}
    assert "sample" in kinds
    assert "score" not in kinds


def test_a_run_without_units_leaves_no_file(tmp_path: Path) -> None:
    run_once(tmp_path)
    before = (tmp_path / RATES_FILE).read_bytes()
    run_once(tmp_path)
    assert (tmp_path / RATES_FILE).read_bytes() == before


def test_seconds_on_shared_cores_are_scaled_and_counts_are_not(tmp_path: Path) -> None:
    rates = {"sample a": 8.0, "flops a": 100.0, "jobs a": 5.0, "blocks quick": 3.0, "loop": 2.0, "start": 4.0}
    keep_run_rates(tmp_path, DEVICE, rates, cpu_share=0.5)
    found = {key: rate.value for key, rate in read_rates(tmp_path).devices[DEVICE].rates.items()}
    assert found == {"sample a": 4.0, "flops a": 100.0, "jobs a": 5.0, "start": 2.0}


def test_seconds_on_cores_of_its_own_are_kept_as_they_were(tmp_path: Path) -> None:
    keep_run_rates(tmp_path, DEVICE, {"sample a": 8.0, "loop": 1.1}, cpu_share=0.97)
    found = {key: rate.value for key, rate in read_rates(tmp_path).devices[DEVICE].rates.items()}
    assert found == {"sample a": 8.0, "loop": 1.1}


def test_a_folder_that_takes_no_file_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "oneclock.driver.unit_rates"):
        keep_run_rates(tmp_path / "nowhere", DEVICE, {"start": 1.0})
    assert "the rates of this run are not kept" in caplog.text
