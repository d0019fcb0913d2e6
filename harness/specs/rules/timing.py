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
DECODE_CALLS = 5
"""Calls after the rounds that decode a batch of latents by themselves."""
# Disturbed blocks

OWN_CPU_SHARE = 0.9
"""A repetition in which own CPU seconds are a smaller share of wall seconds was disturbed: other work had the core.

On an idle machine the share is 0.98 or more in nine calls of ten; two processes on one core leave 0.5.
"""
MOST_DISTURBED = 0.2
"""A block with a larger share of disturbed repetitions is disturbed.

A median of the others still holds where fewer are: it moves by no more than their rank. Scheduled jobs of the system
alone disturb a twentieth.
"""
MOST_REPEATS = 2
"""A disturbed block is repeated at most so often: a short load is then over, a long one would be there for hours."""
THROTTLE_REASONS = {
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""Clocks event reasons of NVML, by bit, that disturb a repetition: heat, or a fault of the power supply.

Those that follow from the work itself or from settings do not: idle, power cap, application clocks, synchronous boost.
"""

# Energy

ENERGY_SECONDS = 5.0
"""The least window over which energy is read, since counters tick some ten times a second."""

# Virtual time of parallel executors

CALL_LOOPS, LOOP_CALLS = 7, 16
"""Loops of network calls whose median is the seconds of a call, and calls in a loop. One more loop warms up."""
ROUND_TRIPS = 50
"""Round trips of a state between two ranks, whose median is the seconds of a transfer."""
