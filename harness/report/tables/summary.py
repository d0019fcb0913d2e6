"""The sentences that the report begins with, made from the first class: fastest, best, below the limit."""

from __future__ import annotations

import math

from pandas import DataFrame

from harness.report.analysis.method_lines import distinct_names
from harness.report.analysis.target_time import AT_SMALLEST, PARTLY, REACHED
from harness.report.analysis.time_to_quality import ClassQuality, QualityTime, rank_order
from harness.report.formats import format_count, format_number
from harness.report.tables.cells import interval_text


def summary_sentences(quality: ClassQuality, rows: DataFrame) -> list[str]:
    """Return two to four sentences on a class; `rows` are its trials."""
    found = [_fastest(quality), _best(rows), _without_a_curve(quality), _below(quality)]
    return [sentence for sentence in found if sentence]


def _fastest(quality: ClassQuality) -> str:
    """Return who reaches the tightest target first, and the baseline's time to it."""
    if not quality.targets:
        return "The suite names no FID targets, so no method is called the fastest."
    for target in reversed(quality.targets):
        times = sorted((quality.times[line.name, target] for line in quality.serial), key=rank_order)
        reached = [one for one in times if one.ranked.time.state in (REACHED, AT_SMALLEST)]
        if not reached:
            continue

        # the first, and the baseline
        first = reached[0]
        most = "at most " if first.ranked.time.state == AT_SMALLEST else ""
        where = ", in one training" if first.ranked.time.trainings == 1 else ""
        return (
            f"FID {format_count(target)} is reached first by {first.line.name}, in {most}{_milliseconds(first)} "
            f"ms/image{_beside_baseline(first, quality)}{where}{_ties(times)}."
        )
    return f"No serial method reaches FID {format_count(quality.targets[0])}."


def _beside_baseline(first: QualityTime, quality: ClassQuality) -> str:
    """Return what the baseline takes to the same target, nothing where it is the first itself."""
    plain = quality.times.get((quality.baseline, first.target))
    if plain is None or plain is first:
        return ""
    time = plain.ranked.time
    if time.state == PARTLY:
        return f"; the baseline {quality.baseline} reaches it in {time.reached} of {time.trainings} trainings"
    if math.isnan(time.seconds):
        return f"; the baseline {quality.baseline} does not reach it"
    return f"; the baseline {quality.baseline} takes {_milliseconds(plain)} ms"


def _ties(times: list[QualityTime]) -> str:
    """Return how many lines have a time that may be that of the first."""
    count = sum(one.ties_with_first for one in times)
    return f"; {count} other{'' if count == 1 else 's'} cannot be told from it" if count else ""


def _milliseconds(one: QualityTime) -> str:
    return format_number(one.ranked.time.seconds * 1e3)


def _best(rows: DataFrame) -> str:
    """Return the row of lowest FID, and how many do not differ from it."""
    known = rows.assign(_name=distinct_names(rows)).dropna(subset=["fid"]).sort_values(["fid", "trial_id"])
    if known.empty:
        return ""
    first = known.iloc[0]
    ties = int((known["tie_group"] == 1).sum()) - 1
    fid = interval_text(first["fid"], first["fid_low"], first["fid_high"])
    return f"The lowest FID is that of {first['_name']}, {fid}. Rows that cannot be told from it: {ties}."


def _without_a_curve(quality: ClassQuality) -> str:
    lines = (*quality.serial, *quality.parallel)
    alone = sum(line.rows["steps"].nunique() < 2 for line in lines)
    if not alone or not quality.targets:
        return ""
    return f"Methods of one step count, so without a curve and a rank by time to quality: {alone} of {len(lines)}."


def _below(quality: ClassQuality) -> str:
    count = len(quality.below_limit)
    if not count:
        return ""
    return f"Rows significantly below their network's own limit, where errors of sampler and network cancel: {count}."
