"""Pairs of rows as tables of text and as CSV."""

from __future__ import annotations

import csv
import io
import math

from pandas import Series

from harness.report.analysis.comparisons import CONTROL, WHOLE, WHOLE_TUNED, Comparison, control_families
from harness.report.analysis.limits import LIMIT_HEADING, limit_text
from harness.report.analysis.saved_work import LEAST_SAVING
from harness.report.analysis.verdicts import ERROR_RATE
from harness.report.formats import DASH, Section, escape_csv, format_interval, format_number
from harness.schema.trial_name import trial_name

_CSV_COLUMNS = (
    "kind", "trial_id", "network", "method", "steps", "nfe", "other_trial_id", "other_network", "other_method", "fid",
    "other_fid", "trainings", "fid_difference", "fid_difference_low", "fid_difference_high",
    "fid_difference_by_training", "p", "p_holm", "family", "equivalence_margin", "truncation_error",
    "other_truncation_error", "truncation_difference", "truncation_difference_low", "truncation_difference_high",
    "parameters_ratio", "flops_ratio", "time_ratio", "time_ratio_low", "time_ratio_high", "flops_to_time_yield",
    "flops_to_time_yield_note", "finding",
)  # fmt: skip
_OVER_TRAININGS = (
    "Differences are taken within each training, from the same noise; over two trainings or more their interval is "
    "Student's t, with the noise of images that trainings share added, else the jackknife's."
)
_NO_MARGIN = "The suite states no margin of FID, so no two rows are called equal."


def whole_network_table(pairs: list[Comparison]) -> Section:
    """Return per row what leaving out a part of the network saved and what it cost.

    A tuned row has two lines where the suite has the whole network tuned as long.
    """
    pairs = [pair for pair in pairs if pair.kind in (WHOLE, WHOLE_TUNED)]
    rows = [
        (
            # names, FIDs
            _name(pair.row),
            "as trained" if pair.kind == WHOLE else f"tuned as long: {_name(pair.other)}",
            f"{pair.trainings}",
            _ranged(pair.row["fid"], pair.row["fid_low"], pair.row["fid_high"]),
            _plus_minus(pair.difference, pair.difference_half),
            # work, time, finding
            _plain(pair.flops),
            _ranged(pair.time, pair.time_low, pair.time_high),
            _yield_text(pair),
            limit_text(pair.row),
            pair.finding,
        )
        for pair in pairs
    ]

    headings = ("Trial", "Whole network", "Trainings", "FID", "FID minus that of the whole network", "FLOPs ratio",
                "Time ratio", "FLOPs-to-time yield", LIMIT_HEADING, "Finding")  # fmt: skip
    yields = f"The yield is empty where less than {LEAST_SAVING:.0%} of the arithmetic was saved."
    notes = ("Each finding is at 95 % by itself, uncorrected for their number.", _OVER_TRAININGS, yields)
    return Section(headings, rows, (*notes, _margin_note(pairs)))


def controls_table(pairs: list[Comparison]) -> Section:
    """Return each claim with the control that it must beat."""
    controls = [pair for pair in pairs if pair.kind == CONTROL]
    rows = [
        (
            # names, FIDs
            _name(pair.row),
            _name(pair.other),
            f"{pair.trainings}",
            _plain(pair.row["fid"]),
            _plain(pair.other["fid"]),
            _plus_minus(pair.difference, pair.difference_half),
            _p_text(pair),
            # ratios, finding
            _plain(pair.parameters),
            _plain(pair.flops),
            _ranged(pair.time, pair.time_low, pair.time_high),
            _plus_minus(pair.truncation, pair.truncation_half),
            limit_text(pair.row),
            pair.verdict,
        )
        for pair in controls
    ]

    headings = ("Trial", "Control", "Trainings", "FID", "FID of the control", "Difference", "p, Holm's",
                "Parameters ratio", "FLOPs ratio", "Time ratio", "Difference in truncation error", LIMIT_HEADING,
                "Finding")  # fmt: skip
    return Section(headings, rows, (*_family_notes(pairs), _OVER_TRAININGS, _margin_note(controls)))


def _family_notes(pairs: list[Comparison]) -> list[str]:
    """Return a sentence per suite on its family of control verdicts, and what is not corrected."""
    notes = [
        f"Suite {suite or 'without a name'}: the {len(family)} control verdicts with an interval are one family. By "
        f"Holm's step-down, the chance that it shows any difference of FID where there is none is at most "
        f"{ERROR_RATE:.0%}: a difference is shown where Holm's p is at most {ERROR_RATE:g}. One training alone shows "
        "it of that training."
        for suite, family in sorted(control_families(pairs).items())
    ]
    return [*notes, "Intervals, times and FID equal within a margin are at 95 % each, uncorrected."]


def _margin_note(pairs: list[Comparison]) -> str:
    margins = sorted({pair.evidence.margin for pair in pairs if not math.isnan(pair.evidence.margin)})
    if not margins:
        return _NO_MARGIN
    stated = " or ".join(format_number(margin) for margin in margins)
    return f"Equal within M: the 95 % interval lies inside the suite's margin of FID, M = {stated}."


def comparisons_csv(pairs: list[Comparison]) -> str:
    """Return every pair with its numbers in full; a cell is empty where nothing was measured."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    writer.writerows(_csv_row(pair) for pair in pairs)
    return stream.getvalue()


def _csv_row(pair: Comparison) -> list[str]:
    row, other = pair.row, pair.other
    steps = f"{row['steps']:.0f}"

    return [
        # names
        pair.kind, row["trial_id"], escape_csv(row["network"]), escape_csv(row["method"]), steps, _full(row["nfe"]),
        other["trial_id"], escape_csv(other["network"]), escape_csv(other["method"]),
        # FID
        _full(row["fid"]), _full(other["fid"]), str(pair.trainings), *_full_ends(pair.difference, pair.difference_half),
        " ".join(_full(value) for value in pair.fid.by_training.values()), _full(pair.fid.p), _full(pair.p_holm),
        str(pair.family or ""), _full(pair.evidence.margin),
        # truncation, work, time
        _full(row["truncation_error"]), _full(other["truncation_error"]),
        *_full_ends(pair.truncation, pair.truncation_half), _full(pair.parameters), _full(pair.flops),
        _full(pair.time), _full(pair.time_low), _full(pair.time_high), _full(pair.flops_yield), pair.flops_yield_note,
        pair.verdict if pair.kind == CONTROL else pair.finding,
    ]  # fmt: skip


def _full(value: float) -> str:
    """Return a number in full, nothing where it was not measured."""
    return repr(float(value)) if value == value else ""


def _full_ends(value: float, half: float) -> tuple[str, str, str]:
    return _full(value), _full(value - half), _full(value + half)


def _plus_minus(value: float, half: float) -> str:
    return _ranged(value, value - half, value + half)


def _ranged(value: float, low: float, high: float) -> str:
    return DASH if math.isnan(value) else f"{format_number(value)} {format_interval(low, high)}".strip()


def _plain(value: float) -> str:
    return DASH if math.isnan(value) else format_number(value)


def _p_text(pair: Comparison) -> str:
    """Return the adjusted p-value; of a pair outside the family a dash.

    It has three significant digits, or as many more as put it on its own side of the rule.
    """
    p = pair.p_holm
    if math.isnan(p):
        return DASH
    if p < 0.001:
        return "< 0.001"
    texts = (format_number(p, digits) for digits in range(3, 18))  # 17 digits are exact
    return next(text for text in texts if (float(text) <= ERROR_RATE) == (p <= ERROR_RATE))


def _yield_text(pair: Comparison) -> str:
    if not math.isnan(pair.flops_yield):
        return format_number(pair.flops_yield, 2)
    return f"{DASH} ({pair.flops_yield_note})" if pair.flops_yield_note else DASH


def _name(row: Series) -> str:
    return trial_name(row["network"], row["method"], row["steps"])
