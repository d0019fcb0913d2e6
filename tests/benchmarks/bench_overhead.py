"""Prints what the harness adds to sampling: the same loop bare and through the engine's sample task, in one process.

    python tests/benchmarks/bench_overhead.py [--images 1000] [--steps 12] [--rounds 7]

Bare: the network under inference mode, Euler steps written out, noise drawn by the same generator, pictures rounded to
uint8. Harness: `Sampler.run` with its counting, its audit and its pictures, as a worker does it, without the feature
network. Both use the same weights, the same noise and one thread; rounds alternate, and the ratio is per round.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from typing import Any

import torch

from harness.config.network_card import load_network_card
from harness.data.cards import load_card
from harness.registry import registry
from harness.sampling.network import build_network
from harness.sampling.noise import ImageNoise
from harness.sampling.numerics import fix_numerics
from harness.sampling.pixels import to_uint8
from harness.sampling.sampler import Sampler, Work
from harness.tasks.sample import _Audit


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    device = torch.device("cpu")
    fix_numerics(device, 1)
    card = load_card("digits")
    network = build_network(load_network_card("unet-8"), card.shape()).eval().requires_grad_(False)
    make: Any = registry().make
    sampler = Sampler(
        denoiser=make("denoiser", "full", {}).build(network),
        sigmas=make("schedule", "edm", {}).levels(options.steps, card.sigma_min, card.sigma_max),
        solver=make("solver", "ddim", {}),
        executor=make("executor", "serial", {}),
        noise=ImageNoise(card.name, 0, (1, 8, 8)),
        device=device,
    )
    ratios = []
    for number in range(options.rounds + 1):
        calls = [(bare, "bare"), (through_harness, "harness")]
        seconds = {}
        for call, name in calls if number % 2 else reversed(calls):
            began = time.process_time()
            call(sampler, options.images)
            seconds[name] = time.process_time() - began
        if number:  # the first round warms up
            ratios.append(seconds["harness"] / seconds["bare"])
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"CPU seconds through the harness / bare, {options.images} images x {options.steps} steps at batch 50:")
    print(f"  median {middle:.4f}, min {low:.4f}, max {high:.4f} of {len(ratios)} rounds")


def bare(sampler: Sampler, images: int) -> None:
    """Sample with a loop as anybody writes it."""
    network, sigmas = sampler.denoiser.network, sampler.sigmas  # type: ignore[attr-defined]
    with torch.inference_mode():
        for first in range(0, images, 50):
            x = sampler.noise.initial(range(first, first + 50)) * float(sigmas[0])
            for sigma, following in itertools.pairwise(sigmas):
                level = torch.full((50,), float(sigma), dtype=torch.float64)
                ratio = float(following / sigma)
                x = ratio * x + (1 - ratio) * network(x, level)
            ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def through_harness(sampler: Sampler, images: int) -> None:
    """Sample as a worker does."""
    work, audit = Work(), _Audit()
    flow = sampler.denoiser.network.flow  # type: ignore[attr-defined]
    for first in range(0, images, 50):
        indices = range(first, first + 50)
        starts = sampler.start(indices)
        states = sampler.run(indices, work, starts)
        audit.look(indices, states, to_uint8(states), starts, sampler, flow)


if __name__ == "__main__":
    main()
