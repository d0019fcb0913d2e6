"""Whole runs of the driver on a pool in virtual time: failures and kills, stragglers, lost results, when rows come."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit import plan_kit
from kit.faulty import Ears
from kit.log_kit import Logged
from kit.stub_results import result_of, seconds_of
from kit.stub_runs import STEPS, engine, plan, rows

from harness.planning.plan import PlannedTrial
from harness.specs.limits import OWN_DEATHS
from harness.task import Failure, Result, Unit


class Order(Ears):
    """Counts the units of sampling that had ended when each row came."""

    def __init__(self) -> None:
        super().__init__()
        self.ended, self.before_row = 0, []

    def on_unit_end(self, unit: Unit) -> None:
        self.ended += unit.task.kind == "sample"

    def on_row(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        super().on_row(planned, row)
        self.before_row.append(self.ended)


def test_rows_are_the_same_on_any_cluster_and_whatever_was_kept_before(tmp_path: Path) -> None:
    made = plan()
    engine(made, tmp_path / "one", hosts=1, devices=1)[0].run()
    engine(made, tmp_path / "many", hosts=5, devices=8)[0].run()
    expected = rows(tmp_path / "one")
    assert len(expected) == 4
    assert (expected["verdict"] == "VALID").all()
    assert expected["images_sha256"].is_unique
    pd.testing.assert_frame_equal(rows(tmp_path / "many"), expected)


def test_the_first_row_comes_before_a_tenth_of_the_work_is_done_on_one_host_and_on_several(tmp_path: Path) -> None:
    for hosts in (1, 4):
        ears = Order()
        engine(plan(units=10, trials=40), tmp_path / str(hosts), hosts=hosts, devices=4, ears=ears)[0].run()
        assert ears.before_row[0] <= 0.1 * ears.ended
        assert ears.ended == 400


class Clocked(Ears):
    """Notes when each row came."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_row(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        self.times.append(self.pool.now)


def test_rows_come_one_by_one_on_one_host_where_units_are_short(tmp_path: Path) -> None:
    ears = Clocked()
    driver, ears.pool = engine(  # type: ignore[attr-defined]
        plan(units=6, trials=12),
        tmp_path,
        seconds=lambda unit: 2.5 if unit.task.kind == "time" else 0.4,
        hosts=1,
        devices=2,
        ears=ears,
    )
    driver.run()
    between = [later - sooner for sooner, later in pairwise(ears.times)]
    assert len(ears.times) == 12
    assert max(between) < 15  # 30 and more where every turn waited as long as after a long drain
    assert ears.times[8] < 45


def test_timing_runs_where_nothing_else_does(tmp_path: Path) -> None:
    made = plan(units=10)
    driver, pool = engine(made, tmp_path, hosts=3, devices=2)
    start, timed = pool.submit, []

    def checked(unit: Unit, inputs: Mapping[str, Any]) -> None:
        start(unit, inputs)
        for _, _, run in pool._runs:
            hosts = {host for host, _ in run.devices}
            beside = [one for _, _, one in pool._runs if one is not run and hosts & {host for host, _ in one.devices}]
            assert not (run.unit.task.exclusive and beside)
        timed.extend([unit] if unit.task.exclusive else [])

    pool.submit = checked  # type: ignore[method-assign]
    driver.run()
    assert len(timed) == 4


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.floats(0, 0.4))
def test_kills_cost_tries_and_no_row_and_a_trial_that_is_broken_costs_its_own_row(
    tmp_path_factory: Any, seed: int, kills: float
) -> None:
    folder, made, rng = tmp_path_factory.mktemp("runs"), plan(), random.Random(seed)
    broken = rng.choice(made.trials)

    def result(unit: Unit, inputs: Mapping[str, Any]) -> Result | Failure:
        if rng.random() < kills and unit.task.kind != "reference":
            return Failure("worker-died", "a spot instance was taken", lost=True)
        if unit.task.id in broken.row.sample_ids and unit.number == 1:
            return Failure("ValueError", "the solver is broken")
        return result_of(unit, inputs)

    driver, _ = engine(made, folder / "killed", result, lambda unit: rng.uniform(1, 20))
    driver.run()
    engine(made, folder / "plain")[0].run()
    found, expected = rows(folder / "killed"), rows(folder / "plain")
    assert set(found.index) == set(expected.index)
    assert found.loc[broken.id, "status"] == "failed"
    others = [trial.id for trial in made.trials if trial.id != broken.id and pd.notna(found.loc[trial.id, "fid"])]
    # Three deaths of one unit, none of another task about then, are its own fault; else no row is lost.
    died = [name for name in found.index if "a spot instance was taken" in (found.loc[name, "reasons"] or "")]
    assert "the solver is broken" in found.loc[broken.id, "reasons"] or broken.id in died
    assert len(others) + 1 + len(set(died) - {broken.id}) == len(made.trials)
    for name in died:
        assert max(one.is_alone for deaths in driver.retries._deaths.values() for one in deaths)
        assert "attempt" in found.loc[name, "reasons"]
    assert died == [] or max(map(len, driver.retries._deaths.values())) >= OWN_DEATHS
    same = ["images_sha256", "fid", "nfe", "flops_per_image", "n_images"]
    pd.testing.assert_frame_equal(found.loc[others, same], expected.loc[others, same])


def test_of_a_broken_trial_the_units_that_were_not_started_are_left_out(tmp_path: Path) -> None:
    made, started = plan(units=50, trials=2), Counter[str]()

    def result(unit: Unit, inputs: Mapping[str, Any]) -> Result | Failure:
        started[unit.task.id] += 1
        own = unit.task.id in made.trials[1].row.sample_ids
        return Failure("ValueError", "broken") if own else result_of(unit, inputs)

    engine(made, tmp_path, result)[0].run()
    assert started[made.trials[0].row.sample_ids[0]] == 50
    assert started[made.trials[1].row.sample_ids[0]] <= 8


def test_a_straggler_is_run_again_and_the_first_result_wins(tmp_path: Path, logged: Logged) -> None:
    made, started = plan(units=10, trials=1), Counter[str]()
    slow = made.tasks[made.trials[0].row.sample_ids[0]].unit(8)

    def seconds(unit: Unit) -> float:
        if unit.task.kind != "sample":
            return seconds_of(unit)
        started[unit.key] += 1
        return 1e6 if unit == slow and started[unit.key] == 1 else 10.0

    driver, pool = engine(made, tmp_path, seconds=seconds)
    (row,) = driver.run()
    assert row["verdict"] == "VALID"
    assert started[slow.key] == 2
    assert pool.now < 200
    assert not pool.running()  # the slow run was ended too
    assert any("a second time" in sentence for sentence in logged.messages)


def test_one_of_two_runs_may_die_while_the_other_goes_on(tmp_path: Path) -> None:
    made, started = plan(units=10, trials=1), Counter[str]()
    slow = made.tasks[made.trials[0].row.sample_ids[0]].unit(8)

    def seconds(unit: Unit) -> float:
        if unit != slow:
            return seconds_of(unit)
        started[unit.key] += 1
        return {1: 90.0, 2: 5.0}.get(started[unit.key], 1e6)

    def result(unit: Unit, inputs: Mapping[str, Any]) -> Result | Failure:
        died = unit == slow and not died_once
        if died:
            died_once.append(unit)
            return Failure("worker-died", "killed", lost=True)
        return result_of(unit, inputs)

    died_once: list[Unit] = []
    (row,) = engine(made, tmp_path, result, seconds)[0].run()
    assert row["verdict"] == "VALID"
    assert died_once == [slow]


def test_features_go_at_the_score_and_digests_stay(tmp_path: Path) -> None:
    made = plan()
    left: dict[str, int] = {}

    def result(unit: Unit, inputs: Mapping[str, Any]) -> Result | Failure:
        if unit.task.kind == "time":
            left[unit.task.id] = len(list((tmp_path / "mine" / "tasks").glob("*.transient")))
        return result_of(unit, inputs)

    engine(made, tmp_path, result, hosts=1, devices=1)[0].run()
    assert max(left.values()) == 0  # one device, one trial after another: nothing is left when its timing runs
    assert not list((tmp_path / "mine" / "tasks").glob("*.transient"))
    assert len(list((tmp_path / "mine" / "tasks").glob("*.arrays"))) == len(made.trials)


def test_a_result_that_a_node_took_with_it_is_read_from_the_disk_or_made_again(tmp_path: Path) -> None:
    """The score finds its inputs lost; those whose features were not worth writing are made again."""
    made, started, lost = plan(units=4, trials=1), Counter[str](), []
    first = made.tasks[made.trials[0].row.sample_ids[0]].unit(2)

    def result(unit: Unit, inputs: Mapping[str, Any]) -> Result | Failure:
        started[unit.key] += 1
        if unit.task.kind == "score" and not lost:
            lost.append(unit)
            return Failure("inputs-lost", "the node that held them is gone")
        found = result_of(unit, inputs)
        if unit == first:  # far more bytes than they are worth
            return Result(found.output, {**found.tensors, "features": found.tensors["features"].repeat(3000, 1)})
        return found

    driver, _ = engine(made, tmp_path, result, seconds=lambda unit: 0.01)
    (row,) = driver.run()
    assert row["verdict"] == "VALID"
    assert {key: count for key, count in started.items() if count > 1} == {first.key: 2, made.trials[0].row.score_id: 2}


def test_a_larger_cluster_asks_for_no_more_handles_than_units(tmp_path: Path) -> None:
    driver, _ = engine(plan(units=40, trials=3), tmp_path, hosts=20, devices=8)
    driver.run()
    assert len(driver.inputs._refs) < 20  # those of images went with their scores
    assert not driver.running


def test_a_solver_that_always_kills_its_worker_costs_two_deaths_a_device_and_its_own_row(tmp_path: Path) -> None:
    made, deaths = plan(units=200, trials=2), []

    def result(unit: Unit, inputs: Mapping[str, Any]) -> Result | Failure:
        if unit.task.id not in made.trials[1].row.sample_ids:
            return result_of(unit, inputs)
        deaths.append(unit)
        return Failure("worker-died", "segmentation fault", lost=True)

    rows_made = engine(made, tmp_path, result, lambda unit: 1.0, hosts=5, devices=8)[0].run()
    assert sorted(row["verdict"] for row in rows_made) == ["INVALID", "VALID"]
    assert len(deaths) <= 3 * 40


def test_a_lost_host_costs_what_ran_there_and_timing_goes_on_elsewhere(tmp_path: Path) -> None:
    made = plan(units=10)
    driver, pool = engine(made, tmp_path, hosts=3, devices=4)
    poll, polls = pool.poll, []

    def losing(seconds: float) -> Any:
        polls.append(seconds)
        if len(polls) == 5:
            pool.lose(1)
        return poll(seconds)

    pool.poll = losing  # type: ignore[method-assign]
    found = driver.run()
    assert [row["verdict"] for row in found] == ["VALID"] * 4
    assert pool.size() == 8


def test_ten_workers_that_die_at_once_cost_tries_and_no_row(tmp_path: Path, logged: Logged) -> None:
    made = plan(units=30, trials=2)
    driver, pool = engine(made, tmp_path, hosts=4, devices=5)
    poll, polls = pool.poll, []

    def losing(seconds: float) -> Any:
        polls.append(seconds)
        if len(polls) == 3:
            assert len(pool.running()) == 20
            pool.lose(1)
            pool.lose(2)
        return poll(seconds)

    pool.poll = losing  # type: ignore[method-assign]
    assert [row["verdict"] for row in driver.run()] == ["VALID"] * 2
    assert sum("its node is gone; trying again" in sentence for sentence in logged.messages) == 10


def test_a_task_waits_for_devices_that_were_there_and_fails_at_once_if_they_never_were(tmp_path: Path) -> None:
    trials = [{"steps": 2}, {"steps": 4, "executor": {"name": "srds", "devices": 2}}]
    made = plan_kit.plan(trials=trials, fidelity={"measure": False})
    driver, pool = engine(made, tmp_path / "never", hosts=1, devices=1)
    failed = next(row for row in driver.run() if row["status"] == "failed")
    assert "needs 2 devices at once; the cluster offers 1" in failed["reasons"]
    assert pool.now < 60

    driver, pool = engine(made, tmp_path / "comes-back", hosts=2, devices=1)
    reserve, size = pool.reserve, pool.size
    pool.size = lambda: size() if not 5 < pool.now < 65 else 1  # type: ignore[method-assign]
    pool.reserve = lambda hosts, devices=1: reserve(hosts, devices)  # type: ignore[method-assign]
    assert {row["status"] for row in driver.run()} == {"finished"}


def test_more_images_or_truncation_asked_for_later_leave_no_features_behind(tmp_path: Path) -> None:
    trials = {"trials": [{"steps": STEPS}], "baseline": {"clock_steps": STEPS}, "batch": 50}
    for changes in ({"n_images": 100}, {"n_images": 200}, {"n_images": 200, "truncation": {"images": 60, "steps": 8}}):
        driver, _ = engine(plan_kit.plan(**trials, **changes), tmp_path)
        (row,) = driver.run()
        assert (row["verdict"], row["n_images"]) == ("VALID", changes["n_images"])
        assert not list((tmp_path / "mine" / "tasks").glob("*.transient"))
        assert not driver.inputs._refs.keys() & {
            unit.key for t in driver.plan.tasks.values() for unit in t.units() if t.cut
        }


def test_where_results_lie_is_let_go_of_when_the_last_row_that_reads_them_is_committed(tmp_path: Path) -> None:
    held: list[int] = []

    class Held(Ears):
        def on_row(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
            held.append(sum(len(driver.results.journal.units(task_id)) for task_id in images))

    made = plan(units=10, trials=8)
    images = [task.id for task in made.tasks.values() if task.cut is not None]
    driver, _ = engine(made, tmp_path, hosts=1, devices=1, ears=Held())
    driver.run()
    assert max(held) <= 40, "the index of all results stays in memory"
    assert not any(driver.results.journal.units(task_id) for task_id in images)

    again, _ = engine(made, tmp_path, hosts=1, devices=1)
    assert sum(len(again.results.journal.units(task_id)) for task_id in images) == 80
