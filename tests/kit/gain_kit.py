"""Toy rows of gains, and the chains and lines that the report makes of them."""

from __future__ import annotations

import json
import math
from typing import Any

from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.gain_chains import CHAIN, Gain, find_gains
from harness.report.analysis.gains import gains_table
from kit import tables

STUDENT_T = 2.0930240544
"""0.975 quantile of Student's t, 19 degrees of freedom."""


def one(
    method: str, fid: float = 5.0, time: float = 1.0, steps: int = 10, wobble: float = 0.0, **changes: Any
) -> dict[str, Any]:
    """Return a row; its replicates swing by `wobble` about its FID, its time is known to a factor of exp(+-0.01)."""
    ends = {"speedup_low": math.exp(-0.01) / time, "speedup_high": math.exp(0.01) / time}
    changes = {"network": "unet", "schedule": "edm", "steps": steps, "clock_trial_id": "clock", **ends, **changes}
    parameters = changes.pop("parameters_of", {})
    changes["params_json"] = json.dumps(parameters, sort_keys=True)
    identity = tables.trial_id(
        method, steps, changes["network"], changes.get("dataset", ""), changes.get("seed_set", 0)
    )
    made = tables.row(method, changes.pop("nfe", steps), fid, time, **{"trial_id": identity, **changes})
    return {**made, "wobble": wobble}


def baseline(fid: float = 9.0, time: float = 1.0, steps: int = 10, **changes: Any) -> dict[str, Any]:
    return one("ddim", fid, time, steps, is_baseline=True, **changes)


SECOND = {"solver": "dpmpp-2m"}
EXIT = {**SECOND, "network": "uvit", "denoiser": "early-exit"}


def exit_chain() -> list[dict[str, Any]]:
    """Return an early exit with all rows that its chain needs."""
    return [
        baseline(9.0, 1.0),
        one("dpmpp-2m", 5.0, 1.02, **SECOND),
        one("dpmpp-2m", 4.5, 0.51, **SECOND, network="uvit"),
        one("early-exit/dpmpp-2m", 4.7, 0.306, **EXIT),
    ]


def analyse(rows: list[dict[str, Any]]) -> Analysis:
    swings = [
        {"trial_id": row["trial_id"], "attempt": 1, "group": k, "fid": row["fid"] + row["wobble"] * (-1) ** k}
        for row in rows
        if row["fid"] is not None
        for k in range(20)
    ]
    return derive({"trials": DataFrame(rows).drop(columns="wobble"), "quality": DataFrame(swings)})


def gains_of(rows: list[dict[str, Any]], method: str, kind: str = CHAIN, network: str | None = None) -> list[Gain]:
    return [
        gain
        for gain in find_gains(analyse(rows))
        if gain.kind == kind and gain.row["method"] == method and network in (None, gain.row["network"])
    ]


def line(rows: list[dict[str, Any]], trial: str) -> dict[str, str]:
    """Return the cells of a trial's line of the table by their headings."""
    section = gains_table(find_gains(analyse(rows)))
    (found,) = (row for row in section.rows if row[0] == trial)
    return dict(zip(section.headings, found, strict=True))
