"""The history of a training: the rule that ends it, the best weights, the machines of a leg."""

from __future__ import annotations

from typing import Any

import pytest

from harness.zoo.history import Check, History, LegStart
from harness.zoo.recipes import Rules


def history(*checks: tuple[float, float]) -> History:
    """Return a history of (held-out loss, copy rate), a check every 100 images."""
    found = History(LegStart(5), 0.017)
    for number, (loss, rate) in enumerate(checks, 1):
        found.add_check(Check(100 * number, float(number), loss, rate), {})
    return found


@pytest.mark.parametrize(
    ("checks", "rule"),
    [
        ([(0.5, 0.0), (0.4, 0.0)], None),
        ([(0.4, 0.0), (0.5, 0.0), (0.39, 0.0), (0.41, 0.0)], None),
        ([(0.4, 0.0), (0.5, 0.0), (0.4, 0.0)], "held-out loss did not fall for 2 checks"),
        ([(0.4, 0.0), (0.3, 0.05)], "the copy rate of 5.0 % after 200 images is above the 1.7 %"),
        ([(9 - n, 0.0) for n in range(8)], "the aim of 800 images is reached"),
    ],
)
def test_a_rule_ends_a_training(checks: list[Any], rule: str | None) -> None:
    reason = history(*checks).find_reason_to_end(Rules(images=800, check_images=100, patience=2))
    assert reason is None if rule is None else reason is not None and reason.startswith(rule)


def test_a_leg_names_every_machine_that_trained_it() -> None:
    """Its working state may be carried to another; the libraries are those of the latest."""
    here = history((0.5, 0.0))
    here.note_device("NVIDIA H200", {"torch": "2.11.0"})
    there = History.restored(here.tensors(), here.as_dict(), 1.0)
    for _ in range(2):
        there.note_device("Xeon", {"torch": "2.15.0"})
    assert (here.devices, there.devices) == (["NVIDIA H200"], ["NVIDIA H200", "Xeon"])
    assert there.libraries == {"torch": "2.15.0"}


def test_weights_of_a_network_that_copies_are_not_kept() -> None:
    found = history((0.5, 0.0), (0.3, 0.5))
    assert found.best == Check(100, 1.0, 0.5, 0.0)
    assert history((0.5, 0.5)).best is None
