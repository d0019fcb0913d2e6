"""The smallest suite that can be planned, and what tests ask of its plan."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from harness.config.suite import Suite
from harness.data.cards import DatasetCard
from harness.errors import DataAbsentError
from harness.planning.plan import Plan, PlannedTrial, make_plan

SUITE: dict[str, Any] = {
    "name": "mine", "title": "t", "dataset": "gaussian", "network": "analytic", "extractor": "pixels", "n_images": 130,
    "batch": 10, "baseline": {"clock_steps": 2}, "trials": [{"steps": [2, 3]}],
}  # fmt: skip


def plan(device: str = "cpu:a chip", name: str = "a chip", only: str | None = None, **changes: Any) -> Plan:
    return make_plan(Suite.model_validate({**SUITE, **changes}), device, name, only)


def last(**changes: Any) -> PlannedTrial:
    return plan(**changes).trials[-1]


def with_train(**train: Any) -> dict[str, Any]:
    return {"dataset": "digits", "network": "unet-tiny", "networks": {"unet-tiny": {"train": train}}}


def ids(one: PlannedTrial) -> tuple[Any, ...]:
    """Return the ids of a trial, and of the tasks of its own."""
    return one.id, one.trial.weights_id, one.row.sample_ids, one.row.score_id, one.row.time_id


def reference(made: Plan) -> str:
    """Return the id of the one reference of a plan."""
    (task,) = (task for task in made.tasks.values() if task.kind == "reference")
    return task.id


def leave_no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plans find no pictures on this machine."""

    def absent(card: DatasetCard, split: str) -> NoReturn:
        raise DataAbsentError(f"no pictures of {card.name}, split {split}")

    monkeypatch.setattr("harness.planning.plan.load_split", absent)
