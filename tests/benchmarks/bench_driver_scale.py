"""CPU of the driver per shard, at 1,000 to 100,000 shards on 1,000 devices: a stub pool, but real results and rows.

Run: python -P tests/benchmarks/bench_driver_scale.py [SHARDS ...]   (default 1000 10000; 100000 takes long)

The stub pool works in virtual time: a task takes the seconds of its kind, and only which ends next is computed.
Planning is not counted. Printed are user and system CPU of the driver per shard, peak memory, and the makespan in
virtual time over the ideal one, which is the work of all tasks over all devices.
"""

from __future__ import annotations

import heapq
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import plan_kit
from faulty import Ears

from harness.driver.loop import Engine
from harness.planning.plan import Plan
from harness.specs.base import Output
from harness.specs.reference import ReferenceOutput
from harness.specs.sample import Cost, Counts, SampleOutput
from harness.specs.score import Replicate, ScoreOutput
from harness.specs.time import Repetition, TimeOutput
from harness.storage.store import Store
from harness.task import Result, TaskEvent, Unit

DEVICES, TRIALS, BATCH, DIM, STEPS = 1000, 20, 10, 64, 2
SECONDS = {"sample": 10.0, "score": 1.0, "time": 5.0, "reference": 1.0}


class StubPool:
    """Many devices that compute nothing: every task ends after its seconds of virtual time."""

    device_class, device_name = "cpu:a chip", "a chip"

    def __init__(self, devices: int) -> None:
        self.now = self.work = 0.0
        self._devices = self._free = devices
        self._running: list[tuple[float, int, Unit]] = []
        self._reserved = False
        self._numbers = count()

    def put(self, value: Any) -> Any:
        return value

    def size(self) -> int:
        return self._devices

    def hosts(self) -> int:
        return 1

    def reserve(self, hosts: int) -> None:
        self._reserved = hosts > 0

    def idle(self, exclusive: bool = False) -> int:
        if exclusive != self._reserved:
            return 0
        return self._free if not exclusive or self._free == self._devices else 0

    def start(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        self._free -= 1
        seconds = SECONDS[unit.task.kind]
        self.work += seconds
        heapq.heappush(self._running, (self.now + seconds, next(self._numbers), unit))

    def drop(self, unit: Unit) -> None:
        raise AssertionError(f"{unit.label} is started once")

    def poll(self, seconds: float) -> list[TaskEvent]:
        """Return all that ends at the next moment at which something does."""
        events: list[TaskEvent] = []
        while self._running and (not events or self._running[0][0] == self.now):
            self.now, _, unit = heapq.heappop(self._running)
            self._free += 1
            result = Result(OUTPUTS[unit.task.kind], TENSORS.get(unit.task.kind, {}))
            events.append(TaskEvent(unit, result, handle=result))
        return events

    def close(self) -> None:
        pass


def outputs() -> dict[str, Output]:
    """Return what tasks of every kind return, of the size of real ones."""
    times = [
        Repetition(
            kind=kind, role=role, round=n, order=n, batch=1, seconds=0.1, process_seconds=0.1, device_seconds=None,
            sm_clock_mhz=None, temperature_celsius=None,
        )
        for kind in ("latency", "throughput") for role in ("trial", "baseline") for n in range(11)
    ]  # fmt: skip
    images = 5 * BATCH
    return {
        "reference": ReferenceOutput(n=1000),
        "sample": SampleOutput(
            seconds=1.0,
            network_seconds=0.9,
            counts=Counts(
                evaluations=dict.fromkeys(range(STEPS), images),
                units={step: {"network": images} for step in range(STEPS)},
                iterations={},
                critical={},
                speculative=0,
                bytes_sent=0,
            ),
            not_finite=0,
            first_not_finite=None,
            constant=0,
            wrong_shape=None,
            cost=Cost(
                units={"network": 64},
                network=64,
                coverage=1.0,
                parameters=9,
                sigmas=[80.0, 1.0, 0.002],
                times=[1.0, 0.5, 0.0],
            ),
        ),
        "score": ScoreOutput(
            n_images=1000, reference_n=1000, fid=2.0, fid_low=1.0, fid_high=3.0, fid_floor=1.0, kid=0.1, kid_se=0.1,
            precision=0.5, recall=0.5, replicates=[Replicate(group=n, fid=2.0, kid=0.1) for n in range(20)], reasons=[],
            images_sha256="0" * 64,
        ),
        "time": TimeOutput(
            repetitions=times, virtual=[], peak_memory_bytes=1, energy_joules_per_image=None, device_name="a chip",
            digests={},
        ),
    }  # fmt: skip


OUTPUTS = outputs()
TENSORS = {
    "sample": {"features": np.zeros((5 * BATCH, DIM), np.float32), "digests": np.zeros((5 * BATCH, 32), np.uint8)}
}


def plan(shards: int) -> Plan:
    """Return a plan of so many shards over all its trials."""
    images = shards // TRIALS * 5 * BATCH
    trials = [{"steps": 2}, *({"steps": 2, "schedule": {"name": "edm", "rho": 10.0 + k}} for k in range(TRIALS - 1))]
    return plan_kit.plan(n_images=images, batch=BATCH, trials=trials)


def main(sizes: list[int]) -> None:
    print(f"{DEVICES} devices, {TRIALS} trials, results of {5 * BATCH} images x {DIM} numbers")
    print(f"{'shards':>8} {'CPU ms/shard':>13} {'system ms':>10} {'wall s':>8} {'peak MiB':>9} {'makespan/ideal':>15}")
    for shards in sizes:
        made, pool = plan(shards), StubPool(DEVICES)
        with tempfile.TemporaryDirectory() as folder:
            store = Store.create_or_open(Path(folder) / "mine")
            before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            committed = Engine(made, store, Path(folder), pool, Ears()).run()
            after = resource.getrusage(resource.RUSAGE_SELF)
        assert len(committed) == TRIALS
        system = after.ru_stime - before.ru_stime
        cpu = after.ru_utime - before.ru_utime + system
        wall, ideal = time.perf_counter() - began, pool.work / DEVICES
        print(
            f"{shards:>8} {1e3 * cpu / shards:>13.2f} {1e3 * system / shards:>10.2f} {wall:>8.1f} "
            f"{after.ru_maxrss / 1024:>9.0f} {pool.now / ideal:>15.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1000, 10_000])
