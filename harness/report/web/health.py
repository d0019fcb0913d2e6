"""Whether the times of a report can be trusted, in one line: the A/A interval, and what other work disturbed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.report.analysis.derive import Analysis
from harness.report.analysis.method_lines import distinct_names
from harness.report.analysis.times import disturbed_banner

_MOST_NAMES = 4


@dataclass(frozen=True)
class Health:
    """The state of the times: GOOD, DOUBTFUL or BAD, and its sentence."""

    state: str
    text: str
    explanation: str
    """What the text means, for a tooltip."""


GOOD, DOUBTFUL, BAD = "good", "doubtful", "bad"
_A_A = "A/A: the clock timed against itself, its speed-up's 95 % interval with drift between timing blocks included. "
_RATIOS = "A ratio of times inside it is a tie."


def read_health(analysis: Analysis) -> Health | None:
    """Return the health of the first class's times, BAD where most rows of any class were disturbed.

    None where nothing ranks.
    """
    if not analysis.classes:
        return None
    banners = [text for one in analysis.classes if (text := disturbed_banner(one.rows))]
    if banners:
        return Health(BAD, " ".join(banners), "")

    # the clock against itself
    one = analysis.classes[0]
    low, high = one.floor
    if one.rows["relative_time"].isna().all():
        return Health(DOUBTFUL, "No row was timed", "The suite measures no times, or none was kept.")
    if math.isnan(low) or math.isnan(high):
        return Health(DOUBTFUL, "No A/A interval: the clock was not timed against itself", _A_A)
    interval = f"A/A {low:.2f} to {high:.2f}"
    if not low <= 1 <= high:
        return Health(BAD, f"{interval} leaves out 1: times of this run are biased", _A_A)

    # rows that other work disturbed
    disturbed = one.rows[one.rows["disturbed"] != ""]
    if len(disturbed):
        names = distinct_names(disturbed)
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        text = f"{interval}; {len(names)} of {len(one.rows)} rows disturbed: {', '.join(names[:_MOST_NAMES])}{more}"
        return Health(DOUBTFUL, text, f"{_A_A}{_RATIOS} Intervals of disturbed rows are wide accordingly.")
    watched = one.rows["cpu_share"].notna().all()
    state = "idle machine" if watched else "not known whether other work ran"
    return Health(GOOD if watched else DOUBTFUL, f"{interval}, {state}", f"{_A_A}{_RATIOS}")
