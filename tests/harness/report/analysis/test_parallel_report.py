"""Rows whose steps overlap stand beside their serial twin, across resource classes, and beside no other row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kit import tables
from pandas import DataFrame, concat
from pandas.testing import assert_frame_equal

from harness import api
from harness.report.analysis.derive import derive
from harness.report.analysis.parallel import HEADINGS, VIRTUAL_HEADINGS, parallel_table, virtual_table
from harness.storage.store import Store


def params(executor: str, **others: Any) -> str:
    return json.dumps({"denoiser": {}, "schedule": {}, "solver": others, "executor": {"name": executor}})


def row(name: str, latency: float, **changes: Any) -> dict[str, Any]:
    made = tables.row(name, 16, changes.pop("fid", 5.0), 1.0, **{"params_json": params("serial"), **changes})
    return {**made, "trial_id": tables.trial_id(name), "latency_seconds": latency}


def shown(*rows: dict[str, Any]) -> list[dict[str, str]]:
    """Return the section's rows by heading."""
    frame = DataFrame(rows)
    replicates = [
        {"trial_id": r["trial_id"], "attempt": 1, "group": k, "fid": r["fid"] + 0.1 * (-1) ** k}
        for r in rows
        for k in range(20)
    ]
    found = parallel_table(derive({"trials": frame, "quality": DataFrame(replicates)}))
    return [dict(zip(HEADINGS, line, strict=True)) for line in found.rows]


def srds(latency: float = 0.05, **changes: Any) -> dict[str, Any]:
    facts = {
        "executor": "srds", "params_json": params("srds"), "devices": 2, "iterations": 1.5, "iterations_most": 2,
        "nfe_critical_path": 9.0, "nfe_speculative": 0.5, "bytes_sent_per_image": 2048.0, **changes,
    }  # fmt: skip
    return row("srds", latency, **facts)


def test_time_work_and_traffic_stand_beside_the_serial_run() -> None:
    (line,) = shown(row("serial", 0.08), srds(fid=5.5))
    assert line["Trial"] == "unet-small:srds-16"
    assert line["Refinements, mean (most)"] == "1.50 (2)"
    assert line["NFE on the critical path"] == "9.00"
    assert line["KiB sent per image"] == "2.00"
    assert line["Latency (ms)"] == "50.0"
    assert line["Device-ms per image"] == "100"
    assert line["Speed-up over serial"] == "1.60"
    assert line["Parallel efficiency"] == "0.800"
    assert line["FID minus that of the serial run"].startswith("0.500")


def test_latency_is_pooled_over_blocks_and_a_models_ratio_is_of_its_own() -> None:
    """The clock took 20 ms in one block and 30 ms in the other: its pooled time is 25 ms."""
    pairs = {"latency_ratio_low": 2.9, "latency_ratio_high": 4.1}
    serial = row("serial", 0.08, latency_ratio=4.0, clock_latency_seconds=0.02, **pairs)
    slowed = srds(0.09, latency_ratio=3.0, clock_latency_seconds=0.03, virtual_latency_seconds=0.045, **pairs)
    (line,) = shown(serial, slowed)
    assert (line["Latency (ms)"], line["Device-ms per image"]) == ("75.0", "150")
    assert line["Speed-up over serial"] == "1.33"
    assert line["Virtual / measured latency"] == "0.500"


def test_only_the_row_that_differs_in_nothing_else_is_the_twin() -> None:
    others = [
        row("a", 0.08, solver="heun"), row("b", 0.08, params_json=params("serial", order=3)), row("c", 0.08, steps=17),
        row("d", 0.08, network="another"), row("e", 0.08, device_name="another"), row("f", 0.08, denoiser="early-exit"),
    ]  # fmt: skip
    (line,) = shown(*others, srds())
    assert line["Speed-up over serial"] == line["FID minus that of the serial run"] == "–"
    (line,) = shown(*others, row("serial", 0.1), srds())
    assert line["Speed-up over serial"] == "2.00"


def test_serial_rows_alone_make_no_table() -> None:
    assert shown(row("serial", 0.08)) == []


def replay(devices: int, latency: float, **changes: Any) -> dict[str, Any]:
    """Return a row of `virtual` of the trial srds: serial 80 ms, calls of 5 ms, on two devices measured 50 ms."""
    made = {
        "trial_id": tables.trial_id("srds"), "attempt": 1, "devices": devices, "is_real": devices == 2,
        "iterations": 1.5, "call_seconds": 0.005, "crowded_call_seconds": 0.006, "hop_seconds": 0.0002,
        "serial_seconds": 0.08, "virtual_latency_seconds": latency,
        "measured_latency_seconds": 0.05 if devices == 2 else None,
    }  # fmt: skip
    return {**made, **changes}


def virtual_lines(*replays: dict[str, Any], **changes: Any) -> list[dict[str, str]]:
    found = virtual_table(derive({"trials": DataFrame([srds(**changes)]), "virtual": DataFrame(list(replays))}))
    return [dict(zip(VIRTUAL_HEADINGS, line, strict=True)) for line in found.rows]


def test_the_paired_speedup_of_one_block_goes_before_that_of_two_rows() -> None:
    paired = {"speedup_over_serial": 1.55, "speedup_over_serial_low": 1.5, "speedup_over_serial_high": 1.65}
    (line,) = shown(row("serial", 0.08), srds(**paired))
    assert line["Speed-up over serial"] == "1.55 [1.50, 1.65]"
    assert line["Parallel efficiency"] == "0.775"
    (line,) = shown(srds(**paired))  # needs no serial row
    assert line["Speed-up over serial"] == "1.55 [1.50, 1.65]"


def test_the_model_is_held_against_the_clock() -> None:
    (line,) = shown(srds(virtual_latency_seconds=0.045))
    assert line["Virtual / measured latency"] == "0.900"
    (line,) = shown(srds())
    assert line["Virtual / measured latency"] == "–"


def test_virtual_times_are_labelled_and_stand_beside_the_real_ones() -> None:
    lone, two, four = virtual_lines(replay(4, 0.025), replay(2, 0.048), replay(1, 0.09))
    assert [line["Virtual devices"] for line in (lone, two, four)] == ["1", "2", "4"]
    assert four["Trial, run on"] == "unet-small:srds-16 on 2"
    assert (four["Virtual latency (ms)"], four["Virtual speed-up over measured serial"]) == (
        "25.0 virtual",
        "3.20 virtual",
    )
    assert four["Measured latency (ms)"] == four["Measured speed-up over serial"] == "–"
    assert (two["Measured latency (ms)"], two["Measured speed-up over serial"]) == ("50.0", "1.60")
    assert (two["Call (ms)"], two["Crowded call (ms)"], two["Hop (ms)"]) == ("5.00", "6.00", "0.200")


def test_a_trial_replayed_on_its_own_devices_only_or_of_an_old_attempt_or_invalid_is_not_listed() -> None:
    assert virtual_lines(replay(2, 0.048)) == []
    assert virtual_lines(replay(4, 0.025, attempt=2)) == []
    assert virtual_lines(replay(4, 0.025), verdict="INVALID") == []
    assert len(virtual_lines(replay(4, 0.025))) == 1


def test_virtual_times_rank_nothing() -> None:
    def ranked(scale: float) -> DataFrame:
        rows = [row("a", 0.08), row("b", 0.09), srds(virtual_latency_seconds=0.05 * scale)]
        replays = [replay(2, 0.05 * scale), replay(4, 0.02 * scale)]
        analysis = derive({"trials": DataFrame(rows), "virtual": DataFrame(replays)})
        found = concat([one.rows for one in analysis.classes], ignore_index=True)
        return found.drop(columns="virtual_latency_seconds")

    assert_frame_equal(ranked(1.0), ranked(1e-3))


def test_a_folder_from_before_there_were_virtual_times_still_loads(tmp_path: Path) -> None:
    store = Store.create_or_open(tmp_path / "old")
    made = {name: value for name, value in srds().items() if name not in ("trial_id", "attempt") and value is not None}
    store.commit(tables.trial_id("srds"), {"trials": [made], "timings": [{"kind": "latency", "seconds": 0.05}]})
    (store.folder / "virtual").rmdir()
    found = api.load(store.folder)
    assert (len(found.trials), len(found.timings), len(found.virtual), found.damage) == (1, 1, 0, ())
    assert store.check() == []
    analysis = derive({"trials": found.trials, "virtual": found.virtual})
    assert (len(parallel_table(analysis).rows), len(virtual_table(analysis).rows)) == (1, 0)
