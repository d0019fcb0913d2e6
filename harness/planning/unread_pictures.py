"""Which pictures a suite reads where a file of statistics stands for the reference split: those that it learns from."""

from __future__ import annotations

from collections.abc import Callable

from harness.config.network_card import NetworkCard
from harness.config.suite import Suite, TrialEntry
from harness.errors import located
from harness.planning.baseline import as_list, as_part
from harness.planning.optional_networks import planned_networks
from harness.planning.stored_parts import PreparationCards, make_entry_part, stored_reference
from harness.registry import registry
from methods.parts import PARTS

NOT_READ = "not read"
"""In place of the SHA-256 of pixels that nothing of a suite reads."""


def reads_training_split(suite: Suite, load_network: Callable[[str], NetworkCard]) -> bool:
    """Tell whether anything of a suite is trained here, or prepared, or counts the classes of training images.

    UsageError for a part that is unknown.
    """
    return suite.classes == "frequency" or learns_here(suite, load_network)


def learns_here(suite: Suite, load_network: Callable[[str], NetworkCard]) -> bool:
    """Tell whether anything of a suite is trained here or learns from pictures; UsageError for an unknown part."""
    for number, entry in enumerate(suite.trials):
        names, _ = planned_networks(suite, entry)
        if any(_is_trained(load_network(name)) for name in names):
            return True
        with located(f"{suite.where}, [[trials]] entry {number + 1} (trials.{number})"):
            if _prepares(entry):
                return True
    return False


def _is_trained(net: NetworkCard) -> bool:
    return registry().network(net.family).trainable and net.weights is None


def _prepares(entry: TrialEntry) -> bool:
    """Tell whether a part of an entry learns from pictures here."""
    items = [(part, as_part(item)) for part in PARTS for item in as_list(getattr(entry, part))]
    cards = PreparationCards()
    made = [make_entry_part(part, item, cards) for part, item in items if stored_reference(item) is None]
    return any(method.prepares and method.learns_from_images for method in made)
