"""The leaderboard as data, one table per resource class: cells, their order, their notes.

It is printed by harness.report.leaderboard_text (Markdown, CSV, LaTeX) and by the HTML templates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pandas import DataFrame, Series

from harness.report.analysis.derive import NOT_TIMED, Analysis, ResourceClass
from harness.report.formats import DASH, format_count, format_interval, format_number, format_work

LITERATURE = (
    "FID is not comparable to the literature: its features are not Inception's. It ranks rows of this table only.",
    "FID uses Inception features; it is comparable to the literature at equal N, reference set and image handling.",
)
CONVENTION = (
    "GFLOPs count 2 floating-point operations per multiply-add, for what really ran. Intervals are 95 %. Latency is "
    "one image alone (batch 1), noise in, uint8 out."
)
IN_FLOOR = "inside the A/A floor: a tie with the clock"
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Cell:
    """A cell's text, the value that sorts it, and its footnote: a reason or a caveat."""

    text: str
    value: float | str = ""
    note: str = ""


@dataclass(frozen=True)
class Heading:
    """A column's key in machine formats, and its printed heading."""

    key: str
    text: str


@dataclass(frozen=True)
class Table:
    """One ranking: a row of cells per trial, and the rows of data for machine formats."""

    title: str
    conditions: tuple[str, ...]
    """Lines above the table: what its quality figures and times refer to."""
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    source: DataFrame

    @property
    def notes(self) -> list[str]:
        """Return the distinct notes in order of appearance; footnote marks are places, from 1."""
        return list(dict.fromkeys(cell.note for row in self.rows for cell in row if cell.note))


@dataclass(frozen=True)
class Leaderboard:
    """All tables, and the rows that do not rank, as (trial, verdict, reasons)."""

    tables: tuple[Table, ...]
    invalid: tuple[tuple[str, str, str], ...]
    counts: str
    invalid_source: DataFrame


HEADINGS = (
    Heading("method", "Method"),
    Heading("network", "Network"),
    Heading("equal_quality_speedup", "Speed-up at equal quality"),
    Heading("fid", "FID"),
    Heading("fid_floor", "FID floor"),
    Heading("tie_group", "Tie group"),
    Heading("nfe", "NFE"),
    Heading("latency_seconds", "Latency (ms)"),
    Heading("throughput_images_per_second", "Images/s"),
    Heading("speedup", "Speed-up over clock"),
    Heading("flops_per_image", "GFLOPs/image"),
    Heading("flops_to_time_yield", "FLOPs-to-time yield"),
    Heading("break_even_images", "Break-even (images)"),
    Heading("pareto", "Pareto front"),
    Heading("verdict", "Verdict"),
)


def build_leaderboard(analysis: Analysis) -> Leaderboard:
    """Return the leaderboard of an analysis; rows that do not rank are listed with their reasons."""
    # what does not rank
    invalid = analysis.invalid
    listed = tuple(
        (f"{row['method']} ({row['network']}, {format_work(row['nfe'], row['steps'])}, seed set {row['seed_set']:.0f})",
         "failed" if row["status"] == "failed" else row["verdict"] or "no verdict",
         row["reasons"] or "no reason was recorded")
        for _, row in invalid.iterrows()
    )  # fmt: skip

    valid, failed = len(analysis.trials) - len(invalid), int((invalid["status"] == "failed").sum())
    counts = f"{valid} VALID, {len(invalid) - failed} INVALID, {failed} failed of {len(analysis.trials)} trials"
    return Leaderboard(tuple(_table(one) for one in analysis.classes), listed, counts, invalid)


def _table(one: ResourceClass) -> Table:
    key = one.key
    devices = f"{key['devices']:.0f} × " if key["devices"] != 1 else ""
    title = (
        f"{key['dataset']} on {devices}{key['device_name'] or 'unnamed device'}, tier {key['timing_tier'] or 'none'}"
    )
    rows = tuple(tuple(_cell(heading.key, row, one) for heading in HEADINGS) for _, row in one.rows.iterrows())
    return Table(title, _conditions(one), HEADINGS, rows, one.rows)


def _conditions(one: ResourceClass) -> tuple[str, ...]:
    """Return the lines above a table: what its quality figures and its times refer to."""
    key, rows = one.key, one.rows
    extractor = str(key["extractor"])
    batches = sorted({f"{batch:.0f}" for batch in rows["batch"].dropna()}, key=int)

    return (
        f"Quality: FID on {extractor or 'an unnamed extractor'}, SHA-256 {key['extractor_sha256'] or 'unknown'}; "
        f"N = {key['n_images']:.0f} generated, seed sets {' | '.join(sorted(set(rows['seed_sets']))) or 'unknown'}.",
        f"Reference: {key['reference'] or 'unnamed'}, N = {key['reference_n']:.0f}.",
        LITERATURE["inception" in extractor.lower()],
        f"Time: {key['devices']:.0f} device(s) per sample, {key['device_name'] or 'unnamed'}; throughput at batch "
        f"{', '.join(batches) or 'unknown'}; speed-up is the clock's time over the row's, interleaved pairs.",
        _baseline_condition(one),
        _clock_condition(one),
        CONVENTION,
    )


def _baseline_condition(one: ResourceClass) -> str:
    if one.baseline.empty:
        return "Baseline: none with a VALID row, so speed-up at equal quality is empty."
    names = " | ".join(sorted(set(one.baseline["method"])))
    nfes = ", ".join(format_count(nfe) for nfe in sorted(one.baseline["nfe"].dropna()))
    return (
        f"Baseline: {names} at NFE {nfes}; speed-up at equal quality is its time to reach the row's FID over the row's."
    )


def _clock_condition(one: ResourceClass) -> str:
    if one.clock is None:
        return "Clock: no VALID clock trial, so there is no A/A floor."
    floor = format_interval(*one.floor) or NOT_MEASURED
    clock = f"Clock: {one.clock['method']} at {format_work(one.clock['nfe'], one.clock['steps'])}"
    return f"{clock}, trial {one.clock['trial_id'][:16]}. A/A floor: {floor}; a speed-up inside it is a tie."


def _cell(key: str, row: Series, one: ResourceClass) -> Cell:
    """Return the cell of one column; the method's cell marks the clock and the baseline."""
    if key == "method":
        role = ["the clock"] if one.clock is not None and row["trial_id"] == one.clock["trial_id"] else []
        role += ["baseline"] if row["is_baseline"] else []
        return Cell(row["method"] + (f" ({', '.join(role)})" if role else ""), row["method"])

    if key in ("network", "verdict"):
        return Cell(row[key], row[key])
    if key == "pareto":
        fronts = [name for name in ("time", "flops") if row[f"pareto_{name}"]]
        return Cell(", ".join(fronts).replace("flops", "FLOPs"), len(fronts))
    if key == "equal_quality_speedup":
        return _equal_quality_cell(row)
    return _number_cell(key, row)


def _equal_quality_cell(row: Series) -> Cell:
    name = "equal_quality_speedup"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    for column, sign in ((name, ""), (f"{name}_at_least", "≥ "), (f"{name}_at_most", "≤ ")):
        if not math.isnan(row[column]):
            text = f"{sign}{format_number(row[column])}× {format_interval(low, high)}".strip()
            return Cell(text, float(row[column]), row[f"{name}_note"])
    return Cell(DASH, "", row[f"{name}_note"])


def _number_cell(key: str, row: Series) -> Cell:
    """Return a number in the heading's unit with its interval, or a dash and the reason."""
    # empty
    scale = {"latency_seconds": 1e3, "flops_per_image": 1e-9}.get(key, 1.0)
    value = row[key] * scale
    if math.isnan(value):
        note = row.get(f"{key}_note") or (NOT_TIMED if key == "speedup" else NOT_MEASURED)
        return Cell(DASH, "", note)

    # the number and its interval
    ends = {"latency_seconds": ("latency_low_seconds", "latency_high_seconds")}
    low, high = ends.get(key, (f"{key}_low", f"{key}_high"))
    text = format_number(value, 2 if key == "flops_to_time_yield" else 3)
    text = (
        f"{value:.0f}" if key == "break_even_images" else format_count(value) if key in ("tie_group", "nfe") else text
    )
    text += "×" if key == "speedup" else ""
    if key in ("fid", "latency_seconds", "speedup"):
        text = f"{text} {format_interval(row[low] * scale, row[high] * scale)}".strip()
    return Cell(text, float(value), IN_FLOOR if key == "speedup" and row["clock_tie"] else "")
