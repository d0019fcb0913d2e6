"""A suite in the making: its baseline at several steps, methods at fewer, its network, and its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.cli.new.rendering import render_template
from harness.config.zoo_card import PREFIX, load_zoo_card
from harness.metrics.extractors import extractor_spec

BASELINE_STEPS, METHOD_STEPS, CLOCK_STEPS = (5, 10, 20, 40), (5, 10, 20), 10
TARGET_FACTORS = (2.0, 1.25, 1.1)
"""Targets of FID over the best that can be seen, loosest first, as in the shipped suites."""
LEAST_IMAGES, IMAGES_PER_FEATURE = 500, 4


@dataclass(frozen=True)
class TrialLines:
    """One `[[trials]]` table: parts by name, steps, and a comment."""

    parts: Mapping[str, str | Sequence[str]]
    steps: Sequence[int]
    comment: str = ""


@dataclass(frozen=True)
class NetworkChoice:
    """The network of a suite, its entries under `[networks]`, and how many images fit it."""

    name: str
    settings: Mapping[str, Any]
    n_images: int
    why_so_many: str
    targets: tuple[float, ...] = ()
    said: str = "of the zoo, nothing is trained"
    """Where its weights come from, in words."""
    is_timed: bool = False
    """Whether a step of its training was timed for what is said."""
    knows_classes: bool = False
    """Whether each image needs a class."""
    note: Sequence[str] = ()
    """A comment for the suite's file, line by line."""


@dataclass(frozen=True)
class NewSuite:
    """What a suite's file says."""

    name: str
    title: str
    dataset: str
    """As the suite names it: a card's name or path."""
    card_name: str
    extractor: str
    network: NetworkChoice
    baseline: Mapping[str, str]
    trials: Sequence[TrialLines] = field(default_factory=list)
    clock_steps: int = CLOCK_STEPS

    def text(self, command: str) -> str:
        """Return the file; `command` is what was typed to get it."""
        return render_template("suite.toml.j2", suite=self, network=self.network, command=command)


def images_for(dim: int) -> int:
    """Return how many images a FID on so many features wants: four a feature, 500 at least, in whole hundreds."""
    return max(LEAST_IMAGES, round(IMAGES_PER_FEATURE * dim, -2))


def choose_from_zoo(name: str, extractor: str) -> NetworkChoice:
    """Return a network of the zoo, with as many images as its limit was measured with, and targets by that limit."""
    judged = load_zoo_card(name).judged
    spec = extractor_spec(extractor)
    settings = {"weights": f"{PREFIX}{name}"}
    if judged.extractor_sha256 != spec.sha256:
        dim = spec.dim or 0
        return NetworkChoice(name, settings, images_for(dim), describe_count(dim))

    best = max(judged.limit_fid, judged.limit_floor)
    return NetworkChoice(
        name,
        settings,
        n_images=judged.limit_images,
        why_so_many=f"as many as the network's own limit was measured with; FID needs more than {spec.dim}",
        targets=tuple(round(factor * best, 2) for factor in TARGET_FACTORS),
    )


def describe_count(dim: int) -> str:
    """Return why a suite has its number of images."""
    return f"FID needs more than {dim}, the features of the feature network; its interval is narrower with more"
