"""One run of a suite: plans, opens the results folder, measures what is missing, writes the report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config.suite import Suite
from harness.runs.tables import Tables, read_tables, refresh_report
from harness.runs.workplace import Workplace, this_device
from harness.signals import graceful_shutdown
from harness.specs.limits import LIVE_REPORT_SECONDS
from harness.storage.lock import RunLock
from harness.storage.planned import write_planned
from harness.storage.run_log import logging_to_file
from harness.storage.store import Store

if TYPE_CHECKING:
    from harness.measure.machine_use import MachineUse
    from harness.planning.plan import Plan
    from harness.pools.pool import Pool
    from harness.screen.run_screen import Screen
    from harness.storage.snapshot import Snapshot

_LOG = logging.getLogger("oneclock.runs.suite_run")


class SuiteRun:
    """Runs what is missing of a suite and shows it on a screen. Each is run once."""

    use: MachineUse
    store: Store
    snapshot: Snapshot
    finished: dict[str, str]
    """Verdicts of the trials that had a current row before the run, by id."""

    def __init__(
        self, suite: Suite, results: Path, workplace: Workplace, screen: Screen, only: str | None, retime: bool = False
    ) -> None:
        """Take what to run and where; with `retime` all wanted trials are timed, and those that were get a new row."""
        self.suite = suite
        self.results = results
        self.workplace = workplace
        self.screen = screen
        self.only = only
        self.retime = retime

    def run(self, report: bool) -> Tables:
        """Run the suite and return its tables; without `report` only the tables are written."""
        self.screen.begin("importing torch")
        from harness.measure.machine_use import MachineUse

        self.use = MachineUse()
        is_new = not (self.results / self.suite.name).is_dir()
        plan = self._plan_here(is_new)
        with self._opened_folder(report):
            self.screen.begin("reading what is measured")
            self.snapshot = self.store.snapshot()
            self.finished = self.snapshot.finished()
            if self.retime:
                self._forget_rows(plan)

            # run what is missing
            if self.workplace.is_here:
                self._keep_plan(plan)
            if self.workplace.is_here and self._is_finished(plan):
                self.screen.on_start(len(plan.trials), len(plan.trials), 0)
            else:
                plan = self._run_missing(plan, is_new)
                self.snapshot = self.store.snapshot(self.snapshot)
            return self._finish(plan, report)

    def _plan_here(self, is_new: bool) -> Plan:
        """Return the plan for this machine; raises for what cannot run, before a folder is made."""
        device_class, name = this_device()
        self.screen.begin("planning")
        from harness.planning.network_checks import check_networks
        from harness.planning.plan import make_plan

        plan = make_plan(self.suite, device_class, name, self.only)
        if is_new:
            check_networks(plan)
        self.workplace.check(plan, self.results)
        return self.workplace.spread(plan)

    @contextmanager
    def _opened_folder(self, report: bool) -> Iterator[None]:
        """Hold the results folder; show and log what happens meanwhile."""
        self.store = Store.create_or_open(self.results / self.suite.name)
        if report:
            from harness.report.live import LiveReport

            self.screen.show_page(LiveReport(self.store.folder, self.suite.title, LIVE_REPORT_SECONDS))
        with RunLock(self.store.folder) as lock, logging_to_file(self.store.folder):
            if lock.taken_over is not None:
                _LOG.debug(lock.taken_over)
            yield

    def _is_finished(self, plan: Plan) -> bool:
        return all(one.id in self.finished for one in plan.trials)

    def _keep_plan(self, plan: Plan) -> None:
        """Keep which trials the folder shows; rows that name other trials than the plan are not finished."""
        self.finished = _with_current_references(plan, self.snapshot, self.finished)
        write_planned(self.store.folder, plan.listed_ids, self.suite.title, self.suite.settings_given)

    def _forget_rows(self, plan: Plan) -> None:
        """Count the wanted trials as not finished, so that they get new rows; the old ones stay in the folder."""
        wanted = {one.id for one in plan.trials}
        self.finished = {trial_id: verdict for trial_id, verdict in self.finished.items() if trial_id not in wanted}

    def _run_missing(self, plan: Plan, is_new: bool) -> Plan:
        """Run what is missing on the workers; return the plan for their devices, without what does not fit on them."""
        from harness.planning.fit import drop_unplaceable_trials
        from harness.planning.network_checks import check_networks
        from harness.planning.plan import make_plan
        from harness.screen.opening import announce

        if not is_new:
            check_networks(plan)
        if self.workplace.is_here:
            announce(self.screen, plan, self.finished, self.results, self.workplace.workers)
        self.screen.begin(self.workplace.describe_start())
        with self.workplace.open_pool(self.suite) as workers:
            # a cluster's devices are known now
            if not self.workplace.is_here:
                self.screen.begin("planning")
                plan = make_plan(self.suite, workers.device_class, workers.device_name, self.only)
                self._keep_plan(plan)
                if self.retime:
                    self._forget_rows(plan)
                if not self._is_finished(plan):
                    announce(self.screen, plan, self.finished, self.results, workers.size(), is_here=False)
            plan = self.workplace.spread(plan, workers)
            plan = drop_unplaceable_trials(plan, workers.size(), self.finished, self.workplace.in_process)

            # the work
            self.screen.begin("reading results of earlier tasks")
            self._measure(plan, workers)
            self.use.read_workers()
            self.screen.begin("stopping the workers")
        return plan

    def _measure(self, plan: Plan, workers: Pool) -> None:
        """Run the plan's tasks until every trial has a row, or until a signal."""
        from harness.driver.loop import Engine
        from harness.driver.unit_rates import keeping_rates
        from harness.planning.fit import check_pool_size

        check_pool_size(plan, workers.size())
        engine = Engine(plan, self.store, self.results, workers, self.screen, self.finished)
        if self.retime:
            engine.results.forget_tasks("time")
        self.screen.watch(engine.graph.count_open_by_kind, workers.size)
        kept = keeping_rates(engine, self.results, self.use, self.workplace.is_here)
        with kept, graceful_shutdown() as engine.stop:
            engine.run()
        engine.stop.raise_if_set()

    def _finish(self, plan: Plan, report: bool) -> Tables:
        """Return the tables; write the report if it is wanted and not the current one."""
        self.screen.begin("writing the report")
        ids = tuple(one.id for one in plan.trials)
        measured = sum(one not in self.finished for one in ids)
        tables = replace(read_tables(self.snapshot), planned=ids, measured=measured)
        if report:
            before = self.use.seconds()
            if refresh_report(tables):
                self._keep_report_rate(plan, self.use.seconds() - before)
        _LOG.info("took %s", self.use.sentence())
        return tables

    def _keep_report_rate(self, plan: Plan, seconds: float) -> None:
        """Keep what the report took per trial, with the rates of this run."""
        from harness.driver.unit_rates import keep_run_rates
        from harness.planning.cost.wall_time import REPORT_KEYS

        rates = {REPORT_KEYS[0]: seconds / len(plan.trials)}
        keep_run_rates(self.results, plan.device_class, rates, is_new_run=False)


def _with_current_references(plan: Plan, snapshot: Snapshot, finished: dict[str, str]) -> dict[str, str]:
    """Return the finished trials whose rows name baseline, clock and control as the plan does.

    If one of those has another identity now, the trial keeps its own, and only its row is written
    again.
    """
    from harness.specs.row import Relations

    latest = snapshot.latest()
    names = [name for name in Relations.model_fields if name.endswith("_trial_id")]
    references = latest[names].astype(object).where(latest[names].notna(), None).to_dict("records")
    rows = dict(zip(latest["trial_id"], references, strict=True))
    stale = {p.id for p in plan.trials if rows.get(p.id) != p.related_trial_ids}
    return {trial_id: verdict for trial_id, verdict in finished.items() if trial_id not in stale}
