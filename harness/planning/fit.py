"""Does a plan fit the devices of a pool? What is optional is left out, what is not is refused."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace

from harness.errors import UsageError
from harness.planning.plan import Plan


def leave_out(plan: Plan, devices: int, finished: Container[str], say: Callable[[str], None]) -> Plan:
    """Return the plan without its optional trials that need more devices at once than the pool has.

    Says once which ones are missing for that; raises UsageError if nothing else was asked for.
    """
    small = [p for p in plan.trials if p.trial.optional and p.trial.devices > devices]
    kept = tuple(p for p in plan.trials if p not in small)
    missing = [p.trial for p in small if p.id not in finished]
    if missing:
        needs = ", ".join(f"{trial.short} (needs {trial.devices})" for trial in missing)
        sentence = f"left out for want of devices, of which the cluster offers {devices}: {needs}"
        if not kept:
            raise UsageError(f"{sentence}; nothing else was asked for, so choose other trials or a larger cluster")
        say(sentence)
    return replace(plan, trials=kept)


def check_pool(plan: Plan, devices: int) -> None:
    """Raise UsageError if a trial needs more devices at once than the pool has."""
    for planned in plan.trials:
        if planned.trial.devices > devices:
            raise UsageError(
                f"{planned.trial.short} needs {planned.trial.devices} devices at once; the cluster offers "
                f"{devices}; choose fewer or a larger cluster"
            )
