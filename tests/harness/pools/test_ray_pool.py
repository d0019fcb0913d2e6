"""The pool on Ray gives what the pool in this process gives, whatever the number of workers, and replaces the dead."""

import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import ray
from kit.faulty import Counting, Ears, complete, faulty, measure, only, suite

from harness.driver.loop import Engine
from harness.errors import UsageError
from harness.planning.fit import check_pool_size
from harness.planning.plan import make_plan
from harness.pools.actor import WorkerInfo
from harness.pools.cluster import connect
from harness.pools.deaths import describe_end
from harness.pools.device_choice import check_one_class
from harness.storage.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("faulty_known")]
UNET = {
    "dataset": "digits",
    "network": "unet-tiny",
    "precision": "float32",
    "n_images": 80,
    "networks": {"unet-tiny": {"train": {"steps": 5}}},
}
NET = {"steps": 60, "batch": 16, "checkpoint_every": 10}


def hashes(found):
    assert {row["reasons"] for row in found.values()} == {""}
    return {name: row["images_sha256"] for name, row in found.items()}


@pytest.fixture
def narrowed(ray_pool):
    """A function that leaves the shared pool a number of its workers for one test."""
    complete(ray_pool)

    def narrow(count):
        ray_pool.limit(count)
        return Counting(ray_pool)

    yield narrow
    ray_pool.limit(None)


@pytest.mark.parametrize("counts", [(2,), pytest.param((1, 2, 4), marks=pytest.mark.slow)])
def test_the_images_are_the_same_for_any_number_of_workers_and_in_this_process(tmp_path, narrowed, counts):
    trials = [{"solver": "heun", "steps": 2}]
    here = hashes(measure(suite(trials, name="here", **UNET), tmp_path))
    assert len(here) == 2
    for count in counts:
        pool = narrowed(count)
        found = measure(suite(trials, name=f"workers-{count}", **UNET), tmp_path, pool)
        assert hashes(found) == here, count
        assert pool.most <= count
    assert pool.most > 1


def train(pool, folder, workers, ears=None, **spec):
    """Train the tiny network on a pool; return its weights."""
    wanted = suite([], **{**UNET, "networks": {"unet-tiny": {"train": {**NET, "workers": workers, **spec}}}})
    plan = make_plan(wanted, pool.device_class, pool.device_name)
    store = Store.create_or_open(folder / "tiny")
    engine = Engine(plan, store, folder, pool, ears or Ears())
    engine.finish_tasks([plan.trials[0].trial.weights_id])
    return engine.results.zoo.get(plan.trials[0].trial.weights_id)[0]


def test_two_ranks_agree_with_one_and_a_killed_rank_goes_on_from_the_checkpoint(tmp_path, ray_pool, logged):
    one = train(ray_pool, tmp_path / "one", 1)
    killed = []

    def kill_rank_1(unit, progress):
        if progress.done >= 30 and not killed:
            killed.append(progress.done)
            (group,) = ray_pool.running()
            os.kill(ray_pool.workers_of(group)[1].pid, signal.SIGKILL)

    ears = Ears(kill_rank_1)
    two = train(ray_pool, tmp_path / "two", 2, ears)
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=0, atol=2e-3, err_msg=name)
    assert sum("the worker died" in s and "trying again (1 of 2)" in s for s in logged.messages) == 1
    (before,) = ears.added
    steps = [done for kind, done in ears.progress[before:] if kind == "train"]
    assert steps[0] > 10, steps  # from the last checkpoint, not from the start
    assert steps[-1] == 60, steps


def test_more_ranks_than_devices_is_refused(tmp_path, ray_pool):
    there = ray_pool.size()
    with pytest.raises(
        Exception, match=rf"train unet-tiny on digits \(seed 0\) needs 8 devices at once; the cluster offers {there}"
    ):
        train(ray_pool, tmp_path, 8)
    plan = make_plan(suite([]), ray_pool.device_class, ray_pool.device_name)
    plan.trials[0].trial.parts["executor"].device_group = lambda: 5
    with pytest.raises(UsageError, match=f"needs 5 devices at once; the cluster offers {there}"):
        check_pool_size(plan, ray_pool.size())


def test_a_dead_worker_is_replaced_in_the_background(tmp_path, ray_pool, logged):
    wanted = suite([faulty("kill", batch=1, marker=str(tmp_path / "struck"))])
    pool, before = Counting(ray_pool), ray_pool.size()
    row = only(measure(wanted, tmp_path, pool), "kill")
    assert (row["verdict"], row["attempt"]) == ("VALID", 1)
    assert sum("the worker died during sample" in s and "(1 of 2)" in s for s in logged.messages) == 1
    assert len(complete(ray_pool)) == before


def test_devices_of_two_kinds_are_refused_in_a_sentence_that_names_both():
    kinds = [WorkerInfo("n", "127.0.0.1", 1, "cuda", "NVIDIA A"), WorkerInfo("m", "127.0.0.2", 2, "cuda", "NVIDIA B")]
    with pytest.raises(UsageError, match="several kinds, cuda:NVIDIA A and cuda:NVIDIA B, which round"):
        check_one_class(kind.device_class for kind in kinds)
    check_one_class(kind.device_class for kind in kinds[:1] * 2)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ray.exceptions.OutOfMemoryError("Task was killed"), " (out of memory)"),
        (RuntimeError("Worker exit detail: Worker exits with an exit code 3."), " (exit code 3)"),
        (
            RuntimeError(
                "connection error code 2. End of file. (1) The process is killed by SIGKILL by OOM killer due to "
                "high memory usage."
            ),
            " (its process is gone, as after a signal)",
        ),
        (RuntimeError("the node is dead"), ""),
    ],
)
def test_a_death_says_how_as_far_as_ray_tells(error, told):
    assert describe_end(error) == told


def test_a_joined_ray_is_not_ours_to_end(ray_pool):
    assert connect(None) is False


def test_addresses_that_cannot_work(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UsageError, match="cannot stream"):
        connect("ray://127.0.0.1:10001")


def test_where_nothing_listens_is_refused_before_ray_tries(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray tries for a minute"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", "127.0.0.1:70000"):
        with pytest.raises(UsageError, match=f"no Ray cluster answers at {address} .*start one with"):
            connect(address)


def test_a_web_server_is_no_cluster(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray tries for half a minute"))
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        with pytest.raises(
            UsageError, match=f"no Ray cluster answers at {address} .what answers there is a web server"
        ):
            connect(address)
        server.shutdown()
