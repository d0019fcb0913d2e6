"""Every figure that was measured of a row, as label and text with its interval and unit: quality first."""

from __future__ import annotations

from collections.abc import Iterator

from pandas import Series

from harness.report.formats import format_interval, format_number
from harness.schema.metrics import METRICS

_TIMES = (
    ("time of one image", "latency_seconds", "latency_low_seconds", "latency_high_seconds", 1e3, "ms"),
    ("speed-up", "speedup", "speedup_low", "speedup_high", 1.0, "x the clock's, in a batch"),
    ("over the serial run", "speedup_over_serial", "speedup_over_serial_low", "speedup_over_serial_high", 1.0, "x"),
)
"""Name, columns, factor and unit of figures with an interval."""
_AMOUNTS = (
    ("throughput", "throughput_images_per_second", 1.0, "images a second"),
    ("evaluations", "nfe", 1.0, "an image"),
    ("arithmetic", "flops_per_image", 1e-9, "GFLOPs an image"),
    ("inside the network", "network_time_share", 100.0, "% of the time"),
    ("parameters", "parameters", 1e-6, "M"),
    ("peak memory", "peak_memory_bytes", 2.0**-20, "MiB"),
    ("preparation", "prepare_seconds", 1.0, "s"),
)
"""Name, column, factor and unit of the others."""


def row_figures(row: Series) -> Iterator[tuple[str, str]]:
    """Yield each measured figure with its interval, quality first; what was not measured is left out."""
    for name, metric in METRICS.items():
        if (value := row.get(name)) is not None and value == value:
            ends = (row.get(f"{name}_low", float("nan")), row.get(f"{name}_high", float("nan")))
            error = row.get(metric.standard_error) if metric.standard_error else None
            spread = format_interval(*ends) if error is None else f"(standard error {format_number(error)})"
            yield metric.label, f"{format_number(value)} {spread}".strip()

    for label, column, low, high, factor, unit in _TIMES:
        if (value := row.get(column)) is not None and value == value:
            ends = (row[low] * factor, row[high] * factor)
            yield label, f"{format_number(value * factor)} {format_interval(*ends)} {unit}".strip()
    for label, column, factor, unit in _AMOUNTS:
        if (value := row.get(column)) is not None and value == value:
            yield label, f"{format_number(float(value) * factor)} {unit}"
