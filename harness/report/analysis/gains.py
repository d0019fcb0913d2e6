"""Gains split by part, as tables of text and as CSV."""

from __future__ import annotations

import csv
import io
import math

from pandas import Series

from harness.report.analysis.gain_chains import ALONE, CHAIN, TOGETHER, Gain, Measured
from harness.report.analysis.limits import LIMIT_HEADING, limit_text
from harness.report.formats import DASH, Section, escape_csv, format_interval, format_number
from harness.schema.gain_links import LINKED_PARTS
from harness.schema.trial_name import trial_name

_CSV_COLUMNS = (
    "kind", "part", "parts", "trial_id", "dataset", "trial", "before_trial_id", "before", "after_trial_id", "after",
    "missing", "trainings", "fid_difference", "fid_difference_low", "fid_difference_high", "time_of", "time_ratio",
    "time_ratio_low", "time_ratio_high",
)  # fmt: skip


def gains_table(found: list[Gain]) -> Section:
    """Return per row what each part brought, link by link from the suite's baseline.

    The second column is the baseline with as many evaluations. The last one is all links together.
    Rows of the baseline have no line; parts that are equal have an empty cell.
    """
    lines = []
    several = _has_several_datasets(found)
    for gains in _by_row(found):
        cells = {gain.part: _gain_text(gain) for gain in gains if gain.kind == CHAIN}
        total = next((_gain_text(gain) for gain in gains if gain.kind == TOGETHER), "")
        start = next(gain for gain in gains if gain.kind in (CHAIN, TOGETHER))
        lines.append((
            _name(gains[0].row, several), _name(start.before, several),
            *(cells.get(part, "") for part in LINKED_PARTS), total, limit_text(gains[0].row),
        ))  # fmt: skip
    headings = ("Trial", "From", *(part.capitalize() for part in LINKED_PARTS), "All together", LIMIT_HEADING)
    return Section(headings, lines)


def one_part_table(found: list[Gain]) -> Section:
    """Return per row and part what the row gains over one that has the baseline's part there alone.

    Only rows that differ in several parts, and parts of which such a row is there. A chain's last link is not repeated.
    """
    several = _has_several_datasets(found)
    lines = []
    for gains in _by_row(found):
        last = [gain.part for gain in gains if gain.kind == CHAIN][-1]
        lines += [
            (_name(gain.row, several), gain.part, _name(gain.before, several), _gain_text(gain))
            for gain in gains
            if gain.kind == ALONE and gain.part != last
        ]
    return Section(("Trial", "Part", "The row without it", "What the part brings"), lines)


def gains_csv(found: list[Gain]) -> str:
    """Return every link with its numbers in full; a cell is empty where nothing was measured."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    writer.writerows(_csv_line(gain) for gain in found)
    return stream.getvalue()


def _csv_line(gain: Gain) -> list[str]:
    return [
        gain.kind, gain.part, " ".join(gain.parts), gain.row["trial_id"], escape_csv(gain.row["dataset"]),
        *(escape_csv(_name(gain.row)), *_csv_names(gain.before), *_csv_names(gain.after), escape_csv(gain.missing)),
        str(len(gain.fid.by_training) or ""), *_csv_numbers(_fid_interval(gain)), gain.measure,
        *_csv_numbers(gain.time),
    ]  # fmt: skip


def _csv_names(row: Series | None) -> tuple[str, str]:
    return ("", "") if row is None else (row["trial_id"], escape_csv(_name(row)))


def _csv_numbers(figure: Measured) -> list[str]:
    return [repr(float(value)) if value == value else "" for value in (figure.value, figure.low, figure.high)]


def _by_row(found: list[Gain]) -> list[list[Gain]]:
    """Return the gains of each row, in order of the rows."""
    rows: dict[str, list[Gain]] = {}
    for gain in found:
        rows.setdefault(gain.row["trial_id"], []).append(gain)
    return list(rows.values())


def _gain_text(gain: Gain) -> str:
    """Return the two figures of a link, or the row that is missing; and the parts, where it holds several."""
    if gain.missing:
        return gain.missing
    times = "" if math.isnan(gain.time.value) else "×"
    text = f"FID {_signed(_fid_interval(gain))}, {gain.measure} {times}{_ranged(gain.time)}"
    if gain.kind == CHAIN and len(gain.parts) > 1:
        return f"{text}: {', '.join(gain.parts[:-1])} and {gain.parts[-1]} together"
    return text


def _fid_interval(gain: Gain) -> Measured:
    value, half = gain.fid.value, gain.fid.half
    return Measured(value, value - half, value + half)


def _signed(figure: Measured) -> str:
    return f"+{_ranged(figure)}" if figure.value > 0 else _ranged(figure)


def _ranged(figure: Measured) -> str:
    if math.isnan(figure.value):
        return DASH
    return f"{format_number(figure.value)} {format_interval(figure.low, figure.high)}".strip()


def _has_several_datasets(found: list[Gain]) -> bool:
    return len({gain.row["dataset"] for gain in found}) > 1


def _name(row: Series | None, with_dataset: bool = False) -> str:
    if row is None:
        return DASH
    name = trial_name(row["network"], row["method"], row["steps"])
    return f"{row['dataset']} {name}" if with_dataset else name
