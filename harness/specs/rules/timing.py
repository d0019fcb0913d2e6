"""Rules of timing, of energy, and of the calls from which virtual times are replayed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TierRules:
    """The least that a timing block does, both kinds of call and trial and clock together."""

    rounds: int
    """Least rounds; each calls trial and clock once per kind."""
    seconds: float
    """Least seconds of all rounds together."""
    warm_up_calls: int
    """Least calls of each kind and role before the rounds."""
    warm_up_seconds: float
    """Least seconds of these calls, each kind and role alone."""
    warm_up_most: int
    """Most such calls, where their times do not become steady."""


TIERS = {
    "smoke": TierRules(rounds=6, seconds=0.0, warm_up_calls=1, warm_up_seconds=0.0, warm_up_most=1),
    "quick": TierRules(rounds=11, seconds=2.0, warm_up_calls=3, warm_up_seconds=0.0, warm_up_most=3),
    "paper": TierRules(rounds=64, seconds=60.0, warm_up_calls=3, warm_up_seconds=5.0, warm_up_most=1000),
}
"""By name of the tier. Rows of different tiers never share a ranking."""
STEADY_WINDOW, STEADY_SHARE = 3, 0.02
"""A warm-up is over when the medians of the last two windows of so many calls differ by less than this share."""
ENERGY_SECONDS = 5.0
"""The least window over which energy is read, since counters tick some ten times a second."""

# Virtual time of parallel executors

CALL_LOOPS, LOOP_CALLS = 7, 16
"""Loops of network calls whose median is the seconds of a call, and calls in a loop. One more loop warms up."""
ROUND_TRIPS = 50
"""Round trips of a state between two ranks, whose median is the seconds of a transfer."""
