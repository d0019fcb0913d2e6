"""Clusters of several nodes on this machine whose GPUs are fake: many workers that sleep, unequal classes, real tasks.

Usage: shared_cluster.py SCENARIO FOLDER; prints what was found, and fails where an expectation does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import pytest
import ray
from kit import fake_tasks, stub_runs
from kit.fast_runs import make_runs_fast
from kit.faulty import Ears, complete, suite
from kit.log_kit import Logged
from kit.pool_kit import ended, failure, unit
from ray._common.utils import reset_ray_address
from ray.cluster_utils import Cluster

import harness
from harness.driver.loop import Engine
from harness.errors import UsageError
from harness.measure.device_names import FAKE_DEVICE
from harness.measure.machine_load import describe_busy_machine
from harness.planning.plan import Plan
from harness.pools.device_choice import DeviceChoice
from harness.pools.fake_worker import FAKE_TASKS
from harness.pools.ray import RayPool
from harness.storage.store import Store

CLUSTERS: list[Cluster] = []
STORE_BYTES = 80 << 20
"""Of each node's object store; Ray takes no less than 75 MiB."""


def start(nodes: Sequence[tuple[str, int]]) -> Cluster:
    """Start a cluster of nodes with a name and a number of GPUs each, and a head without any; join it."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    CLUSTERS.append(cluster)
    for name, count in nodes:
        os.environ[FAKE_DEVICE] = name  # the node's processes inherit it
        cluster.add_node(num_cpus=count, num_gpus=count, object_store_memory=STORE_BYTES)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    return cluster


def many(folder: Path) -> None:
    """64 workers on 8 nodes run a suite of 200 trials in hardly more than the shortest possible time.

    The 64 processes and the driver share this machine's cores: where other programs use them, the bound is wider.
    """
    nodes, per_node, trials = 8, 8, 200
    began = time.monotonic()
    start([("chip", per_node)] * nodes)
    pool = RayPool()
    complete(pool)
    assert (pool.size(), pool.hosts()) == (nodes * per_node, nodes)
    print(f"{pool.size()} workers started in {time.monotonic() - began:.0f} s", flush=True)

    busy = describe_busy_machine()
    made = plan_of(pool, units=4, trials=trials)
    engine = Engine(made, Store.create_or_open(folder / "mine"), folder, pool, Ears())
    began = time.monotonic()
    rows = engine.run()
    took, ideal = time.monotonic() - began, fake_tasks.ideal_seconds(made, pool.size(), per_node)
    busy = busy or describe_busy_machine()
    print(f"{len(rows)} rows in {took:.1f} s, ideal {ideal:.1f} s, ratio {took / ideal:.3f} {busy}", flush=True)
    assert len(rows) == trials
    assert {row["verdict"] for row in rows} == {"VALID"}
    assert took < (1.25 if busy else 1.05) * ideal
    pool.close()


def plan_of(pool: RayPool, units: int, trials: int) -> Plan:
    """Return the plan of so many trials for the devices of a pool."""
    return stub_runs.plan(units, trials, device=pool.device_class, name=pool.device_name)


def unequal(folder: Path) -> None:
    """A run takes one class of device, as many as were wanted, on one node where they fit, and says so."""
    start([("chip A", 2), ("chip B", 2), ("chip A", 2), ("chip B", 3)])
    with pytest.raises(UsageError, match=r"cpu:fake chip A on .* and cpu:fake chip B on .* choose it with --device"):
        RayPool()
    with pytest.raises(UsageError, match=r"--gpus is 10; the cluster has 9 GPUs: ask for as many or fewer"):
        RayPool(choice=DeviceChoice(gpus=10))
    with pytest.raises(UsageError, match=r'--device is "chip C"; the cluster has fake chip A on .* and fake chip B'):
        RayPool(choice=DeviceChoice(device="chip C"))

    # all of one class
    pool = RayPool(choice=DeviceChoice(device="chip b"))
    complete(pool)
    assert (pool.size(), pool.hosts()) == (5, 2)
    assert "fake chip B" in pool.device_name
    print(pool.describe_use(), flush=True)
    assert "uses 5 of 9 GPUs of the Ray cluster at " in pool.describe_use()
    assert "on 2 of 4 nodes; left out, as they are of another class: fake chip A on " in pool.describe_use()

    # a worker that dies is replaced by one of its class
    pool.submit(dies := unit("dies"), {})
    os.kill(pool.workers_of(dies)[0].pid, signal.SIGKILL)
    assert failure(*ended(pool, 1)) == ("worker-died", True)
    assert len(complete(pool)) == 5
    assert {worker.device_class for worker in pool.workers()} == {pool.device_class}
    pool.close()

    # some of it: on one node where they fit, else on few
    for count, hosts in ((3, 1), (2, 1), (4, 2)):
        pool = RayPool(choice=DeviceChoice(gpus=count, device="chip b"))
        complete(pool)
        assert (pool.size(), pool.hosts()) == (count, hosts), (count, pool.size(), pool.hosts())
        assert {worker.device_name.split(" on ")[0] for worker in pool.workers()} == {"fake chip B"}
        print(pool.describe_use(), flush=True)
        pool.close()
    print(folder, "needs no rows", flush=True)


def real(folder: Path) -> None:
    """8 workers on 4 nodes run real tasks; a run of two of them takes one node, and makes the same images."""
    cluster = start([("chip", 2)] * 4)
    srds = {"name": "srds", "form": "vanilla", "devices": 2, "blocks": 3, "tolerance": 0.0, "most": 2}
    trials = [*({"steps": steps} for steps in range(3, 12)), {"steps": 9, "executor": srds}]
    wanted = suite(trials, name="shared", n_images=80)
    found: dict[str, Any] = {}
    logged = Logged("INFO")
    logging.getLogger("oneclock").addHandler(logged)
    logging.getLogger("oneclock").setLevel("INFO")

    # all, then two of eight
    for name, gpus in (("all", None), ("two", 2)):
        logged.messages.clear()
        began = time.monotonic()
        tables = harness.run(wanted, address=cluster.address, gpus=gpus, results=folder / name, report=False)
        said = next(one for one in logged.messages if one.startswith("this run uses"))
        print(f"{name}: {len(tables.trials)} rows in {time.monotonic() - began:.0f} s; {said}", flush=True)
        check_rows(tables.trials.to_dict("records"))
        expected = ("all 8 GPUs", "on 4 of 4 nodes") if gpus is None else ("2 of 8 GPUs", "on 1 of 4 nodes")
        assert all(words in said for words in expected), said
        assert any("none of its figures is a measurement" in one for one in logged.messages)
        found[name] = tables.trials.set_index(["method", "steps"])["images_sha256"].to_dict()
    assert found["all"] == found["two"]


def check_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Every trial has a row, which says that its device is fake."""
    assert len(rows) == 11
    assert {row["verdict"] for row in rows} == {"VALID"}, [row["reasons"] for row in rows]
    assert all(row["device_name"].startswith("fake chip on ") for row in rows)
    assert {row["devices"] for row in rows} == {1, 2}


SCENARIOS = {"many": many, "unequal": unequal, "real": real}


def main(scenario: str, folder: Path) -> None:
    make_runs_fast()
    if scenario != "real":
        os.environ[FAKE_TASKS] = "kit.fake_tasks:run"
    code = 1
    try:
        SCENARIOS[scenario](folder)
        print("done", flush=True)
        code = 0
    except BaseException:
        traceback.print_exc()
    leave(code)


def leave(code: int) -> None:
    """End with all of Ray that this process has started; a proper farewell could take a minute."""
    for cluster in CLUSTERS:
        for node in cluster.list_all_nodes():
            node.kill_all_processes(check_alive=False, allow_graceful=False)
    reset_ray_address()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
