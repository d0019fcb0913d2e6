"""Sample: make the images of a span of global indices; keep their features, digests and first pictures.

Spans are cut at multiples of the sampling batch, so an image is made in the same batch on any worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.measure.flops import count_flops, coverage
from harness.measure.serial_distance import measure_serial_distance
from harness.measure.whole_calls import WholeCalls
from harness.metrics.extractors import cached_extractor
from harness.sampling.build import build_sampler, load_network, make_executor
from harness.sampling.call_counts import CallCounts
from harness.sampling.conditions import any_class
from harness.sampling.network_clock import NetworkClock
from harness.sampling.pixels import image_digests, to_uint8
from harness.sampling.place import Place
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler
from harness.specs.audits import BatchWork
from harness.specs.sample import Cost, SampleOutput, SampleSpec
from harness.task import Event, Progress, Result
from harness.tasks.image_checks import ImageChecks
from harness.tasks.probe import ProbedBatch, run_probe
from methods.networks.base import Network

GRID_IMAGES = 32


def run(spec: SampleSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield progress per batch, then features [n, dim], digests [n, 32] and a few pictures, and what ran.

    With several ranks all make every image together; rank zero alone checks them and yields the result. The first span
    of a parallel executor also measures its distance to the serial images, which is not counted.
    """
    assert place.span is not None

    group = Group(place.ranks, place.device)
    place.models.drop_changed()
    sampler = build_sampler(spec.sampler, inputs, place, group.peers)
    extractor = cached_extractor(spec.extractor, inputs, place)
    network = load_network(spec.sampler.model, inputs, place, spec.sampler.mode)
    start, stop, batch = place.span.start, place.span.stop, spec.sampler.batch

    # what is noted of every batch
    counts, network_seconds, seconds = CallCounts(), 0.0, 0.0
    outputs, batches = _Outputs(spec.keeps_images), list[BatchWork]()
    is_first = start == 0
    whole_calls = WholeCalls() if sampler.owns_network else None
    probed = ProbedBatch.draw(group, is_first, len(range(start, stop, batch)))
    checks = ImageChecks(*(_states(inputs, task_id) for task_id in (spec.solution_id, spec.own_solution_id)))

    for number, first in enumerate(range(start, stop, batch)):
        indices = range(first, min(first + batch, stop))
        call_counts = CallCounts(network_clock=NetworkClock(place.device))
        began = time.perf_counter()
        initial = sampler.initial_state(indices)
        with nullcontext() if whole_calls is None else whole_calls.counted(call_counts):
            states = sampler.run(indices, call_counts, initial)
        pictures = sampler.decode(states)
        images = to_uint8(pictures).cpu()
        seconds += (time.perf_counter() - began) * group.size

        # not timed: what ran
        counts.merge(call_counts)
        network_seconds += call_counts.network_seconds
        batches.append(BatchWork(first=first, images=len(indices), work=call_counts.to_work(group.size)))
        probed.keep(number, indices, states)
        if not group.is_rank_zero:
            continue

        # checks and features
        checks.update(indices, states, pictures, images, initial, sampler, network)
        if checks.sound:
            outputs.append(extractor(images), images, first)
        yield Progress(indices.stop - start, stop - start, "images")

    # once per trial
    compared = None
    if is_first and sampler.executor.parallel:
        compared = measure_serial_distance(sampler, range(min(batch, stop)), make_executor(spec.sampler.serial, inputs))

    # audits
    began = time.perf_counter()
    probes = list(run_probe(sampler, network, group, probed, checks.sound))
    audit_seconds = time.perf_counter() - began

    # sums over ranks
    all_counts, network_seconds = group.all_reduce(counts.to_counts(), network_seconds)
    group.close()
    if not group.is_rank_zero:
        return

    output = SampleOutput(
        seconds=seconds,
        network_seconds=network_seconds,
        counts=all_counts,
        # audits
        audit_seconds=audit_seconds,
        batches=batches,
        probes=probes,
        weights_changed=place.models.drop_changed(),
        # what the images are
        not_finite=checks.not_finite,
        first_not_finite=checks.first_not_finite,
        constant=checks.constant,
        wrong_shape=checks.wrong_shape,
        distances=checks.distances(),
        serial_distance=compared,
        cost=(_cost(sampler, network) if whole_calls is None else _unseen_cost(whole_calls)) if is_first else None,
    )
    yield Result(output, outputs.tensors())


def _states(inputs: Mapping[str, Any], task_id: str | None) -> np.ndarray | None:
    """Return the reference solution's final states of the first n images [n, ...]; None if there is none."""
    if task_id is None:
        return None
    states: np.ndarray = inputs[task_id].tensors["states"]
    return states


def _cost(sampler: Sampler, network: Network) -> Cost:
    """Return the FLOPs of each unit, of the whole network and of the decoder for one image, and the parameters.

    With them come the counter's coverage and the trial's grid: its levels, and the network's diffusion time at each.
    """
    x = sampler.initial_state([0])
    sigma, levels = x.new_full((1,), float(sampler.sigmas[0]), dtype=torch.float64), sampler.visited_levels
    with any_class(network, 1):
        return Cost(
            units={name: count_flops(call, x, sigma) for name, call in sampler.denoiser.units().items()},
            network=count_flops(network, x, sigma),
            coverage=coverage(network, x, sigma),
            parameters=sum(p.numel() for p in network.parameters()),
            sigmas=[float(s) for s in levels],
            times=network.diffusion_time(torch.as_tensor(levels, dtype=torch.float64)).tolist(),
            decoder=0 if sampler.decoder is None else count_flops(sampler.decoder, x),
        )


def _unseen_cost(whole_calls: WholeCalls) -> Cost:
    """Return what is known of a pipeline whose network is not seen: how many parameters ran."""
    parameters = whole_calls.parameters
    return Cost(units={}, network=0, coverage=None, parameters=parameters, sees_network=False, sigmas=[], times=[])


class _Outputs:
    """Features and digests of every image, its pixels where they are kept, and the pictures of the first few."""

    def __init__(self, keeps_images: bool) -> None:
        self._keeps_images = keeps_images
        self.features: list[np.ndarray] = []
        self.digests: list[np.ndarray] = []
        self.images: list[np.ndarray] = []
        self.pictures: list[np.ndarray] = []

    def append(self, features: Tensor, images: Tensor, first: int) -> None:
        self.features.append(features.cpu().numpy())
        self.digests.append(image_digests(images))
        if self._keeps_images:
            self.images.append(images.numpy())
        if first < GRID_IMAGES:
            self.pictures.append(images[: GRID_IMAGES - first].numpy())

    def tensors(self) -> dict[str, np.ndarray]:
        named = {
            "features": self.features, "digests": self.digests, "images": self.images, "pictures": self.pictures,
        }  # fmt: skip
        return {name: np.concatenate(parts) for name, parts in named.items() if parts}
