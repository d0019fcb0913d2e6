"""Prints what the harness adds to sampling: the same loop bare and through the engine's sample task, in one process.

    python tests/benchmarks/bench_overhead.py [--steps 12] [--rounds 7] [--smoke]

Bare: the network under inference mode, Euler steps written out, noise drawn by the same generator, pictures rounded to
uint8. Harness: the whole sample task as a worker runs it, with its counting, its audit, its digests and its pictures,
with pixels as features, so without a feature network. Both use the same weights, the same noise and one thread, and
rounds alternate. Two networks: that of `make benchmark`, and the smallest one, of which a call takes 5 ms.

The ratio is 1 + (CPU seconds outside the network through the harness - those of the bare loop) / CPU seconds of the
bare loop, each the median of its rounds: the seconds inside the network are of the same code, and other programs change
them by more than what is looked for. The plain ratio of whole rounds is printed too, with its range, and so are the
share of a worker's sampling time inside the network, as rows have it, and other programs' load.
Aims: a ratio of at most 1.01, a share of at least 0.98.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from harness.config.suite import Suite
from harness.measure.machine_load import other_cores, read_cpu_use
from harness.planning.plan import make_plan
from harness.sampling.build import build_sampler
from harness.sampling.numerics import fix_numerics
from harness.sampling.place import Place
from harness.sampling.sampler import Sampler
from harness.specs.sample import SampleOutput, SampleSpec
from harness.task import Result, Span
from harness.tasks import sample
from methods.networks.base import Network

BATCH = 50
CASES = (("cifar10-16", "unet-16", 500), ("digits", "unet-8", 1000))
"""Data set, network, and images of a round."""
MOST_RATIO, LEAST_SHARE = 1.01, 0.98


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="only show that it runs, in seconds")
    options = parser.parse_args()
    steps, rounds = (2, 1) if options.smoke else (options.steps, options.rounds)
    fix_numerics(torch.device("cpu"), 1)
    for dataset, network, images in CASES:
        measure(dataset, network, 2 * BATCH if options.smoke else images, steps, rounds)


def measure(dataset: str, network: str, images: int, steps: int, rounds: int) -> None:
    """Measure and print one network."""
    spec = untrained(dataset, network, steps)
    # The first span of a task also counts FLOPs, once per trial: not this one.
    place = Place(torch.device("cpu"), span=Span(images, 2 * images))
    sampler = build_sampler(spec.sampler, {}, place)
    outputs: list[SampleOutput] = []
    calls: dict[str, Callable[[], object]] = {
        "bare": lambda: sample_bare(sampler, images),
        "harness": lambda: outputs.append(sample_through_harness(spec, place)),
    }

    # alternating rounds, of which the first warms up
    before, found = read_cpu_use(), {name: Rounds() for name in calls}
    with network_seconds(type(sampler.denoiser.network)) as inside:  # type: ignore[attr-defined]
        for number in range(rounds + 1):
            for name in calls if number % 2 else reversed(calls):
                inside.clear()
                began = time.process_time()
                calls[name]()
                whole = time.process_time() - began
                if number:
                    found[name].whole.append(whole)
                    found[name].outside.append(whole - sum(inside))

    # what they say
    bare, harness = found["bare"], found["harness"]
    added = statistics.median(harness.outside) - statistics.median(bare.outside)
    ratios = [one / other for one, other in zip(harness.whole, bare.whole, strict=True)]
    shares = [one.network_seconds / one.seconds for one in outputs[1:]]
    print(f"{network} on {dataset}, {images} images x {steps} steps at batch {BATCH}, {rounds} rounds:")
    print(
        f"  CPU seconds through the harness / bare: {1 + added / statistics.median(bare.whole):.4f}, "
        f"by what it adds outside the network ({added * 1e3 / images:.3f} ms an image); aim: at most {MOST_RATIO}"
    )
    print(f"  of whole rounds: median {statistics.median(ratios):.4f}, {min(ratios):.4f} to {max(ratios):.4f}")
    print(f"  share of sampling inside the network: {statistics.median(shares):.4f}; aim: at least {LEAST_SHARE}")
    print(f"  other programs used {other_cores(before, read_cpu_use()):.1f} cores meanwhile")


@dataclass
class Rounds:
    """CPU seconds of each round, and those of them outside the network."""

    whole: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)


@contextmanager
def network_seconds(of: type[Network]) -> Iterator[list[float]]:
    """Collect the CPU seconds of each call of networks of a class."""
    seconds, forward = list[float](), of.forward

    def timed(*args: Any, **keywords: Any) -> Any:
        began = time.process_time()
        try:
            return forward(*args, **keywords)
        finally:
            seconds.append(time.process_time() - began)

    of.forward = timed  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        of.forward = forward  # type: ignore[method-assign]


def sample_through_harness(spec: SampleSpec, place: Place) -> SampleOutput:
    """Run the sample task and return its output."""
    (result,) = (event for event in sample.run(spec, {}, place) if isinstance(event, Result))
    assert isinstance(result.output, SampleOutput)
    return result.output


def untrained(dataset: str, network: str, steps: int) -> SampleSpec:
    """Return the sample task of a network as it is planned, but with the weights that a new one has."""
    suite = Suite.model_validate({
        "name": "bench", "title": "bench", "dataset": dataset, "network": network, "extractor": "pixels",
        "n_images": 1000, "batch": BATCH, "baseline": {"clock_steps": steps}, "trials": [{"steps": steps}],
    })  # fmt: skip
    made = make_plan(suite, "cpu", "cpu", data_may_be_absent=True)
    (spec,) = (task.spec for task in made.tasks.values() if isinstance(task.spec, SampleSpec))
    model = spec.sampler.model.model_copy(update={"weights_id": None})
    return spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"model": model})})


def sample_bare(sampler: Sampler, images: int) -> None:
    """Sample with a loop as anybody writes it."""
    network, sigmas = sampler.denoiser.network, sampler.sigmas  # type: ignore[attr-defined]
    with torch.inference_mode():
        for first in range(images, 2 * images, BATCH):
            x = sampler.noise.draw_initial(range(first, first + BATCH)) * float(sigmas[0])
            for sigma, following in itertools.pairwise(sigmas):
                level = torch.full((BATCH,), float(sigma), dtype=torch.float64)
                ratio = float(following / sigma)
                x = ratio * x + (1 - ratio) * network(x, level)
            ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


if __name__ == "__main__":
    main()
