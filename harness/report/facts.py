"""What methods and networks say of themselves, for reports: family, summary, what their paper claims."""

from __future__ import annotations

from dataclasses import dataclass

NETWORK = "network"


@dataclass(frozen=True)
class MethodFacts:
    """A method, or a network by its card."""

    part: str
    """One of the four parts, or NETWORK."""
    name: str
    """As rows have it: the method's name, or that of the network's card."""
    family: str
    """The family under which its rows stand; empty where it has none."""
    summary: str
    claim: str
    """What its paper claims, in one sentence; empty where there is none."""
    source: str
    """The module that defines it."""
