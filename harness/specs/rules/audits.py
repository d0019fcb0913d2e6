"""Rules of audits: how much of a trial is looked at again. Bounds stand in `harness.specs.rules.bounds`."""

from __future__ import annotations

PROBED_IMAGES = 3
"""Images of a probed batch that are made again, also with slightly other noise."""
PROBED_SPANS = 64
"""Of the spans after the first, one in so many is probed, drawn by chance."""
PROBE_NOISE_CHANGE = 1e-4
"""Relative change of the noise of a probed image: ten times what float32 resolves over the steps of a sampler."""
PROBE_NOISE_CHANGE_OF_PICTURES = 0.01
"""The same of a wrapped pipeline, whose finished pictures may be of 256 levels: a smaller change may change none."""
PROBE_ESTIMATE_CHANGE = 0.01
"""Relative change of all estimates of the network while an image is made again."""
WATCHED_PROBES = 8
"""Of the probes, one in so many runs under a counter of operators, drawn by chance.

After each timing a whole batch does."""
FRESH_IMAGES, MORE_FRESH_IMAGES, MORE_FRESH_FROM = 6, 12, 1.5
"""Images of new noise, and of a scored batch, that are compared with solutions of the flow.

Where all new ones are so many times as far as all scored ones, so many more new ones are.
"""
NEW_IMAGES_REPEATS, SLOW_NEW_IMAGES = 3, 2.0
"""Further calls with new images, of which the least counts, where one takes more than so many times a timed call."""
LEAST_PAIRS, MOST_PAIRS, SLOW_NEW_IMAGES_OF_PAIRS = 2, 16, 1.1
"""Of a pipeline whose network is not seen: pairs of calls with new images and with timed ones, in turn.

The least of each counts; there are more pairs than the first number where one is so many times the other.
"""
UNIT_CALLS = 2
"""Calls of each unit of the network by itself, of which the fastest counts."""
COMPARED_BYTES = 16_000_000
"""Pixels that a timing keeps of scored batches, and as many of other calls, to compare them. More would show in the
peak memory of a trial."""
