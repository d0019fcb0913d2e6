"""Methods that misbehave on purpose, as a plug-in from outside: every process finds them through an entry point."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from harness.config.suite import Suite
from harness.driver.loop import Engine
from harness.planning.plan import Plan, PlannedTrial, make_plan
from harness.pools.local import LocalPool
from harness.pools.pool import Pool
from harness.registry import registry
from harness.storage.store import Store
from harness.task import Failure, Progress, Result, TaskEvent, Unit
from methods.parts import Denoise, Params, Solver, StepNoise

CHILD_SECONDS = "86399"  # what a child that nobody may leave behind sleeps for; no other process has this word


TIMED_BATCH = 5
"""The batch that is timed where a solver is slow: slower than its network by so much, its time would be INVALID."""


class Faulty(Solver):
    """Euler's method with a fault in its last step of one batch: always, or once if a marker file is named."""

    class Params(Params):
        fault: Literal["none", "kill", "hang", "slow", "nan", "raise", "exit", "memory", "pollute"] = "none"
        batch: int = 0
        """In which batch of its shard it strikes, counted from 0; -1 is every batch."""
        marker: str = ""
        """A file that is made when the fault strikes; while it is there, the fault does not strike again."""
        twin: int = 0
        """Nothing but a way to have many different trials."""

    name = "faulty"
    summary = "Euler's method that fails on purpose"
    order = 1

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.batches = 0

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        ratio = float(sigmas[i + 1]) / float(sigmas[i])
        x = ratio * x + (1 - ratio) * denoise(x, float(sigmas[i]))
        if i == len(sigmas) - 2:
            mine, self.batches = self.params.batch in (-1, self.batches), self.batches + 1
            if mine and self._strikes():
                return self._fail(x)
        return x

    def _strikes(self) -> bool:
        if self.params.marker:
            try:
                os.close(os.open(self.params.marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return False
        return True

    def _fail(self, x: Tensor) -> Tensor:
        fault = self.params.fault
        if fault == "kill":
            subprocess.Popen(["sleep", CHILD_SECONDS])
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hang":
            subprocess.Popen(["sleep", CHILD_SECONDS])
            while True:
                time.sleep(1)
        if fault == "slow" and len(x) > TIMED_BATCH:
            time.sleep(0.2)
        if fault == "raise":
            raise RuntimeError("the plug-in's own\nmistake")
        if fault == "memory":
            raise MemoryError("needed 8 bytes, 4 free")
        if fault == "exit":
            sys.exit(3)
        if fault == "pollute":
            print("a plug-in talks")
            os.chdir("/")
            os.environ["ONECLOCK_POLLUTED"] = "1"
            torch.manual_seed(0)
            np.random.seed(0)
            torch.set_num_threads(3)
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(True)
        return x * float("nan") if fault == "nan" else x


def register(folder: Path) -> str:
    """Write this plug-in with its entry point into a folder; return the PYTHONPATH that makes it known."""
    info = folder / "faulty-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness.methods]\nfaulty = kit.faulty:Faulty\nmeddlers = kit.meddlers\n")
    own = Path(__file__).parent  # tests/ itself holds folders called like our packages
    shutil.copytree(own, folder / own.name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    return str(folder)


@contextmanager
def known_here(path: str) -> Iterator[None]:
    """Let this process know the plug-in for a while."""
    before = list(sys.path)
    sys.path.insert(0, path)
    registry.cache_clear()
    try:
        yield
    finally:
        sys.path[:] = before
        registry.cache_clear()


def suite(trials: list[dict[str, Any]], **changes: Any) -> Suite:
    """Return a suite of tiny trials on the exact Gaussian, next to its baseline of two steps."""
    base = {
        "name": "tiny",
        "title": "tiny",
        "dataset": "gaussian",
        "network": "analytic",
        "extractor": "pixels",
        "n_images": 40,
        "batch": 10,
        "precision": "float64",
        "baseline": {"clock_steps": 2},
        "timing": {"tier": "smoke", "batch": 10},
        "trials": [{"solver": "ddim", "steps": 2}, *trials],
    }
    return Suite.model_validate({**base, **changes})


def slow_suite(**changes: Any) -> Suite:
    """Return the suite of one trial whose batches take a fifth of a second longer where they are sampled, not timed."""
    timing = {"tier": "smoke", "batch": TIMED_BATCH}
    return suite([faulty("slow", batch=-1)], batch=2 * TIMED_BATCH, timing=timing, **changes)


def faulty(fault: str, steps: int = 2, **params: Any) -> dict[str, Any]:
    """Return a trial with a fault."""
    return {"solver": {"name": "faulty", "fault": fault, **params}, "steps": steps}


class Ears:
    """A listener that remembers progress, and a place to hook into it."""

    def __init__(self, on_progress: Any = None) -> None:
        self.progress: list[tuple[str, int]] = []
        self.added: list[int] = []  # for each addition of units, how often progress came before it
        self._on_progress = on_progress

    def on_start(self, total: int, cached: int, units: int) -> None:
        self.units = units

    def on_units_added(self, units: int) -> None:
        self.units += units
        self.added.append(len(self.progress))

    def on_unit_start(self, unit: Unit) -> None:
        pass

    def on_progress(self, unit: Unit, progress: Progress) -> None:
        self.progress.append((unit.task.kind, progress.done))
        if self._on_progress is not None:
            self._on_progress(unit, progress)

    def on_unit_end(self, unit: Unit) -> None:
        pass

    def on_row(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        pass

    def on_tick(self) -> None:
        pass


def complete(pool: Any, seconds: float = 90) -> list[int]:
    """Wait until every worker of a Ray pool is there and idle; return their process ids."""
    pool.reserve(0)
    until = time.monotonic() + seconds
    while pool.idle() < pool.size() and time.monotonic() < until:
        pool.poll(1)
    assert pool.idle() == pool.size()
    return [worker.pid for worker in pool.workers()]


class Counting:
    """A pool that checks, at every start, what else runs; closing it leaves the pool below open."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.device_class, self.device_name = pool.device_class, pool.device_name
        self.active: dict[str, Unit] = {}
        self.most = 0
        self.started: list[str] = []
        self.nodes: list[str] = []
        self.put, self.idle, self.size = pool.put, pool.idle, pool.size
        self.hosts, self.reserve, self.has_loaded = pool.hosts, pool.reserve, pool.has_loaded

    def submit(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        if self.hosts() == 1:
            alone = [u.label for u in self.active.values() if u.task.exclusive or unit.task.exclusive]
            assert not alone, f"{unit.label} starts beside {alone}"
        self._pool.submit(unit, inputs)
        self.active[unit.key] = unit
        self.started.append(unit.label)
        self.most = max(self.most, len(self.active))

    def drop(self, unit: Unit) -> None:
        self._pool.drop(unit)
        self.active.pop(unit.key, None)

    def poll(self, seconds: float) -> list[TaskEvent]:
        events = self._pool.poll(seconds)
        for told in events:
            if isinstance(told.event, Result | Failure):
                self.active.pop(told.unit.key, None)
                self.nodes.append(told.node)
        return events

    def close(self) -> None:
        assert not self.active


def measure(
    wanted: Suite, results: Path, pool: Pool | None = None, ears: Ears | None = None, patience: float | None = None
) -> dict[str, Any]:
    """Run a suite without its report; return the committed rows by method and steps.

    `patience` is the deadline, in seconds, of the tasks that sample with a faulty method.
    """
    pool = pool if pool is not None else LocalPool()
    plan: Plan = make_plan(wanted, pool.device_class, pool.device_name)
    for task in plan.tasks.values():
        if patience is not None and task.label.startswith("sample analytic:faulty"):
            object.__setattr__(task, "deadline_seconds", patience)
    store = Store.create_or_open(results / wanted.name)
    Engine(plan, store, results, pool, ears or Ears()).run()
    return rows(store)


def rows(store: Store) -> dict[str, Any]:
    """Return the accepted rows by method and steps."""
    return {f"{row['method']}-{row['steps']}": row for row in store.snapshot().latest().to_dict("records")}


def only(found: Mapping[str, Any], fault: str) -> Any:
    """Return the one row of a fault."""
    (row,) = [r for name, r in found.items() if f"fault={fault}" in name]
    return row


def left_behind() -> list[int]:
    """Return the children of faulty methods that still live."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", CHILD_SECONDS.encode()]:
            found.append(int(process.name))
    return found
