"""Collects what methods and networks say of themselves, for reports, which may not import them."""

from __future__ import annotations

from harness.config.network_card import load_network_card, network_names
from harness.registry import registry
from harness.report.facts import NETWORK, MethodFacts


def collect_facts() -> tuple[MethodFacts, ...]:
    """Return the facts of every registered method and of every shipped network card.

    Plug-ins that cannot be imported have none.
    """
    found = registry()
    facts = [
        MethodFacts(one.part, one.name, one.method_family, one.summary, one.claim, one.__module__)
        for one in found.methods()
    ]
    for name in network_names():
        network = found.network(load_network_card(name).family)
        facts.append(
            MethodFacts(NETWORK, name, network.method_family, network.summary, network.claim, network.__module__)
        )
    return tuple(facts)
