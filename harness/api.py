"""The Python interface: run, plan and load a suite, rebuild its report.

The command line calls these.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.suite import Suite, load_suite
from harness.errors import StoreDamagedError, UsageError, did_you_mean
from harness.schema import TABLES
from harness.signals import graceful_shutdown
from harness.specs.limits import LIVE_REPORT_SECONDS
from harness.storage.lock import RunLock
from harness.storage.planned import read_planned, read_title, write_planned
from harness.storage.run_log import logging_to_file
from harness.storage.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from harness.measure.machine_use import MachineUse
    from harness.planning.plan import Plan
    from harness.pools.pool import Pool
    from harness.sampling.sampler import Sampler
    from harness.screen.run_screen import Screen
    from harness.storage.snapshot import Snapshot

RESULTS = "results"
_LOG = logging.getLogger("oneclock.api")


def make_sampler(network: str, **parts: Any) -> Sampler:
    """Return one sampler; see `harness.planning.by_hand.assemble_sampler`."""
    from harness.planning.by_hand import assemble_sampler

    return assemble_sampler(network, **parts)


@dataclass(frozen=True)
class Tables:
    """A results folder as pandas tables. `trials` holds the accepted rows of the latest plan."""

    folder: Path
    by_name: Mapping[str, pd.DataFrame]
    """Every table of `harness.schema.TABLES`; each is an attribute too, as `trials` and `steps`."""
    others: pd.DataFrame
    """Accepted rows outside the latest plan: of other code, settings or seeds."""
    damage: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    """Ids of the trials that the run which returned these tables had planned."""
    measured: int = 0
    """How many of them had no row before that run."""

    def __getattr__(self, name: str) -> pd.DataFrame:
        """Return a table by its name."""
        if name in TABLES:
            return self.by_name[name]
        raise AttributeError(f'there is no table "{name}"{did_you_mean(name, TABLES)}')

    @property
    def all_valid(self) -> bool:
        """Tell whether every planned trial has a VALID row."""
        valid = set(self.trials.loc[self.trials["verdict"] == "VALID", "trial_id"])
        return all(trial_id in valid for trial_id in self.planned)


def load(folder: str | Path) -> Tables:
    """Return the tables of a results folder; damaged parts are left out and named in `damage`.

    A folder without `planned.json`, as older ones are, shows every trial. UsageError if there is
    no such folder.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UsageError(f"results folder {folder} does not exist; run a suite first, for example `make benchmark`")
    return _tables(Store(path).snapshot())


def _tables(snapshot: Snapshot) -> Tables:
    """Return the tables of a snapshot; rows of its latest plan apart from the others."""
    trials = snapshot.latest()
    tables: Mapping[str, Any] = {name: snapshot.read(name) for name in TABLES if name != "trials"}
    planned = read_planned(snapshot.folder)
    in_plan = trials["trial_id"].isin(trials["trial_id"] if planned is None else planned)
    shown, others = trials[in_plan].reset_index(drop=True), trials[~in_plan].reset_index(drop=True)
    return Tables(snapshot.folder, {"trials": shown, **tables}, others, damage=tuple(map(str, snapshot.damage)))


def plan(
    suite: str | Suite,
    *,
    only: str | None = None,
    settings: list[str] | None = None,
    seeds: int | None = None,
    address: str | None = None,
) -> Plan:
    """Return the plan of a suite for this machine, or for the cluster at an address.

    Nothing is run or written.
    """
    return plan_with_devices(suite, only=only, settings=settings, seeds=seeds, address=address)[0]


def plan_with_devices(
    suite: str | Suite,
    *,
    only: str | None = None,
    settings: list[str] | None = None,
    seeds: int | None = None,
    address: str | None = None,
) -> tuple[Plan, int, int]:
    """Return a plan as `plan` does, with the number of devices that a run has, and of hosts that they are on."""
    from harness.planning.plan import make_plan
    from harness.planning.wall_time import count_local_devices

    wanted = _suite(suite, settings, seeds)
    if not (address or os.environ.get("RAY_ADDRESS")):
        device_class, name = this_device()
        made = make_plan(wanted, device_class, name, only, data_may_be_absent=True)
        return made, count_local_devices(made), 1

    # a cluster's devices are known only once it is joined
    from harness.pools.cluster import count_cluster_devices

    pool = make_pool(address, 1)
    try:
        devices, hosts = count_cluster_devices()
        made = make_plan(wanted, pool.device_class, pool.device_name, only, data_may_be_absent=True)
    finally:
        pool.close()
    devices = min(devices, wanted.workers or devices)
    return made, devices, min(hosts, devices)


def run(
    suite: str | Suite,
    *,
    only: str | None = None,
    settings: list[str] | None = None,
    seeds: int | None = None,
    address: str | None = None,
    results: str | Path = RESULTS,
    pool: Callable[[], Pool] | None = None,
    in_process: bool = False,
    raise_errors: bool = False,
    quiet: bool | None = None,
    report: bool = True,
) -> Tables:
    """Run what is missing of a suite, rebuild its report and return its tables.

    `results` holds one folder per suite. `address` names a Ray cluster; else RAY_ADDRESS does,
    else Ray starts here. With `in_process` one worker runs in this process, in the calling thread,
    without Ray; with `raise_errors` too, what a method raises there ends the run, as for a
    debugger. `pool` makes other workers, as for tests. Without `report` only the tables are
    written. By default nothing is shown but a bar in a notebook; with `quiet` not even that, with
    `quiet=False` as much as the command line shows. Messages reach the logger "oneclock" and
    `log.txt` in any case. UsageError, before anything is written, for a suite that cannot run;
    StoreDamagedError, at the end, if committed parts are damaged.
    """
    from harness.screen.run_screen import Screen

    wanted = _suite(suite, settings, seeds)
    with Screen(wanted.name, quiet, shares_process=in_process) as screen:
        tables = _run(wanted, only, address, Path(results), pool, in_process, raise_errors, report, screen)
    _raise_if_damaged(tables, results)
    return tables


def _run(
    wanted: Suite,
    only: str | None,
    address: str | None,
    root: Path,
    pool: Callable[[], Pool] | None,
    in_process: bool,
    raise_errors: bool,
    report: bool,
    screen: Screen,
) -> Tables:
    """Run what is missing of a suite, as `run` does, and show it on a screen."""
    screen.begin("importing torch")
    from harness.measure.machine_use import MachineUse
    from harness.planning.fit import check_single_device, drop_unplaceable_trials
    from harness.planning.plan import make_plan
    from harness.report.live import LiveReport
    from harness.screen.opening import announce

    use = MachineUse()
    if in_process:
        pool = _local_pool(address, pool, raise_errors)

    # plan here if this machine does the work; a cluster's devices are known only once it is joined
    device_class, name = this_device()
    screen.begin("planning")
    remote = not in_process and (pool is not None or bool(address or os.environ.get("RAY_ADDRESS")))
    local = make_plan(wanted, device_class, name, only)  # raises before a folder is made
    if in_process:
        check_single_device(local, lambda task_id: (root / "zoo" / f"{task_id}.safetensors").is_file())
    planned = None if remote else local

    # hold the folder, and show and log what happens
    store = Store.create_or_open(root / wanted.name)
    if report:
        screen.show_page(LiveReport(store.folder, wanted.title, LIVE_REPORT_SECONDS))
    with RunLock(store.folder) as lock, logging_to_file(store.folder):
        if lock.taken_over is not None:
            _LOG.debug(lock.taken_over)

        # what is finished
        screen.begin("reading what is measured")
        snapshot = store.snapshot()
        finished = snapshot.finished()
        if planned is not None:
            finished = _with_current_references(planned, snapshot, finished)
            write_planned(store.folder, planned.listed_ids, wanted.title)

        # run what is missing
        if planned is not None and all(p.id in finished for p in planned.trials):
            screen.on_start(len(planned.trials), len(planned.trials), 0)
        else:
            if planned is not None:
                announce(screen, planned, finished, root, 1 if in_process else None)
            screen.begin("checking what measures" if in_process else _describe_start(address))
            with _workers(pool, address, wanted) as workers:
                if planned is None:
                    screen.begin("planning")
                    planned = make_plan(wanted, workers.device_class, workers.device_name, only)
                    finished = _with_current_references(planned, snapshot, finished)
                    write_planned(store.folder, planned.listed_ids, wanted.title)
                    announce(screen, planned, finished, root, workers.size())

                planned = drop_unplaceable_trials(planned, workers.size(), finished, in_process)
                screen.begin("reading results of earlier tasks")
                _measure(planned, store, root, workers, screen, finished, use, not remote)
                use.read_workers()
                screen.begin("stopping the workers")
            snapshot = store.snapshot(snapshot)

        # tables and report
        screen.begin("writing the report")
        ids = tuple(p.id for p in planned.trials)
        tables = replace(_tables(snapshot), planned=ids, measured=sum(one not in finished for one in ids))
        if report:
            before = use.seconds()
            if _refresh_report(tables):
                _keep_report_rate(root, planned, use.seconds() - before)
        _LOG.info("took %s", use.sentence())
    return tables


def _describe_start(address: str | None) -> str:
    """Return what happens until workers are there."""
    cluster = address or os.environ.get("RAY_ADDRESS")
    return f"joining the Ray cluster at {cluster}" if cluster else "starting Ray on this machine"


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


def report(folder: str | Path) -> list[Path]:
    """Rebuild leaderboard, plots and pages from a folder's tables; return the written paths.

    StoreDamagedError if a committed part is damaged; the report is built without it before.
    """
    tables = load(folder)
    written = _build(tables)
    _raise_if_damaged(tables, folder)
    return written


def _build(tables: Tables) -> list[Path]:
    from harness.planning.method_facts import collect_facts
    from harness.report.build import build_report

    title = read_title(tables.folder)
    return build_report(tables.folder, tables.by_name, tables.others, collect_facts(), title)


def _raise_if_damaged(tables: Tables, folder: str | Path) -> None:
    if tables.damage:
        raise StoreDamagedError(f"{tables.damage[0]}; the report was built without it; see `oneclock doctor {folder}`")


def _suite(suite: str | Suite, settings: list[str] | None, seeds: int | None) -> Suite:
    return suite if isinstance(suite, Suite) else load_suite(suite, settings, seeds)


def this_device() -> tuple[str, str]:
    """Return class and name of the device that this machine would use."""
    import torch

    from harness.measure.device import device_name

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    name = device_name(torch.device(kind))
    return f"{kind}:{name}", name


def make_pool(address: str | None, workers: int | None) -> Pool:
    """Return a pool of at most `workers` devices of a cluster or this machine. Blocks."""
    from harness.pools.ray import RayPool

    return RayPool(address, workers)


def _local_pool(address: str | None, pool: Callable[[], Pool] | None, raise_errors: bool) -> Callable[[], Pool]:
    """Return what makes the pool of a run in this process; UsageError where other workers are given too."""
    from harness.pools.local import LocalPool

    if address:
        raise UsageError(
            f"--in-process runs without Ray and --address {address} names a Ray cluster; expected one of the two"
        )
    if pool is not None:
        raise UsageError("found in_process=True and a pool; expected one of the two")
    return partial(LocalPool, raise_errors)


@contextmanager
def _workers(pool: Callable[[], Pool] | None, address: str | None, suite: Suite) -> Iterator[Pool]:
    """Yield the pool; before, what measures is checked, while Ray starts if it starts here."""
    from harness.known_answer.check import check_known_answers
    from harness.pools.local_ray import LOCAL_RAY

    with ExitStack() as stack:
        if pool is None and not (address or os.environ.get("RAY_ADDRESS")):
            stack.callback(LOCAL_RAY.end)
            LOCAL_RAY.begin()
        check_known_answers()
        made = pool() if pool is not None else make_pool(address, suite.workers)
        stack.callback(made.close)
        yield made


def _measure(
    plan: Plan,
    store: Store,
    root: Path,
    workers: Pool,
    screen: Screen,
    finished: Container[str],
    use: MachineUse,
    is_here: bool,
) -> None:
    from harness.driver.loop import Engine
    from harness.driver.unit_rates import keeping_rates
    from harness.planning.fit import check_pool_size

    check_pool_size(plan, workers.size())
    engine = Engine(plan, store, root, workers, screen, finished)
    screen.watch(engine.graph.count_open_by_kind, workers.size)
    with keeping_rates(engine, root, use, is_here), graceful_shutdown() as engine.stop:
        engine.run()
    engine.stop.raise_if_set()


def _keep_report_rate(root: Path, plan: Plan, seconds: float) -> None:
    """Keep what a report took per trial, with the rates of the run that it belongs to."""
    from harness.driver.unit_rates import keep_run_rates
    from harness.planning.wall_time import REPORT_KEYS

    keep_run_rates(root, plan.device_class, {REPORT_KEYS[0]: seconds / len(plan.trials)}, is_new_run=False)


def _refresh_report(tables: Tables) -> bool:
    """Rebuild the report unless it was built from exactly these entries, by this code; tell whether it was."""
    from harness.identity import content_hash
    from harness.report.live import MARK, PAGE

    folder = tables.folder
    source = Path(__file__).parent
    writers = sorted((*source.rglob("*.py"), *source.rglob("*.j2")))
    entries = sorted(p.name for p in (folder / "log").glob("*.json"))
    state = content_hash(
        [entries, list(read_planned(folder) or ()), read_title(folder), [p.stat().st_mtime_ns for p in writers]]
    )
    mark, page = folder / MARK, folder / PAGE
    if mark.is_file() and mark.read_text() == state and page.is_file():
        return False
    _build(tables)
    mark.write_text(state)
    _LOG.debug("report: %s", page)
    return True
