"""The table of searches repeated from other seeds: what belongs together, and its figures by hand."""

from __future__ import annotations

import json
from typing import Any

from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import derive
from harness.report.analysis.search_spread import search_spread_table


def row(name: str, fid: float, seed: int | None, steps: int = 10, **changes: Any) -> dict[str, Any]:
    searched = {} if seed is None else {"seed": seed}
    params = {"denoiser": {"population": 8, **searched, **changes.pop("denoiser", {})}}
    made = tables.row(name, steps, fid, 1.0, **{"flops_per_image": fid * 1e9, **changes})
    return {**made, "trial_id": tables.trial_id(name, steps), "params_json": json.dumps(params)}


def found(*rows: dict[str, Any]) -> list[tuple[str, ...]]:
    return list(search_spread_table(derive({"trials": DataFrame(rows)})).rows)


def test_trials_that_differ_in_the_seed_alone_are_one_row() -> None:
    ((names, seeds, fids, spread, flops, limit),) = found(
        row("b", 7.5, 1), row("a", 9.0, 0), row("c", 8.25, 2), row("whole", 5.0, None)
    )
    assert names == "unet-small:a-10, unet-small:b-10, unet-small:c-10"
    assert (seeds, fids, spread) == ("3", "9.00, 7.50, 8.25", "1.50")
    assert flops == "7.50 to 9.00"
    assert limit == "–"  # no card


def test_nothing_else_may_differ() -> None:
    first = row("a", 9.0, 0)
    for other in (
        row("b", 7.5, 1, steps=20),
        row("b", 7.5, 1, network="another"),
        row("b", 7.5, 1, denoiser={"population": 9}),
        row("b", 7.5, 0),
        row("b", 7.5, None),
    ):
        assert found(first, other) == []
