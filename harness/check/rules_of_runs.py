"""The rules that every run applies to every row, as the table `checks` has them for the method's trials."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.check.finished_trial import FinishedTrial
from harness.check.outcome import CheckOutcome, CheckState, conclude, not_applicable
from harness.check.remedies import find_remedy

_TOO = "the usual sampler fails it too, so look at the machine first: "


def check_finished(trial: FinishedTrial) -> CheckOutcome:
    """Check that the trial ended with a row, which is VALID as far as no rule below says otherwise."""
    row, expected = trial.row, "a finished row"
    reason = str(row["reasons"])
    if not trial.is_sampled or (row["verdict"] != "VALID" and not _failed_rules(trial, trial.planned.id)):
        return conclude(False, reason, expected, find_remedy(reason.partition(":")[0]))
    fid = "" if row["fid"] != row["fid"] else f", FID {row['fid']:.4g}"
    return conclude(True, f"{row['nfe']:g} evaluations an image{fid} on {trial.where}", expected, "")


def read_rules(trials: Sequence[FinishedTrial]) -> list[CheckOutcome]:
    """Return one outcome for each rule that was applied: a failure of any trial, else that of the last one."""
    found: dict[str, CheckOutcome] = {}
    for trial in reversed(trials):
        for outcome in _rules_of(trial):
            before = found.setdefault(outcome.name, outcome)
            if outcome.state is CheckState.failed and before.state is not CheckState.failed:
                found[outcome.name] = outcome
    return list(found.values())


def _rules_of(trial: FinishedTrial) -> Iterator[CheckOutcome]:
    """Yield the rules that were applied to the trial's row; one that could not be tried says why."""
    is_usual = trial.baseline_id == trial.planned.id
    failed_too = set() if is_usual else _failed_rules(trial, trial.baseline_id)
    for row in _applied(trial, trial.planned.id):
        rule, found = str(row["rule"]), str(row["found"])
        if row["holds"] is None:
            yield replace(not_applicable(f"{found}, so it was not tried"), name=rule)
            continue
        to_do = (_TOO if rule in failed_too else "") + find_remedy(rule)
        found += "" if row["holds"] else f" (on {trial.where})"
        yield replace(conclude(bool(row["holds"]), found, str(row["expected"]), to_do), name=rule)


def _failed_rules(trial: FinishedTrial, trial_id: str) -> set[str]:
    return {str(row["rule"]) for row in _applied(trial, trial_id) if row["holds"] is False}


def _applied(trial: FinishedTrial, trial_id: str) -> list[dict[Hashable, Any]]:
    """Return the rows of the table of checks of one trial; `holds` is True, False or None."""
    table = trial.tables.checks
    own = table[table["trial_id"] == trial_id].sort_values("place")
    holds = [None if pd.isna(one) else bool(one) for one in own["holds"]]
    return own.assign(holds=pd.Series(holds, index=own.index, dtype=object)).to_dict("records")
