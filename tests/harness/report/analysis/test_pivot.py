"""Under which column a row stands, what a network's limit is, and which rows lie below it."""

from __future__ import annotations

import math

import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.limits import is_below_limit, limit_text, longest_rows, network_limits, rows_below_limit
from harness.report.analysis.method_lines import distinct_names, split_into_lines
from harness.report.analysis.pivot import build_pivot, stands_elsewhere
from harness.report.analysis.rows import typed_table


def rows_of(*rows: dict) -> DataFrame:
    return typed_table("trials", DataFrame(list(rows)))


def plain(method: str, steps: int, nfe: float, **changes: object) -> dict:
    """Return a row that is 10.0 in FID unless `changes` say otherwise."""
    row = tables.row(method, nfe, 10.0, 1.0, steps=steps, trial_id=f"{method} {steps}")
    return {**row, **changes}


def test_heun_stands_under_its_evaluations_and_an_adaptive_row_under_the_nearest_column() -> None:
    rows = rows_of(
        *(plain("ddim", steps, steps) for steps in (5, 10, 20)), plain("heun", 5, 10), plain("heun", 10, 19),
        plain("adaptive", 10, 7.9), plain("adaptive", 20, 18.3), plain("far", 20, 194.2),
    )  # fmt: skip
    pivot = build_pivot(split_into_lines(rows))
    assert pivot.columns == (5, 8, 10, 20, 194)
    shown = {one.line.method: [None if c is None else c["trial_id"] for c in one.cells] for one in pivot.lines}
    assert shown["ddim"] == ["ddim 5", None, "ddim 10", "ddim 20", None]
    assert shown["heun"] == [None, None, "heun 5", "heun 10", None]
    assert shown["adaptive"] == [None, "adaptive 10", None, "adaptive 20", None]
    assert shown["far"] == [None, None, None, None, "far 20"]
    assert stands_elsewhere(pivot.lines[0].cells[3], 20, parallel=False)  # type: ignore[arg-type]


def test_parallel_lines_stand_under_their_steps() -> None:
    rows = rows_of(plain("srds", 16, 39.6, executor="srds"), plain("srds", 64, 194.1, executor="srds"))
    assert build_pivot(split_into_lines(rows)).columns == (16, 64)


def test_of_two_rows_under_one_column_the_nearer_is_shown() -> None:
    rows = rows_of(plain("ddim", 10, 10), plain("few", 3, 9.0), plain("few", 4, 10.5))
    pivot = build_pivot(split_into_lines(rows))
    assert pivot.columns == (10,)
    assert pivot.lines[1].cells[0]["trial_id"] == "few 4"  # type: ignore[index]


def test_names_are_distinct_and_say_in_what_rows_differ() -> None:
    same = [plain("ddim", 5, 5), plain("ddim", 5, 5, seed_set=1, trial_id="b")]
    assert distinct_names(rows_of(*same)) == ["unet-small:ddim-5, seed set 0", "unet-small:ddim-5, seed set 1"]
    twins = [plain("ddim", 5, 5, trial_id="0123456789"), plain("ddim", 5, 5, trial_id="9876543210")]
    assert distinct_names(rows_of(*twins)) == ["unet-small:ddim-5, 01234567", "unet-small:ddim-5, 98765432"]
    suites = rows_of(plain("ddim", 5, 5), plain("ddim", 5, 5, suite="other", trial_id="b"))
    assert [line.name for line in split_into_lines(suites)] == [
        "unet-small:ddim, suite other", "unet-small:ddim, suite quick",
    ]  # fmt: skip


def test_the_limit_comes_from_the_card_alone_and_the_longest_row_is_none() -> None:
    limits = {"network_limit_fid": 1.5, "network_limit_fid_low": 1.0, "network_limit_fid_high": 2.0}
    rows = rows_of(
        plain("ddim", 5, 5, network="a", **limits), plain("ddim", 40, 40, network="a", **limits),
        plain("ddim", 20, 20, network="b", fid=3.0), plain("ddim", 10, 10, network="b", fid=4.0),
        plain("exit", 40, 40, network="b", denoiser="early-exit", fid=0.1),
        plain("srds", 40, 90, network="b", executor="srds"),
        plain("exit", 40, 40, network="c", denoiser="early-exit"),
    )  # fmt: skip
    found = network_limits(rows)
    assert list(found) == ["a"]
    assert (found["a"].fid, found["a"].low, found["a"].high) == (1.5, 1.0, 2.0)
    longest = longest_rows(rows)
    assert list(longest) == ["b"]
    assert (longest["b"].name, longest["b"].fid) == ("b:ddim-20", 3.0)
    assert rows_below_limit(rows, found) == set()  # 0.1 is below 3.0, which is no limit


@pytest.mark.parametrize(("fid", "below"), [(1.29, True), (1.31, False), (1.7, False), (math.nan, False)])
def test_below_the_limit_is_a_test_of_the_difference_with_both_intervals(fid: float, below: bool) -> None:
    limits = {"network_limit_fid": 2.0, "network_limit_fid_low": 1.5, "network_limit_fid_high": 2.5}
    row = plain("ddim", 5, 5, fid=fid, fid_low=fid - 0.49, fid_high=fid + 0.49, **limits)  # joined half width 0.70
    rows = rows_of(row)
    found = network_limits(rows)
    assert is_below_limit(rows.iloc[0], found["unet-small"]) is below
    assert rows_below_limit(rows, found) == ({row["trial_id"]} if below else set())
    assert not is_below_limit(rows.iloc[0], None)


def test_the_limit_of_a_card_stands_in_every_table_with_its_interval() -> None:
    limits = {"network_limit_fid": 1.5, "network_limit_fid_low": 1.0, "network_limit_fid_high": 2.0}
    rows = rows_of(plain("ddim", 5, 5, **limits), plain("heun", 5, 10))
    assert [limit_text(row) for _, row in rows.iterrows()] == ["1.50 [1.00, 2.00]", "–"]
