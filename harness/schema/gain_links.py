"""The chain from a suite's baseline to a row, a part at a time: the report shows it, a plan says what it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

LINKED_PARTS = ("solver", "schedule", "network", "denoiser", "executor")
"""The order of the links: how the baseline's network is sampled, which network, how it is accelerated."""

_Part = TypeVar("_Part")


def chain_links(start: Mapping[str, _Part], end: Mapping[str, _Part]) -> list[tuple[str, dict[str, _Part]]]:
    """Return the links from one configuration to another: the part, and the configuration that it leads to.

    Both hold `LINKED_PARTS`. Equal parts give no link; the last link leads to `end`.
    """
    here = dict(start)
    found = []
    for part in LINKED_PARTS:
        if here[part] != end[part]:
            here = {**here, part: end[part]}
            found.append((part, here))
    return found


def baseline_steps(steps: int, evaluations: int, baseline_evaluations: int) -> int | None:
    """Return the steps of the baseline with as many evaluations as a row.

    `evaluations` and `baseline_evaluations` are those of a step. None where no whole number of steps fits.
    """
    whole, rest = divmod(steps * evaluations, baseline_evaluations)
    return None if rest else whole
