"""What is known of one trial besides its figures: its parts, its controls, the command that runs it again."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pandas import Series

from harness.report.analysis.alike import PARTS
from harness.report.analysis.comparisons import CONTROL, Comparison
from harness.report.formats import DASH, format_interval, format_number
from harness.schema.trial_name import trial_name

IS_CONTROL = "is the control of"


@dataclass(frozen=True)
class PairText:
    """A comparison of a trial with another, as it is printed."""

    kind: str
    """What the other is to it: the whole network, a control, or IS_CONTROL."""
    other: str
    """Printed name of the other."""
    fid: str
    """Difference of FID, with its 95 % interval."""
    time: str
    """Ratio of times, with its 95 % interval."""
    finding: str


def rerun_command(row: Series) -> str:
    """Return the command that runs the trial again, quoted for a shell."""
    name = trial_name(row["network"], row["method"], row["steps"])
    return f"oneclock run {shlex.quote(row['suite'] or 'SUITE')} --only {shlex.quote(name)}"


def part_texts(row: Series) -> list[tuple[str, str, str]]:
    """Return each part, its name and its parameters as one text."""
    try:
        known = json.loads(row["params_json"] or "{}")
    except ValueError:
        known = {}
    known = known if isinstance(known, dict) else {}

    found = []
    for part in PARTS:
        own = known.get(part)
        texts = [f"{name} = {_json_text(value)}" for name, value in own.items()] if isinstance(own, dict) else []
        found.append((part, str(row[part]), ", ".join(texts)))
    return found


def pair_texts(pairs: Iterable[Comparison], names: Mapping[str, str]) -> dict[str, list[PairText]]:
    """Return the comparisons of each trial by its trial_id, as the claim or as the control.

    `names` are the printed names by trial_id.
    """
    found: dict[str, list[PairText]] = {}
    for pair in pairs:
        claim, other = pair.row["trial_id"], pair.other["trial_id"]
        half = pair.difference_half
        fid = f"{_number(pair.difference)} {format_interval(pair.difference - half, pair.difference + half)}".strip()
        time = f"{_number(pair.time)} {format_interval(pair.time_low, pair.time_high)}".strip()
        finding = pair.verdict if pair.kind == CONTROL else pair.finding
        found.setdefault(claim, []).append(PairText(pair.kind, names[other], fid, time, finding))
        if pair.kind == CONTROL:
            found.setdefault(other, []).append(PairText(IS_CONTROL, names[claim], fid, time, finding))
    return found


def _json_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    return DASH if math.isnan(value) else format_number(value)
