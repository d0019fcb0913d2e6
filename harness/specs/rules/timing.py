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
    warm_up_most_seconds: float
    """After so long no call is added to the least ones for that."""
    steady_window: int
    """A warm-up is steady when the medians of its last two windows of so many calls agree; 0: that is not judged."""
    steady_share: float
    """They agree where they differ by less than this share."""


TIERS = {
    "smoke": TierRules(
        rounds=6, seconds=0.0, warm_up_calls=1, warm_up_seconds=0.0, warm_up_most=1, warm_up_most_seconds=0.0,
        steady_window=0, steady_share=0.0,
    ),
    "quick": TierRules(
        rounds=11, seconds=2.0, warm_up_calls=3, warm_up_seconds=0.0, warm_up_most=6, warm_up_most_seconds=1.0,
        steady_window=1, steady_share=0.05,
    ),
    "paper": TierRules(
        rounds=64, seconds=60.0, warm_up_calls=3, warm_up_seconds=5.0, warm_up_most=1000, warm_up_most_seconds=60.0,
        steady_window=3, steady_share=0.02,
    ),
}  # fmt: skip
"""By name of the tier. Rows of different tiers never share a ranking."""
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
POWER_CAP = 0x4
"""The bit of the power cap. It is recorded, with the limit: a device runs at the power that it is given."""
FOREIGN_MEMORY = 2 << 30
"""Bytes of a GPU's memory in use beyond torch's own, above which another process is there.

Read where processes are not listed, as in a container. The own context and its libraries take up to a gigabyte.
"""
IDLE_LOOK, FOREIGN_LOAD = 1.0, 0.05
"""Seconds for which such a GPU is left alone before a block, and the share of them in which others may use it."""

LEAST_DRIFT_ROUNDS, MOST_DRIFT = 11, 0.03
"""On a GPU a block is void if the clock trial's time moves by more, from the first half of its rounds to the second.

Fewer rounds have no median worth the name. On a CPU the drift is recorded alone: ratios are within pairs, and cores
move so far that few blocks would be left.
"""

# Energy

ENERGY_SECONDS, CPU_ENERGY_SECONDS = 10.0, 5.0
"""The least window over which energy is read: a GPU's counter ticks ten times a second, a processor's a thousand."""
IDLE_SECONDS, CPU_IDLE_SECONDS = 10.0, 2.0
"""The window of idle power, read once in a process."""

# Virtual time of parallel executors

CALL_LOOPS, LOOP_CALLS = 7, 16
"""Loops of network calls whose median is the seconds of a call, and calls in a loop. One more loop warms up."""
ROUND_TRIPS = 50
"""Round trips of a state between two ranks, whose median is the seconds of a transfer."""
