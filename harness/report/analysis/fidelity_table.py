"""Fidelity: accelerated rows, each against the same sampler without acceleration, from the same noise."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pandas import DataFrame, Series

from harness.report.analysis.derive import Analysis
from harness.report.analysis.method_lines import distinct_names
from harness.report.formats import DASH, Section, format_interval, format_number
from harness.schema import METRICS, Metric

_OF_PAIRS = tuple(metric for metric in METRICS.values() if metric.source == "pairs")
"""Every declared metric of pairs of images, in the order of the columns."""
_MEANING = (
    "Each image is compared with that of the same noise, trained network before any tuning, schedule, solver and "
    "steps, without acceleration: the whole network, one step after the other. This says how much an acceleration "
    "changes images, not whether they are good. Means over images, intervals of 95 %."
)
_TAIL = "The worst 1 % is the 1 % quantile of PSNR over all images; equal images have no PSNR and are counted apart."


def fidelity_table(analysis: Analysis) -> Section:
    """Return a line per ranked row that was compared; none where none was."""
    compared = [row for one in analysis.classes for _, row in one.rows.iterrows() if _was_compared(row)]
    names = distinct_names(DataFrame(compared, columns=analysis.trials.columns).reset_index(drop=True))
    lines = [
        (name, row["partner"] or DASH, *(_ranged(row, metric) for metric in _OF_PAIRS),
         format_number(row["psnr_worst_1pct"]), _percent(row["identical_share"]),
         format_number(row["flops_per_image"] * 1e-9))
        for name, row in zip(names, compared, strict=True)
    ]  # fmt: skip
    headings = ("Trial", "Without acceleration", *map(_heading, _OF_PAIRS),
                "PSNR of the worst 1 %, dB", "Equal images", "GFLOPs/image")  # fmt: skip
    return Section(headings, lines, (_MEANING, _TAIL, *dict.fromkeys(_reasons(compared))))


def _was_compared(row: Series) -> bool:
    return not math.isnan(row["identical_share"])


def _heading(metric: Metric) -> str:
    return f"{metric.label} {'↓' if metric.lower_is_better else '↑'}"


def _ranged(row: Series, metric: Metric) -> str:
    value, low, high = (float(row[metric.name + end]) for end in ("", "_low", "_high"))
    return DASH if math.isnan(value) else f"{format_number(value)} {format_interval(low, high)}".strip()


def _percent(share: float) -> str:
    return f"{format_number(100 * share)} %"


def _reasons(rows: list[Series]) -> Iterator[str]:
    """Yield why figures are missing, as rows say it."""
    labels = tuple(f"no {metric.name.upper()}" for metric in _OF_PAIRS)
    for row in rows:
        for reason in row["not_measured"].split("; "):
            if reason.startswith(labels):
                yield f"{reason[0].upper()}{reason[1:]}."
