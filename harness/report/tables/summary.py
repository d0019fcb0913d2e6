"""The sentences that a report begins with, from its tables alone: fastest, best, families, what failed.

None says more than the tables show: where intervals overlap no row is called the fastest or the best, an open end of
an interval is said, and what comes from one training ends so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pandas import DataFrame, Series

from harness.report.analysis.comparisons import Comparison
from harness.report.analysis.derive import Analysis, ResourceClass, ranking_speedup
from harness.report.analysis.family_findings import find_by_family
from harness.report.analysis.method_lines import distinct_names
from harness.report.analysis.target_time import AT_SMALLEST, MAY_REACH, PARTLY, REACHED
from harness.report.analysis.time_ties import overlap_in_time
from harness.report.analysis.time_to_quality import ClassQuality, QualityTime, rank_order
from harness.report.analysis.verdicts import EXACT, ONE_TRAINING
from harness.report.formats import format_count, format_interval, format_number
from harness.report.literature import literature_clause
from harness.report.tables.cells import interval_text
from harness.report.tables.family_sentences import controls_sentence, whole_network_sentence
from harness.schema.trial_name import trial_name

KNOWN_ANSWER = "known-answer"
"""The rule of rows whose figures theory gives."""
NOTHING_RANKS = "No trial has a VALID row yet, so nothing ranks."
_LONGEST_REASON = 60
_ROUNDING = 1e-9
"""By how much equal prices may differ, relative, as means of trainings."""
_MOST_REASONS = 3


def summary_sentences(
    one: ResourceClass, quality: ClassQuality, analysis: Analysis, pairs: Sequence[Comparison]
) -> list[str]:
    """Return what a class shows in up to four sentences: fastest at equal quality, best quality, families twice.

    `quality` are the lines of the class, `pairs` the comparisons of the analysis.
    """
    families = find_by_family(one, analysis, pairs)
    found = [
        fastest_sentence(quality) if quality.targets else _largest_speedup(one),
        _best(one.rows, quality),
        controls_sentence(families),
        whole_network_sentence(families),
    ]
    return [sentence for sentence in found if sentence]


def failures_sentence(invalid: DataFrame, trials: int) -> str:
    """Return what does not rank, of so many trials, with its commonest reasons."""
    if invalid.empty:
        return f"Nothing failed: all {trials} trials are VALID." if trials else "No trial has been run."
    failed = int((invalid["status"] == "failed").sum())
    counts = [f"{count} {word}" for count, word in ((failed, "failed"), (len(invalid) - failed, "INVALID")) if count]

    # the commonest reasons
    reasons = invalid["reasons"].map(_short_reason).replace("", "no reason was recorded").value_counts(sort=False)
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], str(item[0])))
    shown = "; ".join(f"{reason} ({count})" if count > 1 else str(reason) for reason, count in ordered[:_MOST_REASONS])
    more = f"; {len(ordered) - _MOST_REASONS} further reasons" if len(ordered) > _MOST_REASONS else ""
    return f"Of {trials} trials {len(invalid)} do not rank, {' and '.join(counts)}: {shown}{more}."


def limits_sentence(one: ResourceClass, quality: ClassQuality) -> str:
    """Return what a class does not show: on how much its figures rest, and what they say nothing of."""
    key, rows = one.key, one.rows
    trainings = _trainings_behind(rows)
    disturbed = int((rows["disturbed"] != "").sum())
    parts = [
        f"{key['n_images']:.0f} images a row from {trainings} on {key['dataset'] or 'an unnamed data set'}",
        f"features of {key['extractor'] or 'an unnamed network'}{literature_clause(str(key['extractor']))}",
        f"times of one kind of device ({key['device_name'] or 'unnamed'})"
        + (f", disturbed in {disturbed} of {len(rows)} rows" if disturbed else ""),
    ]

    cancelled = len(quality.below_limit)
    below = f" {cancelled} of the rows lie below their network's own limit, where errors cancel." if cancelled else ""
    return (
        f"What this does not show: other data, networks, sizes or devices, and differences too small for "
        f"{'; '.join(parts)}. Where no difference is shown, none is excluded.{below}"
    )


def _trainings_behind(rows: DataFrame) -> str:
    if (rows["weights"] == EXACT).all():
        return "an exact network"
    most, fewest = rows["trainings"].max(), rows["trainings"].min()
    trainings = f"{most:.0f} trainings" if most > 1 else "one training"
    return f"{trainings} of each network" if fewest == most else f"{fewest:.0f} to {trainings} of a network"


def other_classes(analysis: Analysis) -> str:
    """Return a sentence on the rows that are ranked apart from the first class; empty where there is one class."""
    others = sum(len(one.rows) for one in analysis.classes[1:])
    if not others:
        return ""
    data = sorted({str(one.key["dataset"]) for one in analysis.classes[1:]} - {str(analysis.classes[0].key["dataset"])})
    named = f" ({', '.join(data)})" if data else ""
    return (
        f" {others} row{' is' if others == 1 else 's are'} ranked apart, of other devices, data or conditions{named}."
    )


def known_answers_sentence(analysis: Analysis) -> str:
    """Return whether the rows recovered what theory says; empty for a suite without `[[expect]]`."""
    checks = analysis.tables["checks"]
    known = checks[checks["rule"] == KNOWN_ANSWER]
    if known.empty:
        return ""
    missed = known[~known["holds"]]
    if missed.empty:
        return f"Theory was recovered: all {len(known)} known answers hold."
    trials = analysis.trials.set_index("trial_id")
    names = [_known_answer(trials.loc[row["trial_id"]], row) for _, row in missed.iterrows()]
    more = f"; and {len(names) - _MOST_REASONS} more" if len(names) > _MOST_REASONS else ""
    return (
        f"Theory was not recovered: of {len(known)} known answers {len(names)} missed: "
        f"{'; '.join(names[:_MOST_REASONS])}{more}."
    )


def _known_answer(trial: Series, check: Series) -> str:
    name = trial_name(trial["network"], trial["method"], trial["steps"])
    return f"{name} on {trial['dataset']}, whose {check['found']}, expected {check['expected']}"


def _short_reason(text: str) -> str:
    """Return the first clause of a row's reasons."""
    first = text.split(";")[0].split(":")[0].strip()
    return first if len(first) <= _LONGEST_REASON else f"{first[:_LONGEST_REASON].rstrip()}..."


def fastest_sentence(quality: ClassQuality) -> str:
    """Return which method reaches the tightest target that is shown to be reached first, and the baseline's time.

    A class without targets has none.
    """
    found = _choose_target(quality)
    if found is None:
        return f"No serial method reaches FID {format_count(quality.targets[0])}, the loosest target."
    first, times = found
    ties = _count_ties(first, times)
    text = f"{first.line.name} ({_time_text(first, quality)})"

    is_exact = (first.line.rows["weights"] == EXACT).all()
    one_training = ONE_TRAINING if first.ranked.time.trainings == 1 and not is_exact else ""
    tie = f", a tie of {ties + 1} methods" if ties else ""
    text = f"Fastest to FID {format_count(first.target)}{tie}: {text}"
    return f"{text}; {_beside_baseline(first, quality)}{one_training}."


def _choose_target(quality: ClassQuality) -> tuple[QualityTime, list[QualityTime]] | None:
    """Return the first method at a target, and all times there; None where no serial method reaches any target.

    It is the tightest target that some method reaches with the whole interval of its FID; without one, the tightest
    that is reached by a FID alone.
    """
    by_fid_alone = None
    for target in reversed(quality.targets):
        times = sorted((quality.times[line.name, target] for line in quality.serial), key=rank_order)
        reached = [one for one in times if one.ranked.time.state in (REACHED, AT_SMALLEST)]
        surely = [one for one in reached if not math.isnan(one.ranked.time.high)]
        if surely:
            return surely[0], times
        if reached and by_fid_alone is None:
            by_fid_alone = reached[0], times
    return by_fid_alone


def _count_ties(first: QualityTime, times: list[QualityTime]) -> int:
    """Return how many other methods have a time that may be that of `first`, or a shorter one that is not sure."""
    others = [one for one in times if one is not first and one.ranked.time.state in (REACHED, AT_SMALLEST)]
    if first is times[0]:
        return sum(one.ties_with_first for one in others)
    return sum(overlap_in_time(first.ranked.time, one.ranked.time) for one in others)


def _time_text(one: QualityTime, quality: ClassQuality) -> str:
    time = one.ranked.time
    plain = quality.times.get((quality.baseline, one.target))
    baseline = one.line.rows if plain is None else plain.line.rows
    most = "at most " if time.state == AT_SMALLEST else ""
    ends = format_interval(time.low * 1e3, time.high * 1e3)
    interval = f", 95 % interval {ends}" if ends else ""
    unsure = ", within its interval its FID may not reach it" if math.isnan(time.high) else ""
    return (
        f"{most}{format_number(time.seconds * 1e3)} ms an image{interval}{unsure}{_unpriced(one.line.rows, baseline)}"
    )


def _unpriced(rows: DataFrame, baseline: DataFrame) -> str:
    """Return what a time leaves out, where a part of the method was tuned or searched.

    Older tables do not name what was prepared; there it is what cost more than the baseline of as many trainings.
    """
    alike = baseline[baseline["trainings"].isin(rows["trainings"])]
    price = (baseline if alike.empty else alike)["prepare_seconds"].max() * (1 + _ROUNDING)
    is_prepared = (rows["prepared"] != "") | (rows["prepare_seconds"] > price)
    return ", its preparation not counted" if is_prepared.any() else ""


def _beside_baseline(first: QualityTime, quality: ClassQuality) -> str:
    """Return what the suite's baseline takes to the same target, and its time over the first's."""
    plain = quality.times.get((quality.baseline, first.target))
    if plain is None:
        return f"the suite's baseline {quality.no_baseline}"
    if plain is first:
        return "it is the suite's baseline"

    # not reached
    time, name = plain.ranked.time, f"the baseline {quality.baseline}"
    if time.state == PARTLY:
        return f"{name} reaches it in {time.reached} of {time.trainings} trainings"
    if math.isnan(time.seconds):
        if any(MAY_REACH in note for note in time.notes):
            return f"{name} is not shown to reach it"
        best = "" if math.isnan(plain.best_fid) else f" (its lowest FID is {format_number(plain.best_fid)})"
        return f"{name} does not reach it{best}"

    # the ratio of times
    ratio = first.ranked.over_baseline
    if math.isnan(ratio.value):
        return f"{name} takes {_time_text(plain, quality)}"
    sign = {">=": "at least ", "<=": "at most "}.get(ratio.sign, "")
    ends = format_interval(ratio.low, ratio.high)
    shown = "" if ratio.low > 1 else ", which is not shown to be longer"
    return f"{name} takes {sign}{format_number(ratio.value)} times as long {ends}".rstrip() + shown


def _largest_speedup(one: ResourceClass) -> str:
    """Return the row with the largest speed-up at equal quality, for suites without targets."""
    if one.baseline.empty:
        return f"The suite's baseline {one.no_baseline}, so there is no speed-up at equal quality."
    return equal_quality_sentence(one.rows, one.baseline) or "No row has a speed-up over the baseline at equal quality."


def equal_quality_sentence(rows: DataFrame, baseline: DataFrame) -> str:
    """Return which of some rows has the largest speed-up over the baseline at equal quality; empty where none has.

    A row whose speed-up is known by an upper bound alone is not the largest.
    """
    rows = rows.assign(_name=distinct_names(rows), _gain=ranking_speedup(rows))
    known = rows[~rows["is_baseline"] & rows["equal_quality_speedup_at_most"].isna()].dropna(subset=["_gain"])
    if known.empty:
        return ""

    # the largest, and what may be as large
    first = known.sort_values(["_gain", "trial_id"]).iloc[-1]
    low, high = first["equal_quality_speedup_low"], first["equal_quality_speedup_high"]
    at_least = "" if math.isnan(first["equal_quality_speedup_at_least"]) else "at least "
    shown = "" if low > 1 else "; it is not shown to be faster than the baseline"
    ties = int((known["equal_quality_speedup_high"].fillna(math.inf) >= low).sum()) - 1 if low > 1 else 0
    others = f"; {ties} other row{'' if ties == 1 else 's'} may be as fast" if ties else ""

    ends = format_interval(low, high)
    return (
        f"The largest speed-up over the baseline at equal quality is that of {first['_name']}, {at_least}"
        f"{format_number(first['_gain'])} times {ends}{' ' if ends else ''}at FID {format_number(first['fid'])}"
        f"{_unpriced(first.to_frame().T, baseline)}{shown}{others}{_one_training(first)}."
    )


def _best(rows: DataFrame, quality: ClassQuality) -> str:
    """Return the row of lowest FID, and how many may be equal to it; rows without an interval have no order."""
    known = rows.assign(_name=distinct_names(rows)).dropna(subset=["fid"]).sort_values(["fid", "trial_id"])
    if known.empty:
        return ""
    first = known.iloc[0]
    ties = int((known["tie_group"] == 1).sum()) - 1
    bare = known["fid_low"].isna() | known["fid_high"].isna()
    text = f"{first['_name']}, {interval_text(first['fid'], first['fid_low'], first['fid_high'])}"

    if len(known) == 1:
        return f"The only row with a FID is {text}{_one_training(first)}."
    if bare.iloc[0] or bare.iloc[1:].all():
        return f"Lowest FID: {text}; without intervals no order is shown{_one_training(first)}."
    left = f"; of {bare.sum()} without an interval no order is shown" if bare.any() else ""
    if not ties:
        others = "each other row's with an interval" if left else "each other row's"
        return f"Lowest FID: {text}; {others} is shown to be higher{left}{_one_training(first)}."
    return f"Lowest FID, a tie of {ties + 1} rows: {text}{left}{_one_training(first)}."


def _one_training(row: Series) -> str:
    return ONE_TRAINING if row["trainings"] == 1 and row["weights"] != EXACT else ""
