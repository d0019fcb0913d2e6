"""CPU of the driver per shard, at 1,000 to 100,000 shards on 1,000 devices: a stub pool, but real results and rows.

Run: python -P tests/benchmarks/bench_driver_scale.py [SHARDS ...] [--smoke]   (default 1000 10000 100000)

The stub pool works in virtual time: a task takes the seconds of its kind, and only which ends next is computed.
Planning is not counted. Printed are user and system CPU of the driver per shard, by how much its memory grew, the
makespan in virtual time over that of sampling alone, the share of the device-seconds that devices idled while hosts
were emptied for timing, and after which share of the shards the first row came.
"""

from __future__ import annotations

import argparse
import heapq
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # first: tests/ has a folder called like our package

from kit import plan_kit
from kit.faulty import Ears
from kit.stub_pool import StubPool
from kit.stub_results import DIM, SECONDS, result_of, seconds_of

from harness.driver.loop import Engine
from harness.planning.plan import Plan, PlannedTrial
from harness.storage.store import Store
from harness.task import Unit

HOSTS, DEVICES_PER_HOST = 125, 8
DEVICES = HOSTS * DEVICES_PER_HOST
TRIALS, BATCH, STEPS = 20, 50, 50  # a unit of sampling is one batch: 2,500 evaluations
SMOKE = [200]


def plan(shards: int) -> Plan:
    """Return a plan of so many shards over all its trials."""
    images = shards // TRIALS * BATCH
    others = ({"steps": STEPS, "schedule": {"name": "edm", "rho": 10.0 + k}} for k in range(TRIALS - 1))
    trials = [{"steps": STEPS}, *others]
    return plan_kit.plan(n_images=images, batch=BATCH, trials=trials, baseline={"clock_steps": STEPS})


def ideal(made: Plan) -> float:
    """Return the makespan if nothing but sampling needed devices: every free one takes the next unit at once.

    The last score and the last timing follow it.
    """
    free = [0.0] * DEVICES
    for task in made.tasks.values():
        for unit in task.units() if task.cut else ():
            heapq.heapreplace(free, free[0] + seconds_of(unit))
    return max(free) + SECONDS["score"] + SECONDS["time"]


def measure(shards: int, shown: bool = True) -> None:
    """Run one size and print its line."""
    made, pool = plan(shards), StubPool(HOSTS, DEVICES_PER_HOST, seconds_of, result_of)
    assert sum(task.unit_count for task in made.tasks.values() if task.cut) == shards
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create_or_open(Path(folder) / "mine")
        memory = psutil.Process().memory_info().rss
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        first_row = FirstRow(shards)
        engine = Engine(made, store, Path(folder), pool, first_row, clock=lambda: pool.now)
        committed = engine.run()
        after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - began
        grown = psutil.Process().memory_info().rss - memory
    assert len(committed) == TRIALS
    system = after.ru_stime - before.ru_stime
    cpu = after.ru_utime - before.ru_utime + system
    if not shown:
        return
    print(
        f"{shards:>8} {1e3 * cpu / shards:>13.2f} {1e3 * system / shards:>10.2f} {wall:>8.1f} "
        f"{grown / 2**20:>10.0f} {pool.now / ideal(made):>15.3f} "
        f"{engine.starter.lane.idle_seconds / (DEVICES * pool.now):>10.2%} {first_row.share:>16.1%}",
        flush=True,
    )


class FirstRow(Ears):
    """Notes after which share of the shards the first row came."""

    def __init__(self, shards: int) -> None:
        super().__init__()
        self.share, self._shards, self._ended = 1.0, shards, 0

    def on_unit_end(self, unit: Unit) -> None:
        self._ended += unit.task.kind == "sample"

    def on_row(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        self.share = min(self.share, self._ended / self._shards)


def main() -> None:
    """Measure each size and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="*", type=int, default=[1000, 10_000, 100_000])
    parser.add_argument("--smoke", action="store_true", help="only show that it runs, in seconds")
    options = parser.parse_args()
    print(f"{DEVICES} devices on {HOSTS} hosts, {TRIALS} trials, results of {BATCH} images x {DIM} numbers")
    print(
        f"{'shards':>8} {'CPU ms/shard':>13} {'system ms':>10} {'wall s':>8} {'grown MiB':>10} {'makespan/ideal':>15} "
        f"{'lane idle':>10} {'first row after':>16}"
    )
    measure(TRIALS, shown=False)  # imports what rows need
    for shards in SMOKE if options.smoke else options.shards:
        measure(shards)


if __name__ == "__main__":
    main()
