"""Cheats on the process: they change who judges, what others use, or leave something running."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kit.cheats_tools import Cheat, CheatingDenoiser, CheatingSolver, ClaimsOneCall
from methods.denoisers.full import Full
from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, BuiltDenoiser, Denoise, Method, StepNoise, Units


class ReplacesDigests(CheatingDenoiser):
    """Replaces the function that takes digests of images by one that finds all images alike."""

    name = "cheat-digests"
    steps = 4
    rules = ("tampered",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        from harness.sampling import pixels
        from harness.tasks import sample
        from harness.tasks import time as timing

        def same(images: Tensor) -> np.ndarray:
            return np.zeros((len(images), 32), dtype=np.uint8)

        for module in (pixels, sample, timing):
            module.image_digests = same
        return super().build(network, artifact)


class StopsCounting(CheatingDenoiser):
    """Replaces the method that counts calls by one that counts every tenth."""

    name = "cheat-counts"
    steps = 4
    rules = ("tampered",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        from harness.sampling.call_counts import CallCounts

        def add(self: Any, step: int, rows: int, units: Any) -> None:
            self.evaluations[0] += rows if step == 0 else 0
            self.units[0]["network"] = self.evaluations[0]

        CallCounts.add = add  # type: ignore[method-assign]
        return super().build(network, artifact)


class SlowsTime(CheatingDenoiser):
    """Replaces the clock by one that runs at half the speed while its own network runs."""

    name = "cheat-clock"
    steps = 4
    rules = ("tampered",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        real, skipped = time.perf_counter, [0.0]
        time.perf_counter = lambda: real() - skipped[0]

        def call(x: Tensor, sigma: Tensor) -> Tensor:
            began = real()
            out: Tensor = network(x, sigma)
            skipped[0] += (real() - began) / 2
            return out

        return ClaimsOneCall(network, call)


class LeavesThread(CheatingDenoiser):
    """Leaves a thread that computes on, between its calls too."""

    name = "cheat-leaves-thread"
    steps = 4
    rules = ("tampered",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        threading.Thread(target=_work, args=(time.monotonic() + 20,), daemon=True).start()
        return super().build(network, artifact)


class OtherBackend(CheatingDenoiser):
    """Switches off torch's fast kernels after each of its calls, so that the clock trial goes without them."""

    name = "cheat-backend"
    steps = 4
    rules = ("tampered",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        def call(x: Tensor, sigma: Tensor) -> Tensor:
            torch.backends.mkldnn.enabled = True  # type: ignore[attr-defined]
            out: Tensor = network(x, sigma)
            torch.backends.mkldnn.enabled = False  # type: ignore[attr-defined]
            return out

        return ClaimsOneCall(network, call)


class PrunesInPlace(CheatingDenoiser):
    """Sets the smallest weights of the network to zero, in the copy that all trials of the worker share."""

    name = "cheat-prunes"
    steps = 4
    rules = ("weights-changed",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        for weight in network.parameters():
            weight.data[weight.data.abs() < weight.data.abs().quantile(0.3)] = 0
        return super().build(network, artifact)


class ClaimsFixedWork(Cheat, Full):
    """Claims the same work for all weights, and runs twice for some: a training is then timed in another's place."""

    name = "cheat-fixed-work"
    rules = ("timed-work-differs",)

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return True

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return _Twice(network, twice=_is_other_training(network))


class ShiftsGlobalNoise(CheatingSolver):
    """Draws from torch's global generator, and so makes other images each time."""

    name = "cheat-global-noise"
    rules = ("timed-images-differ", "depends-on-batch")

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        x = super().step(x, i, sigmas, denoise, memory, noise)
        return x + 0.1 * torch.randn_like(x)


class _Twice(BuiltDenoiser):
    def __init__(self, network: Network, twice: bool) -> None:
        self.network, self.calls = network, 1 + twice

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        for _ in range(self.calls):
            out = self.network(x, sigma)
        return out, {"network": self.calls}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"network": self.network}


def _is_other_training(network: Network) -> bool:
    """Return whether these are the weights of another training than the first, which alone is timed."""
    from harness.planning.zoo_networks import read_weights

    name, first = next(iter(read_weights("unet-8").items()))
    return not torch.equal(network.state_dict()[name].float(), first.float())


def _work(deadline: float) -> None:
    matrix = torch.eye(64)
    while time.monotonic() < deadline:
        matrix = matrix @ matrix
