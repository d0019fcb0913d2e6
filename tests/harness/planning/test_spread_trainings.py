"""On how many devices the trainings and preparations of a plan train."""

from __future__ import annotations

from typing import Any

import pytest
from kit import plan_kit

from harness.planning.fit import LEAST_IMAGES, spread_trainings
from harness.planning.plan import Plan
from harness.specs.prepare import PrepareSpec
from harness.specs.train import TrainSpec


def tuned(batch: int, **more: Any) -> dict[str, Any]:
    return {"steps": 2, "denoiser": {"name": "few-step", "tune_steps": 5, "tune_batch": batch, **more}}


def plan(*trials: dict[str, Any], devices: int | None = None, **train: Any) -> Plan:
    """Return a plan of a network trained in batches of 64 and of trials that tune it."""
    settings = plan_kit.with_train(**{"batch": 64, **train})
    return plan_kit.plan(**settings, devices=devices, trials=[{"steps": 2}, *trials])


def spread(made: Plan, devices: int, is_here: bool = True) -> dict[str, list[int]]:
    """Return the devices of the trainings and of the preparations of a plan, in its order."""
    found: dict[str, list[int]] = {"train": [], "prepare": []}
    before = made.tasks
    for task_id, task in spread_trainings(made, devices, is_here).tasks.items():
        assert task.id == task_id == before[task_id].id  # devices decide nothing
        if isinstance(task.spec, PrepareSpec | TrainSpec):
            assert task.ranks == task.spec.devices
            found[task.kind].append(task.ranks)
        else:
            assert task == before[task_id]
    return found


def test_trainings_take_all_devices_here_and_one_of_a_cluster() -> None:
    made = plan(tuned(32))
    assert spread(made, 4) == {"train": [4], "prepare": [4]}
    assert spread(made, 4, is_here=False) == {"train": [1], "prepare": [1]}
    assert spread(made, 1) == {"train": [1], "prepare": [1]}


@pytest.mark.parametrize("is_here", [True, False])
def test_the_suites_devices_count_anywhere_up_to_those_that_there_are(is_here: bool) -> None:
    made = plan(tuned(32), devices=2)
    assert spread(made, 4, is_here) == {"train": [2], "prepare": [2]}
    assert spread(made, 1, is_here) == {"train": [1], "prepare": [1]}


@pytest.mark.parametrize(
    ("batch", "devices"), [(64, 8), (48, 6), (40, 5), (30, 3), (2 * LEAST_IMAGES, 2), (15, 1), (37, 1)]
)
def test_shares_are_equal_and_not_too_small(batch: int, devices: int) -> None:
    """The most of 8 devices that divide the batch and leave each at least 8 images."""
    assert spread(plan(tuned(batch), batch=batch), 8) == {"train": [devices], "prepare": [devices]}


def test_what_does_not_train_has_one_device() -> None:
    untuned, searched = tuned(32, tune_steps=0), {"steps": 2, "schedule": "gits"}
    assert spread(plan(untuned, searched), 4) == {"train": [4], "prepare": [1, 1]}


def test_a_number_of_processes_that_a_network_names_stays() -> None:
    """It decides the weights, so they train nowhere else."""
    made = spread_trainings(plan(workers=2), 8, is_here=True)
    (spec,) = (task.spec for task in made.tasks.values() if isinstance(task.spec, TrainSpec))
    assert (spec.devices, spec.ranks()) == (1, 2)
