"""Cheats that remember: they know the scored images before they are asked, or keep what they made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from kit.cheats_tools import (
    SIGMA_MAX,
    CheatingDenoiser,
    CheatingSolver,
    ClaimsOneCall,
    indices_of,
    row_keys,
    scored_images,
    scored_noise,
)
from methods.networks.base import Network
from methods.parts import Artifact, BuiltDenoiser, Denoise, StepNoise


class HashLookup(CheatingDenoiser):
    """Has solved all scored images in `build`, and finds each again by the bytes of its noise."""

    name = "cheat-hash-lookup"
    rules = ("answers-from-noise",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        known = dict(zip(row_keys(SIGMA_MAX * scored_noise()), scored_images(network), strict=True))

        def call(x: Tensor, sigma: Tensor) -> Tensor:
            plain = network(x, sigma)
            return torch.stack([known.get(key, row) for key, row in zip(row_keys(x), plain, strict=True)])

        return ClaimsOneCall(network, call)


class NearestLookup(CheatingDenoiser):
    """The same, but takes the image whose noise is nearest, so that a little other noise changes nothing."""

    name = "cheat-nearest-lookup"
    rules = ("worse-on-new-noise",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return ClaimsOneCall(network, lambda x, sigma: _nearest(network, x)[0] + 0 * network(x, sigma))


class SmoothLookup(CheatingDenoiser):
    """The same, and adds the difference of the noise, so that a little other noise changes a little."""

    name = "cheat-smooth-lookup"
    rules = ("worse-on-new-noise",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        def call(x: Tensor, sigma: Tensor) -> Tensor:
            image, difference = _nearest(network, x)
            return image + difference / 2 + 0 * network(x, sigma)

        return ClaimsOneCall(network, call)


class IndexLookup(CheatingSolver):
    """Reads which images are asked out of the closure of the noise function, and returns what `build` has solved."""

    name = "cheat-index-lookup"
    steps = 1
    rules = ("answers-from-noise",)

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        network: Network = denoise.__closure__[0].cell_contents.denoiser.network  # type: ignore[attr-defined]
        known = scored_images(network)[[index % len(scored_noise()) for index in indices_of(noise)]]
        return known + 0 * denoise(x, SIGMA_MAX)


class CachedStates(CheatingSolver):
    """Keeps final states by their noise, and makes no image twice."""

    name = "cheat-cached-states"
    rules = ("timed-evaluations-differ",)
    kept: ClassVar[dict[bytes, Tensor]] = {}

    def init_memory(self, artifact: Artifact | None) -> dict[str, Any]:
        return {}

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        if i == 0:
            memory["keys"] = row_keys(x)
        if all(key in self.kept for key in memory["keys"]):
            return torch.stack([self.kept[key] for key in memory["keys"]])

        x = super().step(x, i, sigmas, denoise, None, noise)
        if i == len(sigmas) - 2:
            self.kept.update(zip(memory["keys"], x.clone(), strict=True))
        return x


class KnownFinals(CheatingSolver):
    """Keeps final states of batches, and gives back that of an image that comes alone."""

    name = "cheat-known-finals"
    steps = 10
    rules = ("latency-contradicts-throughput",)
    kept: ClassVar[dict[bytes, Tensor]] = {}

    def init_memory(self, artifact: Artifact | None) -> dict[str, Any]:
        return {}

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        if i == 0:
            memory["keys"] = row_keys(x)
        if len(x) == 1 and memory["keys"][0] in self.kept:
            return self.kept[memory["keys"][0]][None]

        x = super().step(x, i, sigmas, denoise, None, noise)
        if i == len(sigmas) - 2:
            self.kept.update(zip(memory["keys"], x.clone(), strict=True))
        return x


class CachedOutputs(CheatingDenoiser):
    """Keeps the network's outputs by state and level, and reports that the network ran where it looked them up."""

    name = "cheat-cached-outputs"
    steps = 4
    rules = ("remembers-images",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return ClaimsOneCall(network, _cached(network, lambda: True))


class WatchedCache(CheatingDenoiser):
    """The same, but works honestly while a counter of torch is open."""

    name = "cheat-watched-cache"
    steps = 4
    rules = ("remembers-images",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return ClaimsOneCall(network, _cached(network, lambda: torch._C._len_torch_dispatch_stack() == 0))


def _nearest(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the solved image of the nearest scored noise, and the difference to that noise, both of x's shape."""
    unit, known = x / SIGMA_MAX, scored_noise().to(x)
    row = torch.cdist(unit.flatten(1), known.flatten(1)).argmin(1)
    return scored_images(network).to(x)[row], unit - known[row]


def _cached(network: Network, may_look_up: Callable[[], bool]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the network with a memory of whole batches and single rows that it has seen."""
    kept = _outputs.setdefault(network, {})

    def call(x: Tensor, sigma: Tensor) -> Tensor:
        keys = [key + bytes(np.float64(s)) for key, s in zip(row_keys(x), sigma.tolist(), strict=True)]
        if may_look_up() and all(key in kept for key in keys):
            return torch.stack([kept[key] for key in keys])
        found = network(x, sigma)
        kept.update(zip(keys, found.clone(), strict=True))
        return found

    return call


_outputs: dict[Network, dict[bytes, Tensor]] = {}
