"""Readings of each instrument where the answer is known, by the code that workers use, on one CPU thread.

The sampler draws Gaussian data with the exact network, so its error, its evaluations and the FID of its images have
closed forms. Nothing here is random: an image's noise depends on its index alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from harness.data.cards import load_card
from harness.known_answer.closed_forms import euler_factor, flow_factor, sample_fid
from harness.measure.device import timed_call
from harness.measure.flops import count_flops
from harness.metrics.authenticity import Neighbours
from harness.metrics.fid import fid_figures
from harness.metrics.frechet import ReferenceMoments
from harness.metrics.moments import Array, Moments
from harness.metrics.reference import ReferenceFeatures
from harness.metrics.scored_features import ScoredFeatures
from harness.planning.by_hand import assemble_sampler
from harness.sampling.call_counts import CallCounts
from harness.sampling.pixels import to_unit
from harness.sampling.sampler import Sampler
from harness.specs.limits import TIMED_SLEEP_SECONDS

STEPS, IMAGES = 10, 4000
DATA, NETWORK = "gaussian", "analytic"
"""A data set whose card states its distribution, and its exact denoiser."""
SINGLE_ERROR, DOUBLE_ERROR = 1e-6, 1e-9
"""Relative errors that rounding may leave in single and in double precision."""
STANDARD_ERRORS = 4
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Reading:
    """What an instrument gave, what theory gives, and how far apart they may be."""

    name: str
    value: float
    expected: float
    tolerance: float
    text: str
    """As the line of all readings has it."""

    @property
    def holds(self) -> bool:
        """Tell whether the two agree; never for NaN."""
        return abs(self.value - self.expected) <= self.tolerance


def read_all() -> list[Reading]:
    """Return all readings; takes about a second."""
    return [read_error(), read_order(), read_fid(), *read_work(), read_layers(), read_clock()]


def read_error() -> Reading:
    """Compare final states with the product formula of Euler's steps."""
    sampler, counts = make_known_sampler(STEPS), CallCounts()
    start = sampler.initial_state(range(64))
    expected = start.double() * euler_factor(sampler.sigmas, _std())
    error = float((sampler.run(range(64), counts, start).double() - expected).norm() / expected.norm())
    return Reading("the error of Euler's steps", error, 0.0, SINGLE_ERROR, f"error {error:.0e} of {SINGLE_ERROR:.0e}")


def read_order() -> Reading:
    """Compare the order of convergence, from errors at two step counts in double precision, with the closed form's."""
    found, known = [], []
    for steps in (2 * STEPS, 4 * STEPS):
        sampler = make_known_sampler(steps, "float64")
        start = sampler.initial_state(range(16))
        exact = start * flow_factor(sampler.sigmas, _std())
        found.append(float((sampler.run(range(16), initial_state=start) - exact).norm() / exact.norm()))
        known.append(1 - euler_factor(sampler.sigmas, _std()) / flow_factor(sampler.sigmas, _std()))

    order, expected = np.log2(found[0] / found[1]), np.log2(known[0] / known[1])
    text = f"order {order:.2f} (theory {expected:.2f})"
    return Reading("the order of convergence", float(order), float(expected), DOUBLE_ERROR, text)


def read_fid() -> Reading:
    """Compare the FID of images of a known Gaussian, against another one with correlated pixels, with theory."""
    sampler = make_known_sampler(STEPS)
    images = sampler.images(range(IMAGES))
    features = to_unit(images.numpy()).flatten(1).numpy() + 1  # so that their mean is not 0

    # the other one: eigenvalues and directions that are known, and another mean
    dim = features.shape[1]
    eigenvalues, shift = np.linspace(0.5, 1.5, dim) * _std() ** 2, np.full(dim, 0.1 * _std())
    reference = _known_reference(eigenvalues, 1 + shift)
    scored = ScoredFeatures.collect([(0, features)], reference, IMAGES, groups=1, kernel_limit=1)
    fid = fid_figures(scored).values["fid"]

    drawn = euler_factor(sampler.sigmas, _std()) * load_card(DATA).sigma_max
    known = sample_fid(IMAGES, drawn, eigenvalues, shift)
    slack = STANDARD_ERRORS * known.standard_error
    text = f"FID {fid:.4f} (theory {known.value:.4f} ± {slack:.4f})"
    return Reading("the FID of samples whose distribution is known", fid, known.value, slack, text)


def read_work() -> list[Reading]:
    """Compare evaluations with steps, and FLOPs with the multiply-adds of the exact denoiser, counted by hand.

    Per evaluation: distances to k means and their mixing, each k d multiply-adds.
    """
    sampler, counts = make_known_sampler(STEPS), CallCounts()
    sampler.run(range(4), counts)
    evaluations = sum(counts.to_counts().evaluations.values()) / 4

    # FLOPs of what ran, unit by unit
    x = sampler.initial_state([0])
    sigma = x.new_full((1,), 1.0, dtype=torch.float64)
    cost = {name: count_flops(call, x, sigma) for name, call in sampler.denoiser.units().items()}
    ran = [(name, count) for units in counts.to_counts().units.values() for name, count in units.items()]
    flops = sum(cost[name] * count for name, count in ran) / 4

    by_hand = STEPS * 4 * len(load_card(DATA).shape().facts["stds"]) * x.numel()
    return [
        Reading("evaluations", evaluations, STEPS, 0, f"{evaluations:g} evaluations of {STEPS}"),
        Reading("FLOPs of an image", flops, by_hand, 0, f"{flops:,.0f} FLOPs of {by_hand:,}"),
    ]


def read_layers() -> Reading:
    """Compare the FLOPs of a convolution, a linear layer and attention with 2 per multiply-add, counted by hand."""
    side, channels, wide = 8, 4, 8
    tokens = side * side
    layers = nn.Sequential(nn.Conv2d(channels, wide, 3, padding=1), nn.Flatten(2), nn.Linear(tokens, wide)).eval()
    query = torch.zeros(1, 2, tokens, wide)

    def call(x: torch.Tensor) -> None:
        layers(x)
        nn.functional.scaled_dot_product_attention(query, query, query)

    flops = count_flops(call, torch.zeros(1, channels, side, side))
    multiply_adds = 9 * channels * wide * tokens + wide * tokens * wide + 2 * 2 * tokens * tokens * wide
    return Reading("FLOPs of three layers", flops, 2 * multiply_adds, 0, f"{flops:,} FLOPs of {2 * multiply_adds:,}")


def read_clock() -> Reading:
    """Compare the seconds of a timed call with bounds from another clock: the sleep in it, and the call around it."""
    began = time.monotonic()
    _, timing = timed_call(lambda: time.sleep(TIMED_SLEEP_SECONDS), _CPU)
    around = time.monotonic() - began

    # a sleep never ends early, and a part is never longer than the whole, to the clocks' resolution
    step = sum(time.get_clock_info(name).resolution for name in ("monotonic", "perf_counter"))
    middle, room = (TIMED_SLEEP_SECONDS + around) / 2, (around - TIMED_SLEEP_SECONDS) / 2 + step
    text = f"{1e3 * TIMED_SLEEP_SECONDS:g} ms timed as {1e3 * timing.seconds:.2f} ms"
    return Reading("the seconds of a sleep", timing.seconds, middle, room, text)


def make_known_sampler(steps: int, precision: str = "float32") -> Sampler:
    """Return a sampler of the plain parts with the exact network, as a worker would build it."""
    return assemble_sampler(NETWORK, dataset=DATA, steps=steps, precision=precision, device="cpu")


def _std() -> float:
    """Return the standard deviation of the data; their mean is 0."""
    return float(load_card(DATA).shape().facts["stds"][0])


def _known_reference(eigenvalues: Array, mean: Array, n: int = 1_000_000) -> ReferenceFeatures:
    """Return a reference set whose moments are exactly these; its directions are a reflection of the axes."""
    normal = np.ones(len(mean)) / np.sqrt(len(mean))
    directions = np.eye(len(mean)) - 2 * np.outer(normal, normal)
    covariance = directions @ np.diag(eigenvalues) @ directions
    moments = Moments(n, mean, (covariance + covariance.T) / 2 * (n - 1))
    return ReferenceFeatures(ReferenceMoments.of(moments), np.zeros((1, len(mean)), np.float32), 0.0, Neighbours.none())
