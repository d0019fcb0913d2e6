"""The table of trials: every row by network, method and steps, with its figures and the reasons for empty cells."""

from __future__ import annotations

import math

from pandas import DataFrame, Series

from harness.report.analysis.derive import NOT_TIMED, ResourceClass
from harness.report.analysis.limits import BELOW_LIMIT
from harness.report.analysis.method_curve import LATENCY, THROUGHPUT
from harness.report.analysis.method_lines import distinct_names
from harness.report.analysis.time_to_quality import ClassQuality
from harness.report.formats import format_count, format_interval, format_number
from harness.report.tables.cells import Cell, Heading, Table, dash, interval_text, marked_cell, number_cell
from harness.report.tables.limit_cell import limit_cell
from harness.schema import METRICS

CLOCK_TIE = "a tie with the clock: its interval holds 1, or it lies inside the A/A floor"
NO_FIGURE = "not measured"
LEAST_CHANCE = 0.05
"""Probability from which a Pareto front is named in a row."""

NO_PAIRS = "no PSNR, SSIM"
"""How the reason begins of a row that was compared with no other."""
_SAID: dict[str, tuple[str, ...]] = {
    "fid_floor": ("no bias floor",),
    "nfe": ("no NFE",),
    **{one.name: (f"no {one.name.upper()}", NO_PAIRS) for one in METRICS.values() if one.source == "pairs"},
    "psnr_worst_1pct": ("no worst percentile", "no PSNR"),
    "identical_share": (NO_PAIRS,),
}
"""How the reasons of an empty column begin, where rows say them."""

HEADINGS = (
    Heading("trial", "Trial", words=True),
    Heading("fid", "FID"),
    Heading("network_limit_fid", "Network's limit (FID)"),
    Heading("fid_floor", "FID floor"),
    Heading("tie_group", "Tie group by FID"),
    Heading("psnr", "PSNR to no acceleration (dB)"),
    Heading("nfe", "NFE"),
    Heading("latency_seconds", "Latency (ms)"),
    Heading("throughput_images_per_second", "Images/s"),
    Heading("throughput_batch", "Batch of images/s"),
    Heading("speedup", "Speed-up over clock"),
    Heading("flops_per_image", "GFLOPs/image"),
    Heading("flops_to_time_yield", "FLOPs-to-time yield"),
    Heading("break_even_images", "Break-even (images)"),
    Heading("pareto", "Pareto front of FID and ..., probability"),
    Heading("verdict", "Verdict"),
)


def trial_table(one: ResourceClass, quality: ClassQuality, timings: DataFrame) -> Table:
    """Return the table of a class's trials; `timings` are the calls, for rows that do not store their batch."""
    rows = by_network_method_steps(one.rows)
    columns = (distinct_names(rows), measured_batches(rows, timings))

    cells = []
    for (_, row), name, batch in zip(rows.iterrows(), *columns, strict=True):
        known = {
            "trial": _name_cell(name, row, one),
            "fid": _fid_cell(row, quality),
            "network_limit_fid": limit_cell(quality, row["network"]),
            "latency_seconds": _latency_cell(row),
            "throughput_images_per_second": _throughput_cell(row),
            "throughput_batch": _count_cell(batch),
        }
        cells.append(tuple(known.get(heading.key) or _cell(heading.key, row) for heading in HEADINGS))
    return Table("Trials, by network, method and steps", _conditions(), HEADINGS, tuple(cells))


def cells_by_trial(one: ResourceClass, table: Table) -> dict[str, dict[str, Cell]]:
    """Return the cells of the table of trials by trial_id and column key."""
    ids = by_network_method_steps(one.rows)["trial_id"]
    keys = [heading.key for heading in table.headings]
    return {trial_id: dict(zip(keys, row, strict=True)) for trial_id, row in zip(ids, table.rows, strict=True)}


def by_network_method_steps(rows: DataFrame) -> DataFrame:
    """Return the rows in the order of the table; their index is kept."""
    return rows.sort_values(["network", "method", "steps", "nfe", "trial_id"], na_position="last")


def measured_batches(rows: DataFrame, timings: DataFrame) -> Series:
    """Return the images per call of the throughput that was measured [rows], NaN where it is not known."""
    calls = timings[(timings["kind"] == "throughput") & (timings["role"] == "trial")]
    of_calls = rows["trial_id"].map(calls.groupby("trial_id")["batch"].first())
    return rows["throughput_batch"].fillna(of_calls)


def _conditions() -> tuple[str, ...]:
    return (
        "FID with its 95 % interval; rows of one tie group cannot be told from its best by FID (a wide interval ties "
        "with more), 1 is best. FID floor: what perfect images of this N would score.",
        "Latency is one image alone; images/s is at the batch next to it. Speed-up over clock: the clock's time over "
        "the row's, interleaved pairs. Intervals of all three include the drift between timing blocks.",
        "PSNR: each image against that of the same noise, network before tuning, schedule, solver and steps without "
        "acceleration; mean over images that differ, with its 95 % interval.",
        f"Pareto fronts: the probability that the row is on it, from {100 * LEAST_CHANCE:.0f} %.",
    )


def _name_cell(name: str, row: Series, one: ResourceClass) -> Cell:
    role = ["the clock"] if one.clock is not None and row["trial_id"] == one.clock["trial_id"] else []
    role += ["baseline"] if row["is_baseline"] else []
    disturbed = f"disturbed timing: {row['disturbed']}" if row["disturbed"] else ""
    text = name + (f" ({', '.join(role)})" if role else "")
    return marked_cell(text, name, row["reproduced"], disturbed)


def _fid_cell(row: Series, quality: ClassQuality) -> Cell:
    if math.isnan(row["fid"]):
        return dash(NO_FIGURE)
    note = BELOW_LIMIT if row["trial_id"] in quality.below_limit else ""
    return number_cell(row["fid"], interval_text(row["fid"], row["fid_low"], row["fid_high"]), note)


def _latency_cell(row: Series) -> Cell:
    value, low, high = (row[f"{LATENCY.pooled}{end}"] for end in ("", "_low", "_high"))
    return (
        dash(NO_FIGURE) if math.isnan(value) else number_cell(value, interval_text(value * 1e3, low * 1e3, high * 1e3))
    )


def _throughput_cell(row: Series) -> Cell:
    value, low, high = (row[f"{THROUGHPUT.pooled}{end}"] for end in ("", "_low", "_high"))
    if not 0 < value < math.inf:
        return dash(NO_FIGURE)
    return number_cell(1 / value, interval_text(1 / value, 1 / high, 1 / low))


def _count_cell(value: float) -> Cell:
    return dash(NO_FIGURE) if math.isnan(value) else number_cell(value, format_count(value))


def why_empty(key: str, row: Series) -> str:
    """Return why a row has no number in a column that says nothing of it itself."""
    said = _SAID.get(key)
    if said is not None:
        return next((one for one in row["not_measured"].split("; ") if one.startswith(said)), NO_FIGURE)
    return NOT_TIMED if key == "speedup" else NO_FIGURE


def _front_cell(row: Series) -> Cell:
    """Return the fronts that the row may be on, each with the probability of it."""
    chances = [("time", row["pareto_time_probability"]), ("FLOPs", row["pareto_flops_probability"])]
    shown = [f"{name} {100 * chance:.0f} %" for name, chance in chances if chance >= LEAST_CHANCE]
    return Cell(", ".join(shown), max(0.0, *(chance for _, chance in chances if chance == chance), 0.0))


def _cell(key: str, row: Series) -> Cell:
    """Return a number in the heading's unit, or a dash and the reason."""
    if key == "verdict":
        return Cell(row[key], row[key])
    if key == "pareto":
        return _front_cell(row)

    # empty
    value = row[key] * (1e-9 if key == "flops_per_image" else 1.0)
    if math.isnan(value):
        return dash(row.get(f"{key}_note") or why_empty(key, row))

    # a number
    if key == "speedup":
        ends = format_interval(1 / row[f"{THROUGHPUT.relative}_high"], 1 / row[f"{THROUGHPUT.relative}_low"])
        text = f"{format_number(value)}× {ends}"
        return number_cell(value, text.strip(), CLOCK_TIE if row["clock_tie"] else "")
    if key == "psnr":
        return number_cell(value, interval_text(value, row["psnr_low"], row["psnr_high"]))
    if key == "break_even_images":
        return number_cell(value, f"{value:.0f}")
    if key in ("tie_group", "nfe"):
        return number_cell(value, format_count(value))
    return number_cell(value, format_number(value, 2 if key == "flops_to_time_yield" else 3))
