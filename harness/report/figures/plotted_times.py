"""The times that figures show: pooled ones where the analysis has them, else those of the row's own block."""

from __future__ import annotations

import numpy as np
from pandas import DataFrame

ENDS = ("_low", "_high")


def add_plotted_times(rows: DataFrame) -> DataFrame:
    """Return the rows with `image_ms` and `latency_ms`, each with `_low` and `_high`, in milliseconds.

    `image_ms` is the time per image in a batch, `latency_ms` that of one image alone.
    Without pooled times, an interval of the time per image is that of the paired ratio to the clock.
    """
    # pooled
    pooled = {"image_ms": "pooled_seconds_per_image", "latency_ms": "pooled_latency_seconds"}
    empty = DataFrame(np.nan, rows.index, [f"{name}{end}" for name in pooled.values() for end in ("", *ENDS)])
    known = empty.where(empty.notna(), rows.reindex(columns=empty.columns).astype("float64"))
    times = DataFrame(
        {f"{new}{end}": 1e3 * known[f"{old}{end}"] for new, old in pooled.items() for end in ("", *ENDS)}, rows.index
    )

    # of the row's own block
    own = {"image_ms": 1e3 / rows["throughput_images_per_second"], "latency_ms": 1e3 * rows["latency_seconds"]}
    for end in ENDS:
        own[f"image_ms{end}"] = own["image_ms"] * rows[f"relative_time{end}"] / rows["relative_time"]
        own[f"latency_ms{end}"] = 1e3 * rows[f"latency{end}_seconds"]
    missing = {name: times[name].isna() for name in ("image_ms", "latency_ms")}
    for name, values in own.items():
        times[name] = times[name].where(~missing[name.removesuffix("_low").removesuffix("_high")], values)
    return rows.drop(columns=times.columns, errors="ignore").join(times)


def is_disturbed(rows: DataFrame) -> np.ndarray:
    """Return which rows [rows] have a timing that foreign load disturbed."""
    if "disturbed" not in rows:
        return np.zeros(len(rows), dtype=bool)
    return rows["disturbed"].fillna("").astype(str).ne("").to_numpy()
