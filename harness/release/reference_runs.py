"""Whether the committed reference runs are of the tree's code: a plan of today must find all its rows there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.release.findings import ReleaseFinding
from harness.storage.store import Store

if TYPE_CHECKING:
    from harness.planning.plan import Plan

REFERENCE = Path("results") / "reference"
_PART = "reference"
_KINDS = ("cpu", "cuda")
_SHOWN = 3
_VALID = "VALID"


def check_reference_runs(root: Path) -> Iterator[ReleaseFinding]:
    """Yield a finding on each run below results/reference; nothing is run or written."""
    folders = sorted(path.parent for path in (root / REFERENCE).glob("*/store.json"))
    if not folders:
        yield ReleaseFinding(_PART, f"{REFERENCE} holds no run", "see CONTRIBUTING.md, A reference run")
    for folder in folders:
        try:
            yield _check_run(folder)
        except HarnessError as error:
            yield ReleaseFinding(_PART, f"{folder.name}: {error}", f"see `oneclock plan {folder.name}`")


def _check_run(folder: Path) -> ReleaseFinding:
    snapshot = Store(folder).snapshot()
    verdicts, rows = snapshot.finished(), snapshot.latest()
    devices = sorted(set(map(str, rows["device_name"].dropna())))
    again = f"run `make benchmark SUITE={folder.name}` on an idle machine and commit it"
    if len(devices) != 1 or snapshot.damage:
        found = str(snapshot.damage[0]) if snapshot.damage else f"rows of {len(devices)} devices"
        return ReleaseFinding(_PART, f"{folder.name}: {found}", again)

    # on the device that the rows are of, whatever this machine has
    plans = (plan_on(folder.name, f"{kind}:{devices[0]}", devices[0]) for kind in _KINDS)
    plan = next((one for one in plans if set(one.listed_ids) & set(verdicts)), None)
    if plan is None:
        commits = ", ".join(sorted({str(sha)[:10] for sha in rows["git_sha"].dropna()}))
        found = f"none of {len(verdicts)} rows is of this code, these settings and libraries (measured at {commits})"
        return ReleaseFinding(_PART, f"{folder.name}: {found}", again)
    return _compare(folder.name, plan, verdicts, again)


def plan_on(suite: str, device_class: str, device_name: str) -> Plan:
    """Return the plan of a suite on a class of devices, which need not be here."""
    from harness.config.suite import load_suite
    from harness.planning.plan import make_plan

    return make_plan(load_suite(suite), device_class, device_name, data_may_be_absent=True)


def _compare(name: str, plan: Plan, verdicts: dict[str, str], again: str) -> ReleaseFinding:
    trials = zip(plan.listed_ids, plan.listed, strict=True)
    missing = [trial.short for trial_id, trial in trials if verdicts.get(trial_id) != _VALID]
    if not missing:
        return ReleaseFinding(_PART, f"{name}: all {len(plan.listed)} rows are of this code")
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    absent = f"; {plan.absent[0]}" if plan.absent else ""
    found = f"{len(missing)} of {len(plan.listed)} rows would be run: {', '.join(missing[:_SHOWN])}{more}{absent}"
    return ReleaseFinding(_PART, f"{name}: {found}", again)
