"""Collects what methods and networks say of themselves, for reports, which may not import them."""

from __future__ import annotations

import inspect
import sys
from dataclasses import fields
from pathlib import Path

from harness.config.network_card import load_network_card, network_names
from harness.registry import registry
from harness.report.facts import NETWORK, ClaimFacts, MethodFacts
from harness.storage.claim_records import read_claim_records


def collect_facts() -> tuple[MethodFacts, ...]:
    """Return the facts of every registered method and of every shipped network card.

    Plug-ins that cannot be imported have none.
    """
    found = registry()
    facts = [
        MethodFacts(one.part, one.name, one.method_family, one.summary, one.claim, one.__module__, _document(one))
        for one in found.methods()
    ]
    for name in network_names():
        network = found.network(load_network_card(name).family)
        facts.append(
            MethodFacts(
                NETWORK, name, network.method_family, network.summary, network.claim, network.__module__,
                _document(network),
            )
        )  # fmt: skip
    return tuple(facts)


def _document(one: type) -> str:
    """Return the docstring of the module that defines a class; empty where there is none."""
    module = sys.modules.get(one.__module__)
    return "" if module is None else inspect.getdoc(module) or ""


def collect_claims(results: Path) -> tuple[ClaimFacts, ...]:
    """Return what was found of published figures by the suites of a folder of results."""
    known = [field.name for field in fields(ClaimFacts)]
    found = []
    for name, record in read_claim_records(results).items():
        given = {key: value for key, value in record.items() if key in known}
        found.append(ClaimFacts(**{**given, "name": name, "unmet": tuple(record["unmet"])}))
    return tuple(found)
