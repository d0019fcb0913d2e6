"""A pool on a cluster of two nodes on this machine, each with two workers, that loses one node and then all.

Usage: ray_hosts.py; prints what took how long, and fails where an expectation does.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import pytest
import ray
from kit.faulty import complete
from kit.pool_kit import ended, failure, pid, unit
from ray._common.utils import reset_ray_address
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.errors import HarnessError
from harness.pools.ray import RayPool
from harness.task import Result, Unit

PROMPT = 3.0
"""Seconds that no poll of 0.2 s may take, on a machine that does something else too; what blocked took 5 and more."""


def nodes_of(pool: RayPool, running: Unit) -> list[str]:
    return [worker.node for worker in pool.workers_of(running)]


def groups_share_a_host(pool: RayPool) -> None:
    """Two ranks run on one host though a single unit is on the other; three run on two."""
    single, pair = unit("single", seconds=1.0), unit("pair", size=2, seconds=1.0)
    pool.submit(single, {})
    pool.submit(pair, {})
    assert len(set(nodes_of(pool, pair))) == 1
    assert not set(nodes_of(pool, pair)) & set(nodes_of(pool, single))
    assert len({pid(told) for told in ended(pool, 2, longest=PROMPT)}) == 2
    three = unit("three", size=3)
    pool.submit(three, {})
    assert len(set(nodes_of(pool, three))) == 2
    pid(*ended(pool, 1, longest=PROMPT))


def a_reserved_host_serves_exclusive_units(pool: RayPool) -> None:
    before = unit("before", seconds=1.0)
    pool.submit(before, {})
    pool.reserve(1)
    assert (pool.idle(), pool.idle(True)) == (1, 2)
    alone, beside = unit("alone", exclusive=True, seconds=1.0), unit("beside", seconds=1.0)
    pool.submit(alone, {})
    pool.submit(beside, {})
    assert (pool.idle(), pool.idle(True)) == (0, 0)
    assert nodes_of(pool, before) == nodes_of(pool, beside) != nodes_of(pool, alone)
    ended(pool, 3, longest=PROMPT)
    pool.reserve(2)
    assert (pool.idle(), pool.idle(True)) == (0, 4)
    both = unit("both", exclusive=True, size=3)
    pool.submit(both, {})
    ended(pool, 1, longest=PROMPT)
    pool.reserve(0)
    assert (pool.idle(), pool.idle(True)) == (4, 0)


def large_results_come_from_another_host(pool: RayPool) -> None:
    """20 MB from every worker; no poll waits for one to travel."""
    for number in range(4):
        pool.submit(unit(f"large {number}", numbers=2_500_000), {})
    found = ended(pool, 4, longest=PROMPT)
    assert len({told.node for told in found}) == 2
    assert all(told.event.tensors["numbers"].sum() == 2_500_000 for told in found)  # type: ignore[union-attr]


def a_node_is_lost(pool: RayPool, cluster: Cluster, second: Any) -> None:
    """What ran there is lost, and what was kept there alone; the rest goes on, and no poll waits."""
    there = NodeAffinitySchedulingStrategy(second.node_id, soft=False)
    kept = ray.remote(max_retries=0, num_cpus=0, scheduling_strategy=there)(lambda: bytes(2_000_000)).remote()
    ray.wait([kept], fetch_local=False)
    for number in range(3):
        pool.submit(unit(f"runs {number}", seconds=6.0), {})
    lost = {running.key for running in pool.running() if second.node_id in nodes_of(pool, running)}
    assert 1 <= len(lost) <= 2
    cluster.remove_node(second, allow_graceful=False)
    for told in ended(pool, 3, longest=PROMPT):
        if told.unit.key in lost:
            assert failure(told) == ("worker-died", True)
        else:
            assert isinstance(told.event, Result)
    until = time.monotonic() + 90
    while (pool.idle(), pool.hosts()) != (2, 1) and time.monotonic() < until:
        pool.poll(0.2)
        time.sleep(0.05)
    assert (pool.idle(), pool.hosts()) == (2, 1)
    pool.submit(unit("reads"), {"kept": kept})
    (told,) = ended(pool, 1, longest=PROMPT)
    assert failure(told) == ("inputs-lost", False)


def a_node_that_comes_is_used_when_a_worker_is_replaced(pool: RayPool, cluster: Cluster) -> None:
    cluster.add_node(num_cpus=2)
    pool.submit(unit("dies", act="kill"), {})
    (told,) = ended(pool, 1, longest=PROMPT)
    assert failure(told) == ("worker-died", True), told
    assert len(complete(pool)) == 4
    assert pool.hosts() == 2


def all_is_lost(pool: RayPool, cluster: Cluster) -> float:
    """The end of the cluster is an error of the next polls, soon, whatever runs."""
    for number in range(3):
        pool.submit(unit(f"last {number}", seconds=60.0), {})
    os.kill(pool.workers_of(pool.running()[0])[0].pid, signal.SIGKILL)
    end_processes(cluster)
    began = time.monotonic()
    with pytest.raises(HarnessError, match="is gone; what was finished is kept"):
        ended(pool, 4, seconds=30)
    return time.monotonic() - began


def end_processes(cluster: Cluster) -> None:
    """Kill all of Ray that this cluster has started; to take leave of it properly could take a minute."""
    for node in cluster.list_all_nodes():
        node.kill_all_processes(check_alive=False, allow_graceful=False)
    reset_ray_address()


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    second = cluster.add_node(num_cpus=2)
    try:
        # Both nodes would share the copy of the source tree that a driver sends, and one that ends would delete it.
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        pool = RayPool()
        complete(pool)
        assert (pool.size(), pool.hosts(), pool.idle()) == (4, 2, 4)
        for number in range(4):  # every worker imports what it needs
            pool.submit(unit(f"first {number}", seconds=1.0), {})
        assert len({pid(told) for told in ended(pool, 4)}) == 4
        steps = (
            lambda: groups_share_a_host(pool),
            lambda: a_reserved_host_serves_exclusive_units(pool),
            lambda: large_results_come_from_another_host(pool),
            lambda: a_node_is_lost(pool, cluster, second),
            lambda: a_node_that_comes_is_used_when_a_worker_is_replaced(pool, cluster),
            lambda: all_is_lost(pool, cluster),
        )
        for step in steps:
            began = time.monotonic()
            told = step()
            print(step.__code__.co_names[0], f"{time.monotonic() - began:.1f} s", told or "", flush=True)
        pool.close()
        print("done", flush=True)
        code = 0
    except BaseException:
        traceback.print_exc()
        code = 1
    end_processes(cluster)
    os._exit(code)


if __name__ == "__main__":
    main()
