"""The verb `train`: one network on one data set, kept under the id that every suite looks for."""

from __future__ import annotations

from pathlib import Path

from harness.config.settings import apply_settings
from harness.config.suite import Baseline, Suite, TrialEntry
from harness.driver.loop import Engine
from harness.errors import UsageError
from harness.planning.fit import spread_trainings
from harness.planning.plan import make_plan
from harness.pools.device_choice import ALL_DEVICES, DeviceChoice
from harness.runs import workplace
from harness.screen.run_screen import Screen
from harness.specs.base import Json
from harness.storage.lock import RunLock
from harness.storage.run_log import logging_to_file
from harness.storage.store import Store


def train_network(
    dataset: str,
    network: str,
    settings: list[str],
    address: str | None,
    results: Path,
    choice: DeviceChoice = ALL_DEVICES,
) -> Path:
    """Train unless the weights are kept already; return their path.

    Raises UsageError for a network that is exact, LockedError while another process trains.
    """
    # a suite of one trial, of which the training alone runs
    changes: Json = {}
    apply_settings(changes, settings)

    suite = Suite(
        name="train",
        title=f"{network} on {dataset}",
        dataset=dataset,
        network=network,
        extractor="pixels",
        n_images=1,
        batch=1,
        networks={network: changes},
        baseline=Baseline(clock_steps=1),
        trials=[TrialEntry(steps=1)],
    )

    # refused before a folder is made
    device_class, name = workplace.this_device()
    if workplace.cluster_address(address) is None:
        workplace.check_choice_here(choice, device_class)
    if make_plan(suite, device_class, name, trains_only=True).trials[0].trial.weights_id is None:
        raise UsageError(f'network "{network}" is exact on "{dataset}" and is not trained')

    store = Store.create_or_open(results / "train")
    with Screen(suite.title) as screen, RunLock(store.folder), logging_to_file(store.folder):
        screen.begin("starting Ray")
        pool = workplace.make_pool(address, None, choice)
        try:
            workplace.say_use(pool, address, choice)
            plan = make_plan(suite, pool.device_class, pool.device_name, trains_only=True)
            plan = spread_trainings(plan, pool.size(), workplace.cluster_address(address) is None)
            task = str(plan.trials[0].trial.weights_id)
            engine = Engine(plan, store, results, pool, screen)
            screen.watch(engine.graph.count_open_by_kind, pool.size)
            engine.finish_tasks([task])
        finally:
            pool.close()
    return results / "zoo" / f"{task}.safetensors"
