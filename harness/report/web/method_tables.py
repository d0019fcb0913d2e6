"""The tables of methods: a line per method on a network, FID by evaluations, costs; its trials below it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pandas import DataFrame, Series

from harness.report.analysis.derive import Analysis, ResourceClass, ranking_speedup
from harness.report.analysis.method_lines import MethodLine
from harness.report.analysis.pivot import build_pivot
from harness.report.leaderboard import ClassTables, Leaderboard
from harness.report.tables.cells import Cell, Table, marked_cell
from harness.report.tables.trial_table import cells_by_trial
from harness.report.web.page_cells import Notes, PageColumn, row_data
from harness.report.web.page_rows import facet_values
from harness.report.web.trial_columns import BADGE, COSTS, HIDDEN, SENTENCES, ranked_cells, unranked_cells
from harness.schema.trial_name import method_line_name

NAME = PageColumn(
    "name", "Method", "Network and method, of a trial its steps too; the baseline is what others are compared with. "
    "Enter or a click unfolds a method's trials, and a trial's details.", shown=True, words=True, card=True,
)  # fmt: skip
LIMIT = PageColumn("network_limit_fid", "Network's limit (FID)", SENTENCES["network_limit_fid"], shown=True)
CONTROL = PageColumn(
    "control", "Against its control",
    "Of a method of one step count: FID minus that of the suite's control, and the ratio of times.",
    words=True,
)  # fmt: skip
UNRANKED = "Rows that do not rank"
_USUAL = (5, 10, 20)
_MOST = 4
"""Columns of FID that are shown at first where none of `_USUAL` was run."""


@dataclass
class MethodTables:
    """What the page knows of methods: tables, and every trial by its name on the page."""

    tables: list[dict[str, Any]] = field(default_factory=list)
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)


def methods_data(analysis: Analysis, board: Leaderboard, rows: DataFrame) -> MethodTables:
    """Return a table per class and kind of executor; `rows` are those of `page_rows`.

    Rows that do not rank stand in the first table of their data set and kind of executor, else in one of their own.
    """
    found = MethodTables()
    unranked = rows[rows["trial_id"].isin(analysis.invalid["trial_id"])]
    for place, (one, printed) in enumerate(zip(analysis.classes, board.classes, strict=True)):
        for main, lines in _groups(printed):
            builder = _ranked_table(f"methods-{len(found.tables)}", one, printed, main, lines, rows)
            same = unranked["dataset"] == one.key["dataset"]
            same &= (unranked["executor"] != "serial") == lines[0].parallel
            builder.add_unranked(unranked[same])
            unranked = unranked[~same]

            title = "FID by steps, and costs, of parallel executors" if lines[0].parallel else "FID and costs"
            builder.finish(found, title, place, main.conditions[:2])

    # what has no table
    if len(unranked):
        builder = _Builder(f"methods-{len(found.tables)}", (NAME, BADGE, *COSTS, *HIDDEN))
        builder.add_unranked(unranked)
        builder.finish(found, UNRANKED, -1, ())
    return found


@dataclass
class _Builder:
    """One table while it is filled."""

    table_id: str
    columns: tuple[PageColumn, ...]
    notes: Notes = field(default_factory=Notes)
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add_method(self, name: str, trials: DataFrame, cells: dict[str, Cell], baseline: bool = False) -> None:
        """Add a line; `cells` are those that do not come from one of its trials."""
        first = trials.iloc[0]
        shown = marked_cell(name, name, first["reproduced"])
        self.methods[name] = {
            "name": name, "network": first["network"], "method": first["method"], "family": first["family"],
            "baseline": baseline, "cells": row_data(self.columns, {**cells, NAME.key: shown}, self.notes),
            "trials": list(trials["page_name"]),
        }  # fmt: skip

    def add_trial(self, row: Series, cells: dict[str, Cell], place: int | None) -> None:
        """Add a trial; `place` is its place among those of its method, None where it does not rank."""
        name = row["page_name"]
        texts = {**cells, NAME.key: marked_cell(name, name, row["reproduced"])}
        self.trials[name] = {
            "table": self.table_id, "facets": facet_values(row), "place": place,
            "cells": row_data(self.columns, texts, self.notes),
        }  # fmt: skip

    def add_unranked(self, rows: DataFrame) -> None:
        """Add rows that do not rank: below their method, or as methods of their own."""
        for _, row in rows.iterrows():
            name = method_line_name(row["network"], row["method"])
            self.add_trial(row, unranked_cells(row), None)
            if name in self.methods:
                self.methods[name]["trials"].append(row["page_name"])
            else:
                self.add_method(name, DataFrame([row]), {})

    def finish(self, found: MethodTables, title: str, place: int, conditions: tuple[str, ...]) -> None:
        """Put the table, of class `place`, and its trials with those that were found."""
        found.trials |= self.trials
        found.tables.append({
            "id": self.table_id, "kind": "methods", "class": place, "title": title, "conditions": conditions,
            "columns": [column.as_data() for column in self.columns], "rows": list(self.methods.values()),
            "notes": self.notes.texts,
        })  # fmt: skip


def _groups(printed: ClassTables) -> Iterable[tuple[Table, tuple[MethodLine, ...]]]:
    groups = [lines for lines in (printed.quality.serial, printed.quality.parallel) if lines]
    return zip(printed.main, groups, strict=True)


def _ranked_table(
    table_id: str,
    one: ResourceClass,
    printed: ClassTables,
    main: Table,
    lines: tuple[MethodLine, ...],
    rows: DataFrame,
) -> _Builder:
    # columns
    pivot = build_pivot(list(lines))
    fids = _fid_columns(pivot.columns, main)
    keys = [heading.key for heading in main.headings]
    claimed = (CONTROL,) if CONTROL.key in keys else ()
    builder = _Builder(table_id, (NAME, BADGE, *fids, LIMIT, *COSTS, *claimed, *HIDDEN))

    # methods, each with its trials
    known = cells_by_trial(one, printed.trials)
    for line, of_line, cells in zip(lines, pivot.lines, main.rows, strict=True):
        own = dict(zip(keys, cells, strict=True))
        trials = rows.loc[list(line.rows["trial_id"])]
        of_method = {column.key: own[column.key] for column in (LIMIT, *claimed)}
        builder.add_method(line.name, trials, of_method, line.name == printed.quality.baseline)

        under = {row["trial_id"]: f for row, f in zip(of_line.cells, fids, strict=True) if row is not None}
        for place, (trial_id, row) in enumerate(_by_gain(trials).iterrows()):
            fid = {under[trial_id].key: own[under[trial_id].key]} if trial_id in under else {}
            builder.add_trial(row, {**ranked_cells(row, known[str(trial_id)]), **fid}, place)
    return builder


def _by_gain(trials: DataFrame) -> DataFrame:
    """Return a method's trials, that of the largest speed-up at equal FID, or its bound, first; then by FID."""
    return trials.assign(_gain=ranking_speedup(trials)).sort_values(
        ["_gain", "fid", "trial_id"], ascending=[False, True, True], na_position="last"
    )


def _fid_columns(columns: tuple[int, ...], main: Table) -> tuple[PageColumn, ...]:
    """Return a column per number of evaluations or steps; the usual ones are shown, or else the first few."""
    usual = [column for column in columns if column in _USUAL] or columns[:_MOST]
    texts = {heading.key: heading.text for heading in main.headings}
    found = []
    for column in columns:
        text = texts[f"fid_{column}"]
        found.append(PageColumn(f"fid_{column}", text, f"{SENTENCES['fid']} In brackets its 95 % interval. A row of "
                                "another NFE within a quarter names it.", column in usual))  # fmt: skip
    return tuple(found)
