"""Sentences on families of methods: whether each beats its control, and what it saves over the whole network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from pandas import DataFrame

from harness.report.analysis.comparisons import Comparison
from harness.report.analysis.family_findings import FamilyFindings
from harness.report.analysis.method_lines import distinct_names
from harness.report.analysis.verdicts import ONE_TRAINING, Outcome, control_outcome, finding_sentence
from harness.report.formats import format_interval, format_number

_PLURAL = {
    Outcome.LOWER_FID: "have a lower FID than their controls",
    Outcome.FASTER: "are faster than their controls, FID at most {margin} higher",
    Outcome.NOT_SHOWN: "are not shown to beat their controls",
    Outcome.HIGHER_FID: "do not beat their controls (higher FID)",
    Outcome.RETURNED: "make no claim, because their preparation returned something else",
    Outcome.NO_FINDING: "were measured without an interval, so nothing is found",
}
_COUNTED = {
    Outcome.LOWER_FID: "lower FID than the control",
    Outcome.FASTER: "faster than it, FID at most {margin} higher,",
    Outcome.NOT_SHOWN: "not shown to beat it",
    Outcome.HIGHER_FID: "higher FID",
    Outcome.RETURNED: "no claim",
    Outcome.NO_FINDING: "no interval",
}


def controls_sentence(found: Sequence[FamilyFindings]) -> str:
    """Return in one sentence what each family shows against its controls; empty where no row has a control."""
    with_controls = [one for one in found if one.controls]
    if not with_controls:
        return ""

    # families of one outcome share a clause
    clauses, shared = [], _group(with_controls, _only_outcome)
    for outcome, families in shared.items():
        if outcome is None:
            clauses += [f"{one.family}: {count_outcomes(one.controls)}" for one in families]
        else:
            names = join_words([one.family for one in families])
            words = outcome.value if len(families) == 1 else _PLURAL[outcome]
            margin = _margin([pair for one in families for pair in one.controls])
            clauses.append(f"{names} {words.format(margin=margin)}")
    pairs = [pair for one in with_controls for pair in one.controls]
    return f"Against controls: {'; '.join(clauses)}{_trainings(pairs)}."


def count_outcomes(pairs: Sequence[Comparison]) -> str:
    """Return how many pairs come to what, such as "lower FID than the control in 2 of 5 comparisons, ..."."""
    outcomes = [control_outcome(pair.evidence) for pair in pairs]
    words = {one: _COUNTED[one].format(margin=_margin(pairs)) for one in Outcome if one in outcomes}
    texts = [f"{text} in {outcomes.count(one)}" for one, text in words.items()]
    texts[0] += f" of {len(pairs)} comparisons"
    return ", ".join(texts)


def _margin(pairs: Sequence[Comparison]) -> str:
    """Return the largest margin of the pairs, which all of them state where one is faster within it."""
    return format_number(max(pair.evidence.margin for pair in pairs))


def whole_network_sentence(found: Sequence[FamilyFindings]) -> str:
    """Return in one sentence what leaving out a part of the network saved and cost, family by family.

    Parallel executors save latency over the serial run of the same steps. Empty where neither was measured.
    """
    clauses = [f"{one.family} {_saved(one.whole)}" for one in found if one.whole]
    clauses += [f"{one.family}: {_latency(one.against_serial)}" for one in found if len(one.against_serial)]
    if not clauses:
        return ""
    pairs = [pair for one in found for pair in one.whole]
    what = "the whole network" if pairs else "the serial run"
    return f"Beside {what} at equal steps, each at 95 %: {'; '.join(clauses)}{_trainings(pairs)}."


def _saved(pairs: Sequence[Comparison]) -> str:
    """Return the time over the whole network's and the finding: of one row with intervals, of more as ranges."""
    known = [pair.time for pair in pairs if not math.isnan(pair.time)]
    if not known:
        time = "at an unknown share of its time"
    elif len(pairs) == 1:
        ends = format_interval(pairs[0].time_low, pairs[0].time_high)
        time = f"{format_number(known[0])} {ends}{' ' if ends else ''}of its time{_time_shown(pairs[0])}"
    else:
        time = f"{format_number(min(known))} to {format_number(max(known))} of its time"

    findings = [_plain_finding(pair) for pair in pairs]
    if len(pairs) == 1:
        return f"{time}, {findings[0]}"
    faster = sum(pair.time_high < 1 for pair in pairs)
    counted = ", ".join(f"{text} in {findings.count(text)}" for text in dict.fromkeys(findings))
    return f"{time} in {len(pairs)} rows (less shown in {faster}; {counted})"


def _time_shown(pair: Comparison) -> str:
    return "" if pair.time_high < 1 or pair.time_low > 1 else " (less is not shown)"


def _plain_finding(pair: Comparison) -> str:
    return finding_sentence(pair.evidence).removesuffix(ONE_TRAINING)


def _latency(rows: DataFrame) -> str:
    """Return the speed over the serial run of the row whose interval has the highest lower end, and of how many.

    A looser tolerance is faster and further from the serial images. No suite names a limit to that distance, so it is
    given with the speed and leaves out no row. Of rows without an interval one is chosen only where none has any.
    """
    order = ["speedup_over_serial_low", "speedup_over_serial", "trial_id"]
    best = rows.assign(_name=distinct_names(rows)).sort_values(order, na_position="first").iloc[-1]
    low, high = best["speedup_over_serial_low"], best["speedup_over_serial_high"]
    value = f"{format_number(best['speedup_over_serial'])} times {format_interval(low, high)}".strip()
    distance = best["distance_to_serial"]
    away = "at an unknown distance" if math.isnan(distance) else f"at relative distance {format_number(distance)}"
    of = f" (the best of {len(rows)} rows, not corrected for that)" if len(rows) > 1 else ""
    words = "" if low > 1 else " (slower)" if high < 1 else " (no difference shown)"
    speed = f"{best['_name']} at {value} the speed of the serial run by latency{words}"
    return f"{speed}, its images {away} from the serial ones{of}"


def _only_outcome(one: FamilyFindings) -> Outcome | None:
    """Return the outcome that all pairs of a family share, None where they differ."""
    outcomes = {control_outcome(pair.evidence) for pair in one.controls}
    return outcomes.pop() if len(outcomes) == 1 else None


def _group(
    found: Iterable[FamilyFindings], key: Callable[[FamilyFindings], Outcome | None]
) -> dict[Outcome | None, list[FamilyFindings]]:
    """Return the families by what they share, in the order of outcomes."""
    groups: dict[Outcome | None, list[FamilyFindings]] = {outcome: [] for outcome in (*Outcome, None)}
    for one in found:
        groups[key(one)].append(one)
    return {outcome: families for outcome, families in groups.items() if families}


def _trainings(pairs: Sequence[Comparison]) -> str:
    """Return what the sentence must end with where pairs come from one training."""
    single = sum(pair.trainings == 1 and pair.evidence.of_one_training for pair in pairs)
    if not single:
        return ""
    return ONE_TRAINING if single == len(pairs) else f"; {single} of {len(pairs)} comparisons are of one training"


def join_words(words: Sequence[str]) -> str:
    """Return "a", "a and b", or "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
