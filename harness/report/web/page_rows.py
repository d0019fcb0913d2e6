"""What identifies the rows of a page, and by what they are filtered."""

from __future__ import annotations

import pandas as pd
from pandas import DataFrame, Series

from harness.report.analysis.derive import Analysis
from harness.report.analysis.method_lines import distinct_names

FACETS = (("family", "Family"), ("network", "Network"), ("steps", "Steps"), ("solver", "Solver"),
          ("dataset", "Data set"), ("devices", "Devices"))  # fmt: skip
"""The columns by which rows are chosen, and their names on the page."""


def page_rows(analysis: Analysis) -> DataFrame:
    """Return every row of a page by trial_id: ranked ones, averaged, then those that do not rank.

    `page_name` is the name by which the page knows a row.
    """
    parts = [one.rows for one in analysis.classes] + [analysis.invalid]
    filled = [part for part in parts if len(part)]
    rows = pd.concat(filled, ignore_index=True) if filled else analysis.invalid
    return rows.assign(page_name=distinct_names(rows)).set_index("trial_id", drop=False).rename_axis(None)


def facet_values(row: Series) -> list[str]:
    """Return the row's value of each of `FACETS`."""
    return [_plain(row[column]) for column, _ in FACETS]


def _plain(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return str(value)
