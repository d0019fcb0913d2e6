"""Times FID from streamed statistics against torch-fidelity's own path, and watches the driver's memory.

    python tests/benchmarks/bench_fid.py [--n 50000 --d 2048] [--smoke]

The aim is a score at a tenth of torch-fidelity's core time with one side, equal to 1e-8. With statistics included there
is no tenth to be had: on both sides they are products of all features in float64, of which ours have half the work.

Same float32 features, same number of BLAS threads. What each figure includes:
  statistics   ours: moments of all generated features, shard by shard, in float64; in a run this is spread over the
               stream while images are made
  scoring      ours: merging the 20 groups' statistics and one distance to a reference whose factor is kept
  theirs, one  mean and covariance of the generated side, then `fid_statistics_to_metric` (reference statistics kept)
  theirs, both the same with the covariance of both sides: what `calculate_metrics` does without its cache
The reference's factor is made once per reference set and timed apart. Memory is ours alone, in fresh processes
without torch-fidelity.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch

from harness.metrics.feature_stream import blocks
from harness.metrics.frechet import ReferenceMoments, frechet_distance
from harness.metrics.moments import Moments, merge_all

Value = TypeVar("Value")
SHARD, GROUPS = 500, 20
LEAST_RATIO, MOST_APART = 10, 1e-8
SMOKE = ["--n", "2000", "--d", "64"]


def shards(n: int, d: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (start, features [SHARD, d]): rectified, correlated through shared factors, different by seed."""
    loadings = np.random.default_rng(7).normal(size=(32, d)).astype(np.float32)
    for start in range(0, n, SHARD):
        rng = np.random.default_rng([seed, start])
        own = rng.standard_normal((min(SHARD, n - start), d), dtype=np.float32)
        shared = rng.standard_normal((len(own), 32), dtype=np.float32) @ loadings
        yield start, np.maximum(own + 0.2 * shared + 0.1 * seed, 0)


def group_moments(stream: Iterator[tuple[int, np.ndarray]], n: int) -> list[Moments]:
    """Return the statistics of the groups of a stream, as `harness.metrics.quality` keeps them."""
    found: dict[int, Moments] = {}
    for group, _, features in blocks(stream, n, GROUPS):
        part = Moments.of(features)
        found[group] = found[group].merge(part) if group in found else part
    return list(found.values())


def timed(label: str, call: Callable[[], Value]) -> tuple[Value, np.ndarray]:
    """Return what a call gives and its seconds, [wall, CPU], and print them."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = call()
    seconds = np.array([time.perf_counter() - wall, time.process_time() - cpu])
    print(f"{label:<44}{seconds[0]:9.2f} s wall {seconds[1]:9.2f} s CPU", flush=True)
    return value, seconds


def compare(n: int, d: int) -> None:
    """Print seconds, ratios and the relative difference of the two paths."""
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    generated = np.concatenate([features for _, features in shards(n, d, 1)])
    reference = np.concatenate([features for _, features in shards(n, d, 0)])
    stored = merge_all(group_moments(iter([(0, reference)]), n))
    kept, _ = timed("ours: factor of the reference (once)", lambda: ReferenceMoments.of(stored))
    stream = ((i, generated[i : i + SHARD]) for i in range(0, n, SHARD))
    groups, statistics = timed("ours: statistics", lambda: group_moments(stream, n))
    ours, scoring = timed("ours: scoring", lambda: frechet_distance(kept, merge_all(groups)))
    side, one = timed("theirs: statistics of generated", lambda: theirs_of(generated))
    other, two = timed("theirs: statistics of reference", lambda: theirs_of(reference))
    found, distance = timed("theirs: distance", lambda: fid_statistics_to_metric(side, other, verbose=False))
    for label, ratio in (
        ("from streamed statistics, theirs one side", (one + distance) / scoring),
        ("from streamed statistics, theirs both sides", (one + two + distance) / scoring),
        ("statistics included, theirs one side", (one + distance) / (statistics + scoring)),
        ("statistics included, theirs both sides", (one + two + distance) / (statistics + scoring)),
    ):
        print(f"ratio {label:<46}{ratio[0]:6.1f} x wall {ratio[1]:6.1f} x CPU")
    share = scoring[1] / (one + distance)[1]
    print(f"core time of a score, share of torch-fidelity's: 1/{1 / share:.1f}; aim: at most 1/{LEAST_RATIO}")
    theirs = found["frechet_inception_distance"]
    print(f"ours {ours:.9g}, theirs {theirs:.9g}, relative difference {abs(ours / theirs - 1):.1e}; aim: {MOST_APART}")


def theirs_of(features: np.ndarray) -> dict[str, np.ndarray]:
    """Return torch-fidelity's statistics, in float64: its float32 mean is not good to 1e-6."""
    from torch_fidelity.metric_fid import fid_features_to_statistics

    found: dict[str, np.ndarray] = fid_features_to_statistics(torch.from_numpy(features).double())
    return found


def print_peak(n: int, d: int) -> None:
    """Print the peak resident memory of this process after streaming n images, in MB."""
    merge_all(group_moments(shards(n, d, 1), n))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Compare at the size asked for, then measure memory at n and 2 n in fresh processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=50_000, help="images (default 50000)")
    parser.add_argument("--d", type=int, default=2048, help="features per image (default 2048)")
    parser.add_argument("--peak", action="store_true", help="only stream n images and print the peak memory in MB")
    parser.add_argument("--smoke", action="store_true", help="only show that it runs, in seconds")
    told = parser.parse_args()
    told = parser.parse_args(SMOKE) if told.smoke else told
    if told.peak:
        print_peak(told.n, told.d)
        return
    print(f"{told.n} x {told.d} float32, {torch.get_num_threads()} torch threads")
    for n in (told.n, 2 * told.n):  # first: on Linux a child's peak starts at its parent's
        again = [sys.executable, __file__, "--peak", "--n", str(n), "--d", str(told.d)]
        peak = float(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
        print(f"peak memory of streaming {n:>7} images: {peak:8.0f} MB (with libraries)", flush=True)
    compare(told.n, told.d)


if __name__ == "__main__":
    main()
