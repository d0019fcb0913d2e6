"""Targets of FID in shipped suites: they are those of the rule that the suites state."""

from __future__ import annotations

from statistics import mean

import pytest

from harness.config.suite import Suite, load_suite, suite_names
from harness.config.zoo_card import PREFIX, ZooCard, load_zoo_card, zoo_entry_name
from harness.data.cards import load_card

FACTORS = (2.0, 1.25, 1.1)
WITH_TARGETS = [name for name in suite_names() if load_suite(name).quality.targets]


def zoo_cards(suite: Suite) -> list[list[ZooCard]]:
    """Return the cards of each network of a suite, one for each of its trainings."""
    found = {
        str(changes["weights"]).removeprefix(PREFIX): int(changes.get("trainings", suite.trainings))
        for changes in suite.networks.values()
        if "weights" in changes
    }
    return [[load_zoo_card(zoo_entry_name(name, k)) for k in range(count)] for name, count in found.items()]


def reference(suite: Suite, dataset: str) -> float:
    """Return the largest of the best limit among a suite's networks and the bias floor at its number of images.

    The floor goes as 1 / N + 1 / M with M reference images. A limit of another N counts less the
    difference of both floors.
    """
    cards = zoo_cards(suite)
    judged, m = cards[0][0].judged, load_card(dataset).splits[load_card(dataset).reference].n
    there = judged.limit_floor
    floor = there * (1 / suite.n_images + 1 / m) / (1 / judged.limit_images + 1 / m)
    best = min(mean(card.judged.limit_fid for card in trainings) for trainings in cards)
    return max(best - there + floor, floor)


def test_suites_of_digits_have_targets() -> None:
    assert {"digits", "schedules", "widths"} <= set(WITH_TARGETS)
    assert "parallel" not in WITH_TARGETS  # all of its rows lie below the floor of 100 images


@pytest.mark.parametrize("name", WITH_TARGETS)
def test_targets_are_those_of_the_stated_rule(name: str) -> None:
    suite = load_suite(name)
    for dataset, targets in suite.quality.targets.items():
        assert list(targets) == pytest.approx([factor * reference(suite, dataset) for factor in FACTORS], abs=0.005)
