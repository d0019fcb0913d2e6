"""Units go to workers that have their network: far fewer networks are loaded, and no device waits for it."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import plan_kit
from kit.faulty import Ears
from kit.stub_pool import StubPool
from kit.stub_results import result_of, seconds_of

from harness.driver.loop import Engine
from harness.planning.plan import Plan
from harness.storage.store import Store
from harness.task import Unit

NETWORKS, KEPT = ("unet-tiny", "unet-8", "slim-8", "uvit-8"), 1


class LoadingPool(StubPool):
    """Counts how often a worker loads a network that is not among the latest that it had."""

    def __init__(self) -> None:
        super().__init__(hosts=4, devices_per_host=4, seconds=seconds_of, result=result_of)
        self.loads = 0
        self._models: dict[Any, OrderedDict[str, None]] = defaultdict(OrderedDict)

    def submit(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        super().submit(unit, inputs)
        started = max((run for _, _, run in self._runs), key=lambda run: run.number)
        for device in started.devices:
            for network in unit.task.networks:
                self._load(self._models[device], network)

    def _load(self, models: OrderedDict[str, None], network: str) -> None:
        self.loads += network not in models
        models[network] = None
        models.move_to_end(network)
        while len(models) > KEPT:
            models.popitem(last=False)


def interleaved() -> Plan:
    """Return a plan whose trials change the network from one to the next."""
    trials = [{"steps": steps, "network": name, "solver": "heun"} for steps in range(10, 20) for name in NETWORKS]
    return plan_kit.plan(
        n_images=100, batch=10, dataset="digits", network=NETWORKS[0], trials=[{"steps": 2}, *trials],
        networks={name: {"train": {"steps": 3}} for name in NETWORKS},
    )  # fmt: skip


def run(made: Plan, folder: Path) -> LoadingPool:
    pool = LoadingPool()
    Engine(made, Store.create_or_open(folder / "mine"), folder, pool, Ears(), clock=lambda: pool.now).run()
    return pool


def test_tasks_name_the_weights_that_they_load() -> None:
    made = interleaved()
    trained = {task.id for task in made.tasks.values() if task.kind == "train"}
    assert len(trained) == len(NETWORKS)
    sampled = [set(task.networks) for task in made.tasks.values() if task.kind == "sample"]
    assert sampled
    assert all(len(networks) == 1 and networks < trained for networks in sampled)
    timed = [set(task.networks) for task in made.tasks.values() if task.kind == "time"]
    assert {len(networks) for networks in timed} == {1, 2}  # its own and the clock trial's
    assert all(not task.networks for task in made.tasks.values() if task.kind in ("score", "reference"))


def test_far_fewer_networks_are_loaded_in_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = interleaved()
    near = run(made, tmp_path / "near")
    monkeypatch.setattr("harness.pools.hosts._KEPT_NETWORKS", 0)
    monkeypatch.setattr(StubPool, "has_loaded", lambda self, networks: True)
    far = run(made, tmp_path / "far")
    assert near.loads < 0.6 * far.loads
    assert near.now < 1.03 * far.now
