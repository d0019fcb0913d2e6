"""Starts ready units in the plan's order: exclusive ones on reserved hosts, searches in rounds."""

from __future__ import annotations

import logging
from collections.abc import Callable

from harness.driver.gathering import Gathering
from harness.driver.graph import Graph
from harness.driver.inputs import InputRefs, LostInputsError
from harness.driver.lane import Lane, Load
from harness.driver.results import TaskResults
from harness.driver.running import RunningUnits
from harness.errors import StorageFullError, StoreDamagedError
from harness.planning.search_jobs import SearchJobs
from harness.pools.local import failure_of
from harness.pools.pool import Pool
from harness.specs.limits import COME_BACK_SECONDS
from harness.task import Failure, Task, Unit

_LOG = logging.getLogger("oneclock.driver.starting")


class Starter:
    """Takes ready units out of the graph and starts them.

    `on_units_added` is called with the number of units that came, negative for those that went.
    """

    def __init__(
        self,
        graph: Graph,
        pool: Pool,
        results: TaskResults,
        inputs: InputRefs,
        running: RunningUnits,
        clock: Callable[[], float],
        on_units_added: Callable[[int], None],
    ) -> None:
        self.lane = Lane(clock)
        self._graph, self._pool, self._results = graph, pool, results
        self._inputs, self._running = inputs, running
        self._searches, self._gathering = SearchJobs(results), Gathering(running, clock)
        self._clock, self._on_units_added = clock, on_units_added
        self._dropped = self._most_devices = 0
        self._too_large: dict[str, float] = {}

    def start_ready_units(self) -> None:
        """Start all units that can start: exclusive ones on reserved hosts, others elsewhere."""
        self._fail_too_large()
        load = self._load()
        self._pool.reserve(self.lane.hosts_to_reserve(load), load.devices_at_once)
        for exclusive in (True, False):
            while (unit := self._take_unit(exclusive)) is not None:
                if not self._add_search_jobs(unit):
                    self._start_unit(unit)

        # devices that nothing else needs
        if not self._graph.count_ready(exclusive=False) and self._pool.idle():
            self._start_stragglers_again()

        # units that a failure has made needless
        if (dropped := self._graph.dropped_units) > self._dropped:
            self._on_units_added(self._dropped - dropped)
            self._dropped = dropped

    def count_search_jobs(self, unit: Unit) -> int:
        """Return how many jobs the search did that a unit concludes; 0 for a unit that concludes none."""
        return self._searches.count_jobs(unit.task)

    def _take_unit(self, exclusive: bool) -> Unit | None:
        """Return the next unit to start now, or None."""
        idle = self._pool.idle(exclusive)
        if not exclusive and self._gathering.keeps_devices(self._graph.first_ready_task(exclusive), idle):
            return None
        return self._graph.take_ready_unit(exclusive, idle, None if exclusive else self._has_loaded)

    def _has_loaded(self, task: Task) -> bool:
        """Tell whether a task's network is loaded on an idle worker; a unit on several workers is not compared."""
        return task.ranks > 1 or self._pool.has_loaded(task.networks)

    def _start_unit(self, unit: Unit) -> None:
        """Start a unit; where results that it reads are lost, schedule those first."""
        placed = self._searches.with_finished_jobs(unit)
        try:
            inputs = self._inputs.for_unit(placed)
        except LostInputsError as lost:
            _LOG.warning(str(lost))
            self._schedule_again(unit, lost.units)
        else:
            self._running.start_unit(unit, inputs, placed)

    def _schedule_again(self, reader: Unit, lost: list[Unit]) -> None:
        """Schedule units whose results are lost before their reader.

        Fail it if one of them has failed.
        """
        by_task: dict[str, tuple[Task, list[int]]] = {}
        for one in lost:
            by_task.setdefault(one.task.id, (one.task, []))[1].append(one.number)

        # a task that failed since cannot be repeated
        for task_id in by_task:
            if (failure := self._graph.failed.get(task_id)) is not None:
                self._fail_unstarted(reader, failure)
                return

        # schedule them, and their reader behind them
        for one in lost:
            self._results.forget_unit(one)
        self._on_units_added(len(lost))
        for number, (task, units) in enumerate(by_task.values()):
            if task.id not in self._graph:
                self._graph.add_task(task, self._graph.order_before(reader.task.id, number), units)
        self._graph.requeue_behind(reader, by_task)

    def _add_search_jobs(self, unit: Unit) -> bool:
        """Schedule the next jobs of a search before the unit that concludes it.

        Returns whether the unit has to wait for them, or has failed. False for a unit that
        concludes no search.
        """
        task = unit.task
        if not self._searches.is_search(task):
            return False

        # the method names the jobs of its next round
        try:
            jobs = self._searches.unfinished_jobs(task)
        except (StorageFullError, StoreDamagedError):
            raise
        except Exception as error:  # a method's own code, here in the driver
            failure = failure_of(error)
            self._fail_unstarted(unit, failure)
            _LOG.error(failure.sentence)
            return True

        # those that are not scheduled yet, before the unit
        fresh = [job for job in jobs if job.id not in self._graph and job.id not in self._graph.failed]
        for number, job in enumerate(fresh):
            self._graph.add_task(job, self._graph.order_before(task.id, number))
        if fresh:
            self._on_units_added(len(fresh))
        if jobs:
            self._graph.requeue_behind(unit, [job.id for job in jobs])
        return bool(jobs)

    def _fail_unstarted(self, unit: Unit, failure: Failure) -> None:
        """Fail the task of a unit that was taken and not started."""
        self._graph.fail_task(unit.task.id, failure)
        self._on_units_added(-1)

    def _start_stragglers_again(self) -> None:
        for one in self._running.stragglers():
            if one.unit.task.ranks > self._pool.idle() or not self._graph.is_open(one.unit):
                continue
            try:
                inputs = self._inputs.for_unit(one.unit)
            except LostInputsError:
                continue  # its first run has them
            _LOG.info("%s takes far longer than others of its task; it is run a second time", one.unit.label)
            self._running.start_second_run(one, inputs)

    def _fail_too_large(self) -> None:
        """Fail tasks that need more devices than there are.

        If there once were enough, only after a while.
        """
        size, now = self._pool.size(), self._clock()
        self._most_devices = max(self._most_devices, size)
        large = {task.id: task for task in self._graph.tasks_larger_than(size)}
        self._too_large = {task_id: self._too_large.get(task_id, now) for task_id in large}

        for task_id, since in self._too_large.items():
            task = large[task_id]
            if task.ranks <= self._most_devices and now - since < COME_BACK_SECONDS:
                continue
            sentence = f"{task.label} needs {task.ranks} devices at once; the cluster offers {size}"
            self._graph.fail_task(task_id, Failure("too-few-devices", sentence))
            _LOG.error(sentence)

    def _load(self) -> Load:
        size, hosts = self._pool.size(), self._pool.hosts()
        at_once = self._graph.most_ranks(exclusive=True)

        return Load(
            exclusive_ready=self._graph.count_ready(exclusive=True),
            exclusive_running=self._running.exclusive,
            others_left=self._graph.count_unstarted(exclusive=False),
            others_running=len(self._running) - self._running.exclusive,
            others_ready=self._graph.count_ready(exclusive=False),
            hosts=hosts,
            idle_devices=max(0, size - self._running.devices),
            finds_devices=self._pool.idle(exclusive=True) >= at_once,
            devices_at_once=at_once,
            devices_per_host=max(1, size // hosts),
            unit_seconds=self._running.usual_seconds() if self.lane.is_open else 0.0,
            other_keys=self._running.keys(exclusive=False),
        )
