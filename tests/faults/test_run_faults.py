"""Workers that die, hang and lie, drivers that are killed, clusters that vanish: only what is finished stays."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kit.faulty import Counting, Ears, complete, faulty, left_behind, measure, only, rows, slow_suite, suite
from kit.python_path import prepended

from harness.pools.local import LocalPool
from harness.storage.store import Store

ROOT = Path(__file__).parents[2]
SAME = ["verdict", "status", "reasons", "fid", "kid", "precision", "recall", "nfe", "flops_per_image", "images_sha256"]

pytestmark = pytest.mark.usefixtures("faulty_known")


def script(name, *words, path, seconds):
    """Run a script beside this file; return its JSON answer."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(name)), *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": prepended(path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def facts(found):
    """Return what must not depend on how a run went."""
    return {name: {key: row[key] for key in SAME} for name, row in found.items()}


def no_children():
    """Wait a moment for the children of dead workers to be gone."""
    until = time.monotonic() + 10
    while left_behind() and time.monotonic() < until:
        time.sleep(0.1)
    return left_behind() == []


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """The row that every trial beside a faulty one must leave."""
    return measure(suite([]), tmp_path_factory.mktemp("baseline"))["ddim-2"]


def unharmed(found, baseline):
    return facts({"": found["ddim-2"]}) == facts({"": baseline})


@pytest.mark.ray
@pytest.mark.slow
def test_a_worker_that_always_dies_costs_its_own_trial_alone(tmp_path, ray_pool, baseline):
    pool, ears = Counting(ray_pool), Ears()
    found = measure(suite([faulty("kill", batch=1)]), tmp_path, pool, ears)
    row = only(found, "kill")
    assert (row["status"], row["verdict"]) == ("failed", "INVALID")
    assert row["reasons"].startswith("failed(worker-died): the worker died during sample")
    assert "(attempt 3)" in row["reasons"]
    assert unharmed(found, baseline)
    assert sum(label.startswith("sample analytic:faulty") for label in pool.started) == 3
    assert no_children()
    again = measure(suite([faulty("kill", batch=1)]), tmp_path, Counting(ray_pool))
    assert only(again, "kill")["attempt"] == 2  # a failure is never cached as done


@pytest.mark.ray
def test_a_hang_ends_at_its_deadline_and_the_device_serves_on(tmp_path, ray_pool, baseline):
    began, before = time.monotonic(), ray_pool.size()
    found = measure(suite([faulty("hang")]), tmp_path, Counting(ray_pool), patience=3.0)
    reasons = only(found, "hang")["reasons"]
    assert reasons.startswith("failed(timeout): sample analytic:faulty")
    assert "deadline of 3 s" in reasons
    assert unharmed(found, baseline)
    assert time.monotonic() - began < 60
    assert no_children()
    assert ray_pool.size() == before


@pytest.mark.ray
def test_a_plug_in_that_meddles_changes_nothing_of_the_next_trial(tmp_path, ray_pool, baseline):
    complete(ray_pool)
    ray_pool.limit(1)
    try:
        trials = [faulty("pollute", batch=-1, steps=1), {"solver": "ddim", "steps": 3}]
        found = measure(suite(trials), tmp_path / "ray", Counting(ray_pool))
        alone = measure(suite(trials[1:]), tmp_path / "alone")
    finally:
        ray_pool.limit(None)
    assert only(found, "pollute")["reasons"].startswith("tampered: solver/faulty changed torch's number of threads")
    assert unharmed(found, baseline)
    assert facts({"": found["ddim-3"]}) == facts({"": alone["ddim-3"]})


def test_what_a_plug_in_changes_of_the_process_is_put_back(tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    measure(suite([faulty("pollute", batch=-1)]), tmp_path / "results")
    assert Path.cwd() == tmp_path
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == 1
    assert "ONECLOCK_POLLUTED" not in os.environ


@pytest.mark.ray
@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("nan", "finished", "nan-samples: 10 of 40 images hold NaN or infinity, the first is image 10"),
        ("raise", "failed", "failed(RuntimeError): the plug-in's own mistake"),
        pytest.param(
            "memory", "failed", "failed(out-of-memory): needed 8 bytes, 4 free (attempt 2)", marks=pytest.mark.slow
        ),
    ],
)
def test_a_failure_is_a_row_with_its_reason(tmp_path, ray_pool, baseline, fault, status, reason):
    found = measure(suite([faulty(fault, batch=1)]), tmp_path, Counting(ray_pool))
    row = only(found, fault)
    assert (row["status"], row["verdict"]) == (status, "INVALID")
    assert row["reasons"].startswith(reason)
    assert row["fid"] != row["fid"]  # empty
    assert unharmed(found, baseline)


@pytest.mark.ray
@pytest.mark.slow
def test_500_tiny_trials_keep_the_tasks_in_flight_bounded(tmp_path, ray_pool):
    trials = [faulty("none", twin=twin) for twin in range(1, 500)]
    pool = Counting(ray_pool)
    found = measure(suite(trials, n_images=20, batch=10, precision="float32"), tmp_path, pool)
    assert len(found) == 500
    assert {row["status"] for row in found.values()} == {"finished"}
    assert pool.most <= ray_pool.size()
    assert len({row["images_sha256"] for row in found.values()}) == 1


@pytest.mark.slow
def test_drivers_killed_at_random_lose_and_double_nothing(tmp_path, plugin_path):
    codes = script("run_children.py", "kills", tmp_path / "results", 4, path=plugin_path, seconds=120)
    assert codes[-1] == 0, (tmp_path / "log").read_text()[-2000:]
    assert codes.count(-9) >= 3
    store = Store(tmp_path / "results" / "tiny")
    assert {problem.kind for problem in store.check()} <= {"orphan", "temp"}
    attempts = store.snapshot().read("trials")
    assert not attempts.duplicated("trial_id").any()
    wanted = suite([{"solver": "heun", "steps": 2}, {"solver": "ddim", "steps": [3, 4]}])
    assert facts(rows(store)) == facts(measure(wanted, tmp_path / "undisturbed"))


@pytest.mark.slow
def test_a_signal_ends_a_run_politely_and_the_next_one_goes_on(tmp_path, plugin_path):
    *ends, last = script("run_children.py", "signals", tmp_path / "results", 0, path=plugin_path, seconds=120)
    log = (tmp_path / "log").read_text()
    assert ends == [[True, 130, False], [True, 130, False], [True, 143, False]], log[-2000:]
    assert last == 0, log[-2000:]
    assert "stopping; what is finished is kept" in log
    assert log.count("oneclock: interrupted; what was finished is kept, run again to continue") == 3
    assert "Traceback" not in log


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint(tmp_path, plugin_path):
    answer = script("run_children.py", "training", tmp_path / "results", 0, path=plugin_path, seconds=150)
    log = (tmp_path / "log").read_text()
    assert answer == [True, -9, 0], log[-2000:]
    continued = re.findall(r"train unet-tiny on digits \(seed 0\) continues at step (\d+)", log)
    assert len(continued) == 1, log[-2000:]
    assert int(continued[0]) >= 20
    assert not list((tmp_path / "results" / "zoo").glob("*-partial*"))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(800)
def test_a_cluster_that_loses_a_node_then_all_nodes(tmp_path, plugin_path):
    code, seconds = script("ray_cluster.py", tmp_path, path=plugin_path, seconds=580)
    log = (tmp_path / "log").read_text()
    assert "loses-a-node ended" in log, log[-3000:]
    assert "the worker died during" in log
    assert "trying again (1 of 2)" in log
    found = rows(Store(tmp_path / "results" / "loses-a-node"))
    assert {row["verdict"] for row in found.values()} == {"VALID"}
    assert code == 1, log[-3000:]
    assert seconds < 30
    assert log.count("oneclock: the Ray cluster at") == 1, log[-3000:]
    assert "is gone; what was finished is kept" in log
    assert not (tmp_path / "results" / "loses-all" / "run.lock").exists()
    wanted = slow_suite(name="loses-all", n_images=400)
    pool = Counting(LocalPool())
    resumed = measure(wanted, tmp_path / "results", pool)
    assert {row["verdict"] for row in resumed.values()} == {"VALID"}
    assert sum(label.startswith("sample") for label in pool.started) < 16
