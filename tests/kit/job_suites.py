"""The text of a suite that a job runs in seconds: a few samplers of the exact Gaussian."""

from __future__ import annotations

TRIALS = "steps = 2"


def gaussian_suite(name: str, title: str, trials: str = TRIALS) -> str:
    """Return the file of a suite with these lines as its only `[[trials]]` table."""
    return f"""
name = "{name}"
title = "{title}"
dataset = "gaussian"
network = "analytic"
extractor = "pixels"
n_images = 40
batch = 10
precision = "float64"

[baseline]
clock_steps = 2

[timing]
tier = "smoke"
batch = 10

[[trials]]
{trials}
"""
