"""The plain tables that figures of time to quality are drawn from say what the analysis found."""

from __future__ import annotations

import json

import pytest
from kit import tables

from harness.report.analysis.derive import derive
from harness.report.analysis.time_to_quality import read_class
from harness.report.figures.target_frames import frames_by_target
from harness.report.figures.time_to_quality_figure import AT_MOST, COLUMNS, NOT_REACHED, REACHED

TARGETS = [30.0, 2.0, 0.61]


def test_every_serial_method_has_a_row_per_target_with_its_state_and_time() -> None:
    analysis = derive(tables.tables(lambda table: table.assign(devices=1, fid_targets=json.dumps(TARGETS))))
    one = analysis.classes[0]
    frames = frames_by_target(read_class(one, analysis))
    assert list(frames) == TARGETS
    serial = one.rows[one.rows["executor"] == "serial"]
    for target, table in frames.items():
        assert list(table.columns) == list(COLUMNS)
        assert sorted(table["method"]) == sorted(set(serial["method"]))
        for _, row in table.iterrows():
            curve = serial[serial["method"] == row["method"]].sort_values("steps")
            at_once = curve["fid"].iloc[0] <= target
            state = AT_MOST if at_once else REACHED if curve["fid"].min() <= target else NOT_REACHED
            assert row["state"] == state, (target, row["method"])
            assert row["best_fid"] == curve["fid"].min()
            seconds = 1 / curve["throughput_images_per_second"]
            if state == AT_MOST:
                assert row["seconds"] == pytest.approx(seconds.iloc[0])
            elif state == REACHED:
                assert seconds.min() < row["seconds"] < seconds.max()
            assert (row["rank"] == row["rank"]) == (state == REACHED)
    assert {state for table in frames.values() for state in table["state"]} == {AT_MOST, REACHED, NOT_REACHED}
    assert frames[2.0].loc[frames[2.0]["is_baseline"], "method"].tolist() == ["ddim"]


def test_a_suite_without_targets_has_no_frames() -> None:
    analysis = derive(tables.tables())
    assert frames_by_target(read_class(analysis.classes[0], analysis)) == {}
