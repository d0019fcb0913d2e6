"""What a timing has to itself: the node on CPUs, the GPU on GPUs, and for the clock's own the node always."""

from __future__ import annotations

from typing import Any

import pytest
from kit.plan_kit import plan

from harness.errors import UsageError
from harness.planning.plan import Plan
from harness.specs.base import deciding_fields
from harness.specs.time import TimeSpec

GPU = "cuda:a GPU"


def timings(made: Plan) -> dict[str, TimeSpec]:
    """Return the specs of all timings, by the name of the trial's solver and steps."""
    specs = [task.spec for task in made.tasks.values() if isinstance(task.spec, TimeSpec)]
    return {f"{one.sampler.solver.name}-{one.sampler.steps}": one for one in specs}


@pytest.mark.parametrize(
    ("device", "changes", "alone"),
    [
        ("cpu:a chip", {}, "node"),
        ("cpu:a chip", {"timing": {"alone": "node"}}, "node"),
        (GPU, {}, "device"),
        (GPU, {"timing": {"alone": "device"}}, "device"),
        (GPU, {"timing": {"alone": "node"}}, "node"),
    ],
)
def test_the_device_decides_where_the_suite_does_not_and_the_clock_has_the_node(
    device: str, changes: dict[str, Any], alone: str
) -> None:
    made = plan(device, **changes)
    found = timings(made)
    assert {name: one.alone for name, one in found.items()} == {"ddim-2": "node", "ddim-3": alone}
    assert {name: one.is_exclusive() for name, one in found.items()} == {"ddim-2": True, "ddim-3": alone == "node"}

    # a row with neighbours reads the clock's own timing
    clock, other = made.trials
    expected = clock.row.time_id if alone == "device" else None
    assert (clock.row.clock_time_id, other.row.clock_time_id) == (None, expected)
    assert expected is None or expected in other.row.needs()


def test_a_whole_node_decides_as_it_did_before_there_was_a_choice() -> None:
    found = timings(plan(GPU))
    assert "alone" not in deciding_fields(found["ddim-2"])
    assert deciding_fields(found["ddim-3"])["alone"] == "device"


def test_cores_of_a_cpu_are_not_timed_next_to_each_other() -> None:
    with pytest.raises(UsageError, match=r'suite "mine": timing.alone is "device".*expected "node"'):
        plan(timing={"alone": "device"})
    with pytest.raises(ValueError, match="device"):
        plan(timing={"alone": "core"})


def test_a_row_names_the_settings_that_differ_from_the_clocks() -> None:
    made = plan(trials=[{"steps": [2, 3]}, {"steps": 3, "solver": "heun", "schedule": {"name": "edm", "rho": 5.0}}])
    found = [one.row.relations.differs_from_clock for one in made.trials]
    assert found[0] == ""
    assert found[1] == "steps 3 for 2"
    assert set(found[2].split("; ")) == {
        "schedule.params.rho 5.0 for 7.0",
        "solver.name heun for ddim",
        "steps 3 for 2",
    }
