"""Small units of sampling, for every process that plans tests."""

from __future__ import annotations

from harness.planning import task_graph


def make_units_small() -> None:
    """Cut images into units of 100 evaluations from now on."""
    task_graph.UNIT_EVALUATIONS = 100
