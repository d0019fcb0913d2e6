"""Bounds that a sound row keeps: the rules of `harness.rows.rules` read them, and no task does."""

from __future__ import annotations

STATE_TOLERANCE = {"float64": 1e-6, "float32": 1e-3, "tf32": 0.1, "bfloat16": 0.2, "float16": 0.1}
"""Relative difference of an image's final state in another batch, by precision.

Kernels round otherwise for other shapes: 5e-7 in float32 on the networks of this repository on a CPU. TF32 has the
bits of float16.
"""
GREY_TOLERANCE = {"float64": 0.1, "float32": 0.5, "tf32": 4.0, "bfloat16": 8.0, "float16": 4.0}
"""Mean difference, in grey levels of 255, of an image made alone and in a batch, by precision."""
MOST_FLIPPED = 0.1
"""Share of images whose differences may be larger, and at least one, where a method decides image by image what runs.

A decision near its threshold falls otherwise after another rounding.
"""
MOST_NOISE_RESPONSE = 50.0
"""Most relative change of a final state over that of its noise.

Samplers of this repository have 0.002 to 2; one that looks up other images has some 400 to 5,000.
"""
LEAST_ESTIMATE_RESPONSE = 0.3
"""Least relative change of a final state over that of all estimates of the network: a sampler has 1 and more."""
LEAST_MEDIAN_RATIO = 0.8
"""Least median of the ratio by which copies are found.

Networks of the zoo have 1.06 to 1.21; Euler's two steps, which shrink a Gaussian, 0.87.
"""
LEAST_BATCH_RATIO, MOST_IMAGE_RATIO = 0.5, 2.0
"""A call with a batch takes at least this share of one with a single image, and at most so many of them an image."""
MOST_BESIDE_RATIO = 1.05
"""Most time of the clock beside a node's other GPUs, over that with the node to itself: GPUs of one name differ so."""
MOST_SEED_DIFFERENCE = 6.0
"""Most difference of FID between two seed sets, in standard errors of it: more comes once in a million by chance."""
MOST_NEW_RATIO = 3.0
"""Most time of a call with images that are new, over that of a timed call."""
MOST_REPEATED_RATIO = 1.25
"""Most time of a pipeline for new images over that for such that it has made: the least of calls made in turn.

Its network is not seen, so no other rule compares what its timed calls did.
"""
MOST_OVER_UNITS, EVALUATION_OVERHEAD = 3.0, 2e-4
"""Most time of a batch over that of the units that it reports, each run by itself, and what a sampler may take besides.

The second number is for each evaluation: on a tiny network the solver's own work is more than the network's.
"""
MOST_FRESH_ERROR, LEAST_FRESH_ERROR = 1.5, 0.05
"""Least error of images of new noise over the largest of as many scored ones; below the second it may be more.

If both are made alike, all eight of one kind exceed all eight of the other once in 12,870 trials; by a factor, hardly
ever.
"""
MOST_MISMATCH, FEW_EVALUATIONS, MOST_MISMATCH_OF_FEW = 0.75, 5, 0.98
"""Most truncation error of a solver that follows the flow, over the error that other images' exact solutions have.

An image that does not depend on its noise has 1. The last bound is for fewer evaluations: Euler's two steps have 0.91.
"""
LOW_LEVEL, LEAST_LOW_LEVELS = 0.1, 2
"""A grid with fewer levels than this below this share of its first one is as coarse as one of few evaluations.

Ten uniform steps in sigma have none below, and an error of 0.92; twenty have one and 0.82; 27 have two and 0.21.
"""
WORK_TOLERANCE = 0.25
"""Relative difference of the mean work of images timed alone to scored ones, where it is decided image by image.

Besides it, six standard errors of a mean over so few images are allowed.
"""
