"""The block of data of report.html: every row once, its figures as stored, what unfolds below it."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.comparisons import find_comparisons
from harness.report.analysis.derive import Analysis, derive, ranking_speedup
from harness.report.analysis.derived import DERIVED
from harness.report.formats import format_number
from harness.report.leaderboard import Leaderboard, build_leaderboard
from harness.report.web.definitions import page_definitions
from harness.report.web.method_tables import UNRANKED, methods_data
from harness.report.web.page_rows import FACETS, page_rows
from harness.report.web.target_tables import targets_data
from harness.report.web.trial_details import trial_details
from harness.schema import TRIALS


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return derive(tables.tables())


@pytest.fixture(scope="module")
def rows(analysis: Analysis) -> DataFrame:
    return page_rows(analysis)


@pytest.fixture(scope="module")
def board(analysis: Analysis) -> Leaderboard:
    return build_leaderboard(analysis)


def cells_of(found: Any, name: str) -> dict[str, Any]:
    """Return a trial's cells by column."""
    trial = found.trials[name]
    table = next(table for table in found.tables if table["id"] == trial["table"])
    return {column["key"]: cell for column, cell in zip(table["columns"], trial["cells"], strict=True)}


def test_every_row_stands_once_below_one_method(analysis: Analysis, board: Leaderboard, rows: DataFrame) -> None:
    found = methods_data(analysis, board, rows)
    listed = [name for table in found.tables for line in table["rows"] for name in line["trials"]]
    assert sorted(listed) == sorted(rows["page_name"])
    assert sorted(found.trials) == sorted(listed)
    assert rows["page_name"].is_unique
    for table in found.tables:
        assert all(len(line["cells"]) == len(table["columns"]) for line in table["rows"])
        assert all(len(found.trials[name]["cells"]) == len(table["columns"])
                   for line in table["rows"] for name in line["trials"])  # fmt: skip


def test_rows_that_do_not_rank_have_no_place(analysis: Analysis, board: Leaderboard, rows: DataFrame) -> None:
    found = methods_data(analysis, board, rows)
    unranked = {name for name, trial in found.trials.items() if trial["place"] is None}
    assert unranked == set(rows.loc[list(analysis.invalid["trial_id"]), "page_name"])
    assert len(unranked) == 2
    for name in unranked:
        text, _, notes = cells_of(found, name)["badge"]
        assert text.startswith("does not rank")
        assert notes


def test_where_nothing_ranks_the_rows_have_a_table_of_their_own() -> None:
    none = tables.tables(lambda table: table.head(3).assign(verdict="INVALID", reasons="too hot"))
    analysis = derive(none)
    found = methods_data(analysis, build_leaderboard(analysis), page_rows(analysis))
    assert [table["title"] for table in found.tables] == [UNRANKED]
    assert len(found.trials) == 3


def test_the_first_place_of_a_method_is_that_of_its_largest_gain(
    analysis: Analysis, board: Leaderboard, rows: DataFrame
) -> None:
    found = methods_data(analysis, board, rows)
    by_name = rows.assign(gain=ranking_speedup(rows)).set_index("page_name")
    for table in found.tables:
        for line in table["rows"]:
            ranked = [name for name in line["trials"] if found.trials[name]["place"] is not None]
            if not ranked:
                continue
            first = min(ranked, key=lambda name: found.trials[name]["place"])
            gains = by_name.loc[ranked, "gain"]
            assert gains.isna().all() or gains[first] == gains.max()
            assert sorted(found.trials[name]["place"] for name in ranked) == list(range(len(ranked)))


def test_cells_sort_by_the_stored_figures(analysis: Analysis, board: Leaderboard, rows: DataFrame) -> None:
    found = methods_data(analysis, board, rows)
    for _, row in rows[rows["verdict"] == "VALID"].iterrows():
        cells = cells_of(found, row["page_name"])
        for key in ("fid", "nfe", "precision", "speedup"):
            assert cells[key][1] == pytest.approx(row[key], rel=1e-6)
        assert cells["kid"][0] == f"{format_number(row['kid'])} ± {format_number(row['kid_se'])}"
        assert found.trials[row["page_name"]]["facets"] == [_text(row[column]) for column, _ in FACETS]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_times_to_quality_are_one_table_with_a_column_per_target() -> None:
    targets = "[30.0, 10.0, 0.001]"
    analysis = derive(tables.tables(lambda table: table.assign(fid_targets=targets)))
    board = build_leaderboard(analysis)
    found = targets_data(board)
    assert len(found) == sum(bool(one.quality.serial) + bool(one.quality.parallel) for one in board.classes)
    for table in found:
        assert [column["key"] for column in table["columns"]][1:4] == ["time_30.0", "time_10.0", "time_0.001"]
        for line in table["rows"]:
            assert len(line["details"]) == 3
            for cell in line["cells"][1:4]:
                bar = cell[3] if len(cell) > 3 else {}
                assert not bar or bar.get("missed") or (0 < bar["share"] <= 1 and 0 < bar["one"] <= 1)
            assert line["cells"][3][3] == {"missed": True}
            assert "not reached" in line["cells"][3][0]
    baseline = next(line for line in found[0]["rows"] if line["baseline"])
    assert baseline["cells"][1][3]["share"] == baseline["cells"][1][3]["one"]


def test_a_suite_without_targets_has_no_times_to_quality(board: Leaderboard) -> None:
    expected = sum(bool(one.quality.targets) for one in board.classes)
    assert bool(targets_data(board)) == bool(expected)


def test_details_hold_the_command_parameters_steps_and_controls(rows: DataFrame, analysis: Analysis) -> None:
    changed = rows.assign(suite="my suite", params_json=json.dumps({"solver": {"order": 2}}))
    details = trial_details(analysis, find_comparisons(analysis), changed, {})
    assert set(details["trials"]) == set(rows["page_name"])
    steps = dict(list(analysis.tables["steps"].groupby("trial_id")))
    for trial_id, row in rows.iterrows():
        one = details["trials"][row["page_name"]]
        words = shlex.split(one["command"])
        assert words == [
            "oneclock",
            "run",
            "my suite",
            "--only",
            f"{row['network']}:{row['method']}-{row['steps']:.0f}",
        ]
        assert ["solver", row["solver"], "order = 2"] in one["parameters"]
        assert details["versions"][one["versions"]]["suite"] == "my suite"
        if trial_id in steps:
            assert one["steps"]["nfe"] == [float(f"{value:.4g}") for value in steps[trial_id]["nfe"]]
        else:
            assert one["steps"] == {}


def test_broken_parameters_are_left_out(rows: DataFrame, analysis: Analysis) -> None:
    for text in ("", "{", "[1]", '{"solver": 3}'):
        details = trial_details(analysis, [], rows.head(1).assign(params_json=text), {})
        (one,) = details["trials"].values()
        assert [texts for _, _, texts in one["parameters"]] == [""] * 4


def test_every_column_of_the_csv_is_defined_once(analysis: Analysis, board: Leaderboard, rows: DataFrame) -> None:
    found = page_definitions([*methods_data(analysis, board, rows).tables, *targets_data(board)])
    named = [name for _, name, _ in found.headings if name] + [name for name, _ in found.further]
    assert set(named) == {*(column.name for column in TRIALS.columns), *DERIVED}
    texts = [text for text, _, _ in found.headings]
    assert len(texts) == len(set(texts))
    assert all(sentence for _, _, sentence in found.headings)
