"""Clusters that are shared: how long 64 workers take, one class of device and a number of them, groups on one node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit import fake_tasks, stub_runs
from kit.python_path import prepended
from kit.stub_results import SECONDS, seconds_of

ROOT = Path(__file__).parents[2]


def test_200_trials_on_64_devices_in_virtual_time_take_hardly_more_than_they_must(tmp_path: Path) -> None:
    hosts, per_host, trials = 8, 8, 200
    made = stub_runs.plan(units=8, trials=trials)
    engine, pool = stub_runs.engine(made, tmp_path, hosts=hosts, devices=per_host)
    assert len(engine.run()) == trials

    # a timing takes a whole host
    seconds = sum(seconds_of(unit) for task in made.tasks.values() if task.cut for unit in task.units())
    seconds += trials * (SECONDS["score"] + per_host * SECONDS["time"])
    assert pool.now < 1.05 * seconds / (hosts * per_host)


def test_what_the_64_processes_sleep_takes_hardly_more_in_virtual_time_than_it_must(tmp_path: Path) -> None:
    # units are a sixteenth of the whole: hosts time trials while the last few units run elsewhere
    made = stub_runs.plan(units=4, trials=200)
    engine, pool = stub_runs.engine(
        made, tmp_path, hosts=8, devices=8, seconds=lambda unit: fake_tasks.SLEEPS[unit.task.kind]
    )
    assert len(engine.run()) == 200
    assert pool.now < 1.03 * fake_tasks.ideal_seconds(made, workers=64, per_node=8)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(700)
@pytest.mark.parametrize("scenario", ["unequal", "real", "many"])
def test_a_cluster_of_fake_devices(scenario: str, plugin_path: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("shared_cluster.py")), scenario, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": prepended(plugin_path, ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=650,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "done" in done.stdout.splitlines()  # Ray's own last lines may follow
