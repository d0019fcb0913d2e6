"""Optional trials of published networks, which a plan has once the network is imported."""

from __future__ import annotations

from harness.config.network_card import is_known_network
from harness.config.suite import Suite, TrialEntry
from harness.fetching.lookup import offer_import_name
from harness.planning.baseline import as_list


def planned_networks(suite: Suite, entry: TrialEntry) -> tuple[list[str], list[str]]:
    """Return the networks of an entry that have trials, and a sentence on each that is left out."""
    names = as_list(entry.network if entry.network is not None else suite.network)
    reasons = {name: explain_left_out(suite, entry, name) for name in names}
    return [name for name in names if not reasons[name]], [reason for reason in reasons.values() if reason]


def explain_left_out(suite: Suite, entry: TrialEntry, network: str) -> str:
    """Return why an optional entry has no trials on a network, a sentence; "" where it has them.

    A network that no command brings is none that was published: a wrong name, which the plan then refuses.
    """
    if not entry.optional or "like" in suite.networks.get(network, {}) or is_known_network(network):
        return ""
    offer = offer_import_name(network)
    return f'left out: the trials of "{network}", which is not in the folder imported{offer}' if offer else ""
