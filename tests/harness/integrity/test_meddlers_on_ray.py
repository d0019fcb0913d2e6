"""On Ray: the row of a method that changes what judges names the change, and its worker is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.faulty import Counting, complete, measure, suite
from kit.meddlers import Child, Digests, Guard, Raises, Spins

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("faulty_known")]
ON_RAY = (Digests, Spins, Child, Guard, Raises)


def test_only_its_own_row_is_lost_and_its_worker_is_replaced(tmp_path: Path, ray_pool: Any) -> None:
    before = set(complete(ray_pool))
    entries = [{"solver": kind.name, "steps": 2} for kind in ON_RAY]
    found = measure(suite([*entries, {"solver": "ddim", "steps": 3}]), tmp_path, Counting(ray_pool))

    for kind in ON_RAY:
        (row,) = [row for row in found.values() if row["solver"] == kind.name]
        assert row["verdict"] == "INVALID"
        assert row["reasons"].startswith(f"tampered: solver/{kind.name} "), row["reasons"]
        assert kind.change in row["reasons"]
    honest = [found["ddim-2"], found["ddim-3"]]
    assert [why for row in honest if (why := row["reasons"]) and not why.startswith("latency-")] == []
    assert not before & set(complete(ray_pool))
