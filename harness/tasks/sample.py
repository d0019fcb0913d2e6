"""Sample shard: make the images of a range of global indices, and keep of them what the metrics need.

Shards are cut at multiples of the sampling batch, so an image meets the same batch and neighbours on any worker.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.flops import count_flops, coverage
from harness.handles import resolve
from harness.sampling.pixels import to_uint8
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler, Work
from harness.tasks import Event, Progress, Result
from harness.tasks.probe import probe
from methods.networks.base import Network

if TYPE_CHECKING:
    from harness.worker import Worker

GRID_IMAGES = 32
_FINE = ("fine", "own_fine")  # solutions that states are compared with: of the untuned network, of the tuned one


def run(spec: dict[str, Any], inputs: Mapping[str, Any], worker: Worker) -> Iterator[Event]:
    """Yield progress per batch, then features [n, dim], digests [n, 32] and a few pictures, and what ran.

    With several ranks all make every image together; the first alone looks at them. The first shard of a parallel
    executor ends with a probe of its distance to the serial answer, in no account.
    """
    group = Group(spec["group"], worker.device, spec["deadline_seconds"])
    sampler = worker.sampler(spec["sampler"], inputs, peers=group.peers)
    extractor = worker.extractor(spec["extractor"], inputs)
    network = worker.network(spec["sampler"], inputs)
    start, stop, batch = spec["start"], spec["stop"], spec["sampler"]["batch"]
    fine, own = (_Distance(resolve(inputs[spec[k]]).tensors["states"] if k in spec else None) for k in _FINE)
    work, kept, audit = Work(), _Kept(), _Audit(fine, own)
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
    first_shard = start == 0
    probed = probe(sampler, range(min(batch, stop))) if first_shard and sampler.executor.parallel else {}
    counted = group.added({"network_seconds": work.network_seconds, **work.facts()})
    group.leave()
    facts = {"seconds": seconds, **counted, **audit.facts(), **probed}
    if first_shard and group.leads:
        facts["cost"] = _cost(sampler, network)
    yield Result(kept.tensors(), facts)


def _cost(sampler: Sampler, network: Network) -> dict[str, Any]:
    """Return the FLOPs of each unit and of the whole network for one image, the counter's coverage, the parameters.

    And the trial's grid: its levels, and the network's diffusion time of each.
    """
    x = sampler.start([0])
    sigma = x.new_full((1,), float(sampler.sigmas[0]), dtype=torch.float64)
    return {
        "units": {name: count_flops(call, x, sigma) for name, call in sampler.denoiser.units().items()},
        "network": count_flops(network, x, sigma),
        "coverage": coverage(network, x, sigma),
        "parameters": sum(p.numel() for p in network.parameters()),
        "sigmas": [float(s) for s in sampler.sigmas],
        "times": network.diffusion_time(torch.as_tensor(sampler.sigmas, dtype=torch.float64)).tolist(),
    }


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

    That is the network's closed form, or where it has none the fine solution. A tuned network has a second one, of its
    own flow.
    """

    def __init__(self, fine: _Distance, own: _Distance) -> None:
        self.not_finite = 0
        self.first_not_finite: int | None = None
        self.constant = 0
        self.wrong_shape: list[int] | None = None
        self._fine, self._own = fine, own

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
            self._fine.take(indices, states, flow(starts, float(sampler.sigmas[0]), float(sampler.sigmas[-1])))
            self._own.take(indices, states, None)

    def facts(self) -> dict[str, Any]:
        return {
            "not_finite": self.not_finite,
            "first_not_finite": self.first_not_finite,
            "constant": self.constant,
            "wrong_shape": self.wrong_shape,
            **(self._fine.facts("") if self.sound else {}),
            **(self._own.facts("own_") if self.sound else {}),
        }


class _Distance:
    """Squared errors of final states to exact ones, and the squared norms of these, image by image."""

    def __init__(self, fine: np.ndarray | None) -> None:
        """`fine` are exact states of the first images [n, ...], if there are any."""
        self._fine = fine
        self._errors: list[float] = []
        self._norms: list[float] = []

    def take(self, indices: range, states: Tensor, exact: Tensor | None) -> None:
        """Compare states of these indices with `exact`, or where that is None with the fine solution."""
        if exact is None and self._fine is not None:
            exact = torch.from_numpy(self._fine[indices.start : indices.stop].copy()).to(states)
        if exact is not None:
            self._errors += _squares(states[: len(exact)] - exact)
            self._norms += _squares(exact)

    def facts(self, prefix: str) -> dict[str, list[float]]:
        return {f"{prefix}squared_errors": self._errors, f"{prefix}squared_norms": self._norms}


def _squares(states: Tensor) -> list[float]:
    """Return the sum of squares of each row."""
    return states.double().square().flatten(1).sum(1).tolist()


def image_digests(images: Tensor) -> np.ndarray:
    """Return the SHA-256 of each uint8 image [n, ...] as bytes [n, 32]."""
    rows = images.contiguous().numpy()
    return np.stack([np.frombuffer(hashlib.sha256(row.tobytes()).digest(), np.uint8) for row in rows])
