"""Tables of several folders as one: each trial once, the first finished row stays, contradictions are named."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from kit.site_kit import few_rows, few_tables
from pandas import DataFrame

from harness.runs.joined_tables import group_by_suite, join_tables
from harness.runs.tables import Tables
from harness.schema import TABLES


def folder(name: str, trials: DataFrame) -> Tables:
    known = few_tables(trials)
    return Tables(Path(name), {table: known.get(table, DataFrame({"trial_id": []})) for table in TABLES}, DataFrame())


def test_each_trial_comes_once_with_the_rows_of_its_folder() -> None:
    one, other = folder("one", few_rows().iloc[:4]), folder("other", few_rows().iloc[2:])
    joined = join_tables([one, other])
    assert list(joined.by_name["trials"]["trial_id"]) == list(few_rows()["trial_id"])
    assert [place.name for place in joined.folders.values()] == ["one"] * 4 + ["other"] * 2
    whole = few_tables()
    for name in ("steps", "timings", "checks"):
        pd.testing.assert_frame_equal(joined.by_name[name], whole[name].reset_index(drop=True), check_dtype=False)
    assert joined.conflicts == ()


def test_a_failed_row_gives_way_and_a_contradiction_is_named() -> None:
    first = few_rows()
    first.loc[0, ["status", "verdict"]] = ["failed", "INVALID"]
    second = few_rows()
    second.loc[1, "verdict"] = "INVALID"
    joined = join_tables([folder("one", first), folder("other", second)])
    assert list(joined.by_name["trials"].set_index("trial_id").loc[first["trial_id"], "verdict"]) == ["VALID"] * 5 + [
        "INVALID"
    ]
    assert joined.folders[first["trial_id"].iloc[0]].name == "other"
    assert joined.conflicts == (
        f"unet-small:ddim-10 ({first['trial_id'].iloc[1][:12]}) is VALID there and INVALID here",
    )


def test_folders_that_share_a_suite_are_a_group() -> None:
    both = pd.concat([few_rows(suite="b").iloc[:1], few_rows(suite="c").iloc[1:2]])
    several = [folder(name, few_rows(suite=name)) for name in "abc"] + [folder("both", both)]
    groups = group_by_suite([*several, folder("again", few_rows(suite="a"))])
    assert [[one.folder.name for one in group] for group in groups] == [["a", "again"], ["b", "c", "both"]]
    assert group_by_suite([]) == []
