"""Rows whose steps overlap stand beside their serial twin, across resource classes, and beside no other row."""

from __future__ import annotations

import json
from typing import Any

import tables
from pandas import DataFrame

from harness.report.analysis import derive
from harness.report.parallel import HEADINGS, overlapped


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
    found = overlapped(derive({"trials": frame, "quality": DataFrame(replicates)}))
    return [dict(zip(HEADINGS, line, strict=True)) for line in found.rows]


def srds(latency: float = 0.05, **changes: Any) -> dict[str, Any]:
    facts = {
        "executor": "srds", "params_json": params("srds"), "devices": 2, "iterations": 1.5, "iterations_most": 2,
        "nfe_critical_path": 9.0, "nfe_speculative": 0.5, "bytes_sent_per_image": 2048.0, **changes,
    }  # fmt: skip
    return row("srds", latency, **facts)


def test_time_work_and_traffic_stand_beside_the_serial_run() -> None:
    (line,) = shown(row("serial", 0.08), srds(fid=5.5))
    assert line["Trial"] == "srds, NFE 16"
    assert line["Refinements, mean (most)"] == "1.50 (2)"
    assert line["NFE on the critical path"] == "9.00"
    assert line["KiB sent per image"] == "2.00"
    assert line["Latency (ms)"] == "50.0"
    assert line["Device-ms per image"] == "100"
    assert line["Speed-up over serial"] == "1.60"
    assert line["Parallel efficiency"] == "0.800"
    assert line["FID minus that of the serial run"].startswith("0.500")


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
