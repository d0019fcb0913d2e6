"""From the analysis of time to quality to the plain tables that its figures are drawn from."""

from __future__ import annotations

import math

from pandas import DataFrame

from harness.report.analysis.target_time import AT_SMALLEST, PARTLY
from harness.report.analysis.target_time import REACHED as INSIDE
from harness.report.analysis.time_to_quality import ClassQuality, QualityTime
from harness.report.figures.time_to_quality_figure import AT_MOST, COLUMNS, NOT_REACHED, REACHED


def frames_by_target(quality: ClassQuality) -> dict[float, DataFrame]:
    """Return per FID target, loosest first, a row per method with a serial executor: time per image in a batch."""
    return {
        target: DataFrame(
            [_to_row(quality, quality.times[line.name, target]) for line in quality.serial], None, COLUMNS
        )
        for target in quality.targets
    }


def _to_row(quality: ClassQuality, one: QualityTime) -> dict:
    """Return the columns of one method; a target that some trainings reach only is not reached, and says so."""
    time = one.ranked.time
    state = {INSIDE: REACHED, AT_SMALLEST: AT_MOST}.get(time.state, NOT_REACHED)

    return {
        "method": one.line.method,
        "network": one.line.network,
        "name": one.line.name,
        # where the target is reached
        "state": state,
        "seconds": time.seconds if state != NOT_REACHED else math.nan,
        "low": time.low,
        "high": time.high,
        "best_fid": one.best_fid,
        "rank": math.nan if one.rank is None else float(one.rank),
        # how it is marked
        "is_baseline": one.line.name == quality.baseline,
        "is_below": one.below_limit,
        "is_disturbed": time.disturbed,
        "note": f"reached in {time.reached} of {time.trainings} trainings, " if time.state == PARTLY else "",
    }
