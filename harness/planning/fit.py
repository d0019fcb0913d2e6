"""Fits a plan to the devices of a pool: drops optional trials that need more, refuses others."""

from __future__ import annotations

import logging
from collections.abc import Container
from dataclasses import replace

from harness.errors import UsageError
from harness.planning.plan import Plan

_LOG = logging.getLogger("oneclock.planning.fit")


def drop_unplaceable_trials(plan: Plan, devices: int, finished: Container[str]) -> Plan:
    """Return the plan without optional trials that need more devices than the pool has.

    Logs dropped ones without a finished row; raises UsageError if no other trial is left.
    """
    small = [p for p in plan.trials if p.trial.optional and p.trial.devices > devices]
    kept = tuple(p for p in plan.trials if p not in small)
    missing = [p.trial for p in small if p.id not in finished]
    if missing:
        needs = ", ".join(f"{trial.short} (needs {trial.devices})" for trial in missing)
        sentence = f"left out, as they need more devices than the {devices} that the cluster has: {needs}"
        if not kept:
            raise UsageError(f"{sentence}; no other trial was chosen, so choose others or a larger cluster")
        _LOG.warning(sentence)
    return replace(plan, trials=kept)


def check_pool_size(plan: Plan, devices: int) -> None:
    """Raise UsageError if a trial needs more devices at once than the pool has."""
    for planned in plan.trials:
        if planned.trial.devices > devices:
            raise UsageError(
                f"{planned.trial.short} needs {planned.trial.devices} devices at once; the cluster offers "
                f"{devices}; choose fewer or a larger cluster"
            )
