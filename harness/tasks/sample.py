"""Sample: make the images of a span of global indices, and keep of them what the metrics need.

Spans are cut at multiples of the sampling batch, so an image meets the same batch and neighbours on any worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.measure.flops import count_flops, coverage
from harness.measure.serial_distance import serial_distance
from harness.metrics.extractors import extractor_at
from harness.sampling.build import build_sampler, load_network, make_executor
from harness.sampling.pixels import image_digests, to_uint8
from harness.sampling.place import Place
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler, Work
from harness.specs.sample import Cost, Distances, SampleOutput, SampleSpec
from harness.task import Event, Progress, Result
from methods.networks.base import Network

GRID_IMAGES = 32


def run(spec: SampleSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield progress per batch, then features [n, dim], digests [n, 32] and a few pictures, and what ran.

    With several ranks all make every image together; the first alone looks at them and has a result. The first span of
    a parallel executor ends with its distance to the serial answer, in no account.
    """
    assert place.span is not None
    group = Group(place.ranks, place.device)
    sampler = build_sampler(spec.sampler, inputs, place, group.peers)
    extractor = extractor_at(spec.extractor, inputs, place)
    network = load_network(spec.sampler.model, inputs, place)
    start, stop, batch = place.span.start, place.span.stop, spec.sampler.batch
    work, kept, audit = Work(), _Kept(), _Audit(*(_states(inputs, s) for s in (spec.solution, spec.own_solution)))
    seconds = 0.0
    for first in range(start, stop, batch):
        indices = range(first, min(first + batch, stop))
        began = time.perf_counter()
        starts = sampler.start(indices)
        states = sampler.run(indices, work, starts)
        images = to_uint8(states).cpu()
        seconds += (time.perf_counter() - began) * group.size
        if not group.leads:
            continue
        audit.look(indices, states, images, starts, sampler, network.flow)
        if audit.sound:
            kept.take(extractor(images), images, first)
        yield Progress(indices.stop - start, stop - start, "images")
    is_first = start == 0
    compared = None
    if is_first and sampler.executor.parallel:
        compared = serial_distance(sampler, range(min(batch, stop)), make_executor(spec.sampler.serial, inputs))
    counts, network_seconds = group.added(work.counts(), work.network_seconds)
    group.leave()
    if not group.leads:
        return
    output = SampleOutput(
        seconds=seconds,
        network_seconds=network_seconds,
        counts=counts,
        not_finite=audit.not_finite,
        first_not_finite=audit.first_not_finite,
        constant=audit.constant,
        wrong_shape=audit.wrong_shape,
        distances=audit.distances(),
        serial_distance=compared,
        cost=_cost(sampler, network) if is_first else None,
    )
    yield Result(output, kept.tensors())


def _states(inputs: Mapping[str, Any], solution: str | None) -> np.ndarray | None:
    """Return the states of a reference solution [n, ...], those of the first images; None if there is none."""
    if solution is None:
        return None
    states: np.ndarray = inputs[solution].tensors["states"]
    return states


def _cost(sampler: Sampler, network: Network) -> Cost:
    """Return the FLOPs of each unit and of the whole network for one image, the counter's coverage, the parameters.

    And the trial's grid: its levels, and the network's diffusion time of each.
    """
    x = sampler.start([0])
    sigma = x.new_full((1,), float(sampler.sigmas[0]), dtype=torch.float64)
    return Cost(
        units={name: count_flops(call, x, sigma) for name, call in sampler.denoiser.units().items()},
        network=count_flops(network, x, sigma),
        coverage=coverage(network, x, sigma),
        parameters=sum(p.numel() for p in network.parameters()),
        sigmas=[float(s) for s in sampler.sigmas],
        times=network.diffusion_time(torch.as_tensor(sampler.sigmas, dtype=torch.float64)).tolist(),
    )


class _Kept:
    """Features and digests of every image, and the pictures of the first few."""

    def __init__(self) -> None:
        self.features: list[np.ndarray] = []
        self.digests: list[np.ndarray] = []
        self.pictures: list[np.ndarray] = []

    def take(self, features: Tensor, images: Tensor, first: int) -> None:
        self.features.append(features.cpu().numpy())
        self.digests.append(image_digests(images))
        if first < GRID_IMAGES:
            self.pictures.append(images[: GRID_IMAGES - first].numpy())

    def tensors(self) -> dict[str, np.ndarray]:
        named = {"features": self.features, "digests": self.digests, "pictures": self.pictures}
        return {name: np.concatenate(parts) for name, parts in named.items() if parts}


class _Audit:
    """Whether the images are images: shape, finiteness, variety; and how far each is from the exact solution.

    That is the network's closed form, or where it has none the reference solution. A tuned network has a second one,
    of its own flow.
    """

    def __init__(self, solution: np.ndarray | None, own: np.ndarray | None) -> None:
        """The solutions are exact states of the first images [n, ...], if there are any."""
        self.not_finite = 0
        self.first_not_finite: int | None = None
        self.constant = 0
        self.wrong_shape: list[int] | None = None
        self._distance, self._own = _Distance(solution), _Distance(own)

    @property
    def sound(self) -> bool:
        return self.not_finite == 0 and self.wrong_shape is None

    def look(self, indices: range, states: Tensor, images: Tensor, starts: Tensor, sampler: Sampler, flow: Any) -> None:
        if states.shape != starts.shape:
            self.wrong_shape = list(states.shape)
            return
        bad = ~torch.isfinite(states).flatten(1).all(1).cpu()
        if bad.any():
            self.not_finite += int(bad.sum())
            if self.first_not_finite is None:
                self.first_not_finite = indices[int(bad.nonzero()[0])]
        flat = images.flatten(1)
        self.constant += int((flat == flat[:, :1]).all(1).sum())
        if self.sound:
            self._distance.take(indices, states, flow(starts, float(sampler.sigmas[0]), float(sampler.sigmas[-1])))
            self._own.take(indices, states, None)

    def distances(self) -> dict[str, Distances]:
        found = {"truncation_error": self._distance.told(), "own_truncation_error": self._own.told()}
        return {name: one for name, one in found.items() if one.squared_norms} if self.sound else {}


class _Distance:
    """Squared errors of final states to exact ones, and the squared norms of these, image by image."""

    def __init__(self, solution: np.ndarray | None) -> None:
        self._solution = solution
        self._errors: list[float] = []
        self._norms: list[float] = []

    def take(self, indices: range, states: Tensor, exact: Tensor | None) -> None:
        """Compare states of these indices with `exact`, or where that is None with the reference solution."""
        if exact is None and self._solution is not None:
            exact = torch.from_numpy(self._solution[indices.start : indices.stop].copy()).to(states)
        if exact is not None:
            self._errors += _squares(states[: len(exact)] - exact)
            self._norms += _squares(exact)

    def told(self) -> Distances:
        return Distances(squared_errors=self._errors, squared_norms=self._norms)


def _squares(states: Tensor) -> list[float]:
    """Return the sum of squares of each row."""
    return states.double().square().flatten(1).sum(1).tolist()
