"""Prints what the harness adds to sampling: the same loop bare and through the engine's sample task, in one process.

    python tests/benchmarks/bench_overhead.py [--images 1000] [--steps 12] [--rounds 7] [--smoke]

Bare: the network under inference mode, Euler steps written out, noise drawn by the same generator, pictures rounded to
uint8. Harness: the whole sample task as a worker runs it, with its counting, its audit, its digests and its pictures,
with pixels as features, so without a feature network. Both use the same weights, the same noise and one thread; rounds
alternate, and the ratio is per round. Printed beside it: the share of a worker's sampling time inside the network, as
rows have it, of the fastest round, and the other programs' load, which both figures suffer from.
Aims: a ratio of at most 1.01, a share of at least 0.98.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

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

BATCH = 50
MOST_RATIO, LEAST_SHARE = 1.01, 0.98
SMOKE = ["--images", "100", "--steps", "2", "--rounds", "1"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help=f"a multiple of {BATCH} (default 1000)")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="only show that it runs, in seconds")
    options = parser.parse_args()
    options = parser.parse_args(SMOKE) if options.smoke else options
    if options.images % BATCH:
        parser.error(f"{options.images} images are not whole batches of {BATCH}")
    fix_numerics(torch.device("cpu"), 1)
    spec = untrained(options.steps)
    # The first span of a task also counts FLOPs, once per trial: not this one.
    place = Place(torch.device("cpu"), span=Span(options.images, 2 * options.images))
    sampler = build_sampler(spec.sampler, {}, place)
    outputs: list[SampleOutput] = []
    calls = {
        "bare": lambda: sample_bare(sampler, options.images),
        "harness": lambda: outputs.append(sample_through_harness(spec, place)),
    }
    before, ratios = read_cpu_use(), []
    for number in range(options.rounds + 1):
        seconds = {}
        for name in calls if number % 2 else reversed(calls):
            began = time.process_time()
            calls[name]()
            seconds[name] = time.process_time() - began
        if number:  # the first round warms up
            ratios.append(seconds["harness"] / seconds["bare"])
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"CPU seconds through the harness / bare, {options.images} images x {options.steps} steps at batch {BATCH}:")
    print(f"  median {middle:.4f}, min {low:.4f}, max {high:.4f} of {len(ratios)} rounds; aim: at most {MOST_RATIO}")
    shares = [one.network_seconds / one.seconds for one in outputs[1:] or outputs]
    print("share of sampling inside the network, by the wall clock:")
    print(f"  median {statistics.median(shares):.4f}, max {max(shares):.4f}; aim: at least {LEAST_SHARE}")
    print(f"other programs used {other_cores(before, read_cpu_use()):.1f} cores meanwhile")


def sample_through_harness(spec: SampleSpec, place: Place) -> SampleOutput:
    """Run the sample task and return its output."""
    (result,) = (event for event in sample.run(spec, {}, place) if isinstance(event, Result))
    assert isinstance(result.output, SampleOutput)
    return result.output


def untrained(steps: int) -> SampleSpec:
    """Return the sample task of unet-8 on digits as it is planned, but with the weights that a new network has."""
    suite = Suite.model_validate({
        "name": "bench", "title": "bench", "dataset": "digits", "network": "unet-8", "extractor": "pixels",
        "n_images": 1000, "batch": BATCH, "baseline": {"clock_steps": steps}, "trials": [{"steps": steps}],
    })  # fmt: skip
    made = make_plan(suite, "cpu", "cpu")
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
