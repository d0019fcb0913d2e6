"""Fits a plan to the devices of a pool: drops optional trials that need more, refuses others, spreads trainings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from dataclasses import dataclass, replace

from harness.errors import UsageError
from harness.planning.plan import Plan
from harness.registry import registry
from harness.specs.base import Spec
from harness.specs.prepare import PrepareSpec
from harness.specs.train import TrainSpec
from methods.networks.drawn_loss import DrawnLoss

LEAST_IMAGES = 8
"""Images of a batch that a device has at least where several train together: with fewer they wait for each other."""
_LOG = logging.getLogger("oneclock.planning.fit")


@dataclass(frozen=True)
class _Words:
    """How a sentence names what has the devices, and what to do where they are too few."""

    has: str
    offers: str
    mend: str


_CLUSTER = _Words("the cluster has", "the cluster offers {}", "a larger cluster")
_PROCESS = _Words("a run in one process has", "a run in one process has {}", "run without --in-process")


def drop_unplaceable_trials(plan: Plan, devices: int, finished: Container[str], in_process: bool = False) -> Plan:
    """Return the plan without optional trials that need more devices than the pool has.

    Logs dropped ones without a finished row; raises UsageError if no other trial is left.
    """
    words = _PROCESS if in_process else _CLUSTER
    small = [p for p in plan.trials if p.trial.optional and p.trial.devices > devices]
    kept = tuple(p for p in plan.trials if p not in small)
    missing = [p.trial for p in small if p.id not in finished]
    if missing:
        needs = ", ".join(f"{trial.short} (needs {trial.devices})" for trial in missing)
        sentence = f"left out, as they need more devices than the {devices} that {words.has}: {needs}"
        if not kept:
            raise UsageError(f"{sentence}; no other trial was chosen, so choose others or {words.mend}")
        _LOG.warning(sentence)
    return replace(plan, trials=kept)


def spread_trainings(plan: Plan, devices: int, is_here: bool) -> Plan:
    """Return the plan with the number of devices for each of its trainings and preparations that train.

    It is the suite's number; without one all of this machine where the run is here, else one.
    """
    most = min(plan.suite.devices or (devices if is_here else 1), devices)
    tasks = {task_id: replace(task, spec=_spread(task.spec, most)) for task_id, task in plan.tasks.items()}
    return replace(plan, tasks=tasks)


def _spread(spec: Spec, most: int) -> Spec:
    """Return the spec of a task with its devices; of any that does not train as it is."""
    batch = _trained_batch(spec)
    if batch is None:
        return spec
    fitting = (n for n in range(most, 1, -1) if batch % n == 0 and batch // n >= LEAST_IMAGES)
    return spec.model_copy(update={"devices": next(fitting, 1)})


def _trained_batch(spec: Spec) -> int | None:
    """Return the images of a step of what a task trains on any number of devices; None where it does not."""
    if isinstance(spec, PrepareSpec):
        return registry().make(spec.part, spec.method.name, spec.params()).train_batch
    if isinstance(spec, TrainSpec):
        draws_apart = not issubclass(registry().network(spec.network.family), DrawnLoss)
        return None if draws_apart or spec.train.workers is not None else spec.train.batch
    return None


def check_pool_size(plan: Plan, devices: int, in_process: bool = False) -> None:
    """Raise UsageError if a trial needs more devices at once than the pool has."""
    words = _PROCESS if in_process else _CLUSTER
    for planned in plan.trials:
        if planned.trial.devices > devices:
            raise UsageError(
                f"{planned.trial.short} needs {planned.trial.devices} devices at once; {words.offers.format(devices)}; "
                f"choose fewer or {words.mend}"
            )


def check_single_device(plan: Plan, has_weights: Callable[[str], bool]) -> None:
    """Raise UsageError for what a run in one process cannot do: trials and trainings on several devices at once.

    Optional trials are dropped later. `has_weights` is called with the ids of trainings; those that are done pass.
    """
    check_pool_size(replace(plan, trials=tuple(p for p in plan.trials if not p.trial.optional)), 1, in_process=True)
    for planned in plan.trials:
        task = None if planned.trial.weights_id is None else plan.tasks[planned.trial.weights_id]
        if task is not None and task.ranks > 1 and not has_weights(task.id):
            raise UsageError(
                f"{task.label} needs {task.ranks} devices at once; {_PROCESS.offers.format(1)}; {_PROCESS.mend}, or "
                f"with --set networks.{planned.trial.network.name}.train.workers=1, which trains other weights"
            )
