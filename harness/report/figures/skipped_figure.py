"""The figure of the calls that caches answer from what they kept, step by step."""

from __future__ import annotations

import json

import numpy as np
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from harness.report.figures.plot_style import add_note, unique_names
from harness.report.figures.step_map import MOST_ROWS, draw_step_map
from harness.report.formats import one_line
from harness.schema.trial_name import trial_name

_CACHED, _PARTLY = "cached", "mask-"


def draw_skipped_calls(rows: DataFrame, steps: DataFrame) -> Figure | None:
    """Draw a map of the share of calls that were cached against step, a line per row with a cache.

    None without such rows.
    """
    # data: rows of which some call was cached
    skipped = steps.assign(skipped=[_skipped_share(step) for _, step in steps.iterrows()]).dropna(subset=["skipped"])
    cached = rows[rows["trial_id"].isin(skipped.loc[skipped["skipped"] > 0, "trial_id"])]
    if cached.empty:
        return None

    # table [rows, steps], the step counts of most rows first
    usual = cached["steps"].value_counts().sort_index().idxmax()
    order = cached.assign(_other=cached["steps"] != usual).sort_values(["_other", "steps", "network", "method"])
    shown = order.iloc[:MOST_ROWS]
    names = [one_line(trial_name(row["network"], row["method"], row["steps"])) for _, row in shown.iterrows()]
    lines = {
        name: skipped[skipped["trial_id"] == trial_id].set_index("step")["skipped"]
        for name, trial_id in zip(unique_names(names), shown["trial_id"], strict=True)
    }
    table = DataFrame(lines).T.reindex(unique_names(names))
    table = table[sorted(table.columns)]

    figure, axes = draw_step_map(table, darkest=125.0, write=lambda share: f"{share:.0f}", margin=1.8)
    axes.set_title("Which calls did a cache answer?")
    more = [f"{len(cached) - len(shown)} more rows in the tables"] if len(cached) > len(shown) else []
    notes = ["per cent of calls over all images; of a call that ran some branches, per cent of its arithmetic left out"]
    add_note(figure, "; ".join([*notes, *more]))
    return figure


def _skipped_share(step: Series) -> float:
    """Return the per cent of a step's calls that were cached; NaN where its units are not those of a cache.

    A call of some branches counts by the arithmetic that it left out.
    """
    counts: dict[str, int] = json.loads(step["units_json"]) if step["units_json"] else {}
    total = sum(counts.values())
    if not total or not all(name in ("full", _CACHED) or name.startswith(_PARTLY) for name in counts):
        return float("nan")
    if any(name.startswith(_PARTLY) for name in counts):
        return 100.0 * float(np.clip(1.0 - step["network_share"], 0.0, 1.0))
    return 100.0 * counts.get(_CACHED, 0) / total
