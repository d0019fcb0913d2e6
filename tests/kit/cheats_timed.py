"""Cheats on the clock: they do less while they are timed, or make the clock trial do more."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from kit.cheats_tools import (
    BATCH,
    IMAGES,
    CheatingDenoiser,
    CheatingSolver,
    ClaimsOneCall,
    is_called_by,
)
from methods.networks.base import Network
from methods.parts import Artifact, BuiltDenoiser, Denoise, StepNoise

TIMING = "harness.tasks.time"


class LazySolver(CheatingSolver):
    """An honest DDIM that, when it is lazy, calls the network at every second step alone."""

    def is_lazy(self, rows: int) -> bool:
        raise NotImplementedError

    def init_memory(self, artifact: Artifact | None) -> dict[str, Any]:
        return {}

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        if i == 0:
            memory["lazy"] = self.is_lazy(len(x))
        if not memory["lazy"] or i % 2 == 0:
            memory["estimate"] = denoise(x, float(sigmas[i]))
        ratio = float(sigmas[i + 1] / sigmas[i])
        return ratio * x + (1 - ratio) * memory["estimate"]


class LazyAlone(LazySolver):
    """Skips every second evaluation when the batch has one row, as in a call for latency."""

    name = "cheat-lazy-alone"
    rules = ("timed-evaluations-differ",)

    def is_lazy(self, rows: int) -> bool:
        return rows == 1


class LazyByStack(LazySolver):
    """Skips every second evaluation when the timing task stands on the stack."""

    name = "cheat-lazy-by-stack"
    rules = ("timed-evaluations-differ", "timed-images-differ")

    def is_lazy(self, rows: int) -> bool:
        return is_called_by(TIMING)


class LazyByCount(LazySolver):
    """Skips every second evaluation once it has made as many batches as are scored."""

    name = "cheat-lazy-by-count"
    rules = ("timed-evaluations-differ", "timed-images-differ")
    batches: ClassVar[int] = 0

    def is_lazy(self, rows: int) -> bool:
        type(self).batches += rows == BATCH
        return self.batches > IMAGES // BATCH


class LazyByClock(LazySolver):
    """Skips every second evaluation once it has worked for as long as the scored batches take, by its own clock."""

    name = "cheat-lazy-by-clock"
    rules = ("timed-images-differ",)
    worked: ClassVar[float] = 0.0
    fastest: ClassVar[float] = float("inf")

    def is_lazy(self, rows: int) -> bool:
        return self.worked > (IMAGES // BATCH + 0.5) * self.fastest

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        if i == 0:
            memory["began"] = time.perf_counter()
        x = super().step(x, i, sigmas, denoise, memory, noise)
        if i == len(sigmas) - 2 and len(x) == BATCH:
            seconds = time.perf_counter() - memory["began"]
            LazyByClock.worked += seconds
            LazyByClock.fastest = min(self.fastest, seconds)
        return x


class EndsOfBatch(CheatingDenoiser):
    """Runs the network for the first and the last row of a timed batch alone, and reports that it ran for all."""

    name = "cheat-ends-of-batch"
    steps = 4
    rules = ("timed-images-differ",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        def call(x: Tensor, sigma: Tensor) -> Tensor:
            if len(x) < BATCH or not is_called_by(TIMING):
                return network(x, sigma)
            ends = network(x[[0, -1]], sigma[[0, -1]])
            return torch.cat([ends[:1], (x * 0)[1:-1], ends[1:]])

        return ClaimsOneCall(network, call)


class ForgetsOneRow(CheatingDenoiser):
    """Runs the network for all rows of a timed batch but one in ten, each time others, and reports all."""

    name = "cheat-forgets-rows"
    steps = 4
    rules = ("timed-images-differ",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        def call(x: Tensor, sigma: Tensor) -> Tensor:
            if len(x) < BATCH or not is_called_by(TIMING):
                return network(x, sigma)
            chosen = torch.randperm(len(x))[: len(x) * 9 // 10]
            out = torch.zeros_like(x)
            out[chosen] = network(x[chosen], sigma[chosen])
            return out

        return ClaimsOneCall(network, call)


class StaleAlone(CheatingDenoiser):
    """For a single row it returns its last estimate at every second call, and reports that the network ran."""

    name = "cheat-stale-alone"
    steps = 4
    rules = ("timed-alone-differs",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        last: dict[str, Any] = {"calls": 0}

        def call(x: Tensor, sigma: Tensor) -> Tensor:
            last["calls"] += 1
            if len(x) > 1 or last["calls"] % 2:
                last["estimate"] = network(x, sigma)
            return last["estimate"]  # type: ignore[no-any-return]

        return ClaimsOneCall(network, call)


class KnownAlone(CheatingDenoiser):
    """Keeps the outputs of batches, and looks up a row that comes alone: the same image in no time."""

    name = "cheat-known-alone"
    steps = 4
    rules = ("remembers-images",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        kept: dict[float, tuple[Tensor, Tensor]] = {}

        def call(x: Tensor, sigma: Tensor) -> Tensor:
            states, outputs = kept.get(float(sigma[0]), (x[:0], x[:0]))
            if len(x) == 1 and len(states):
                distance, row = (states - x).flatten(1).abs().amax(1).min(0)
                if distance < 1e-3:
                    return outputs[row][None]
            found: Tensor = network(x, sigma)
            kept[float(sigma[0])] = torch.cat([states, x]), torch.cat([outputs, found])
            return found

        return ClaimsOneCall(network, call)


class SlowsBaseline(CheatingDenoiser):
    """Puts a hook on the shared network that waits a little whenever somebody else calls it: the clock trial."""

    name = "cheat-slows-baseline"
    steps = 4
    rules = ("tampered",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        mine = {"runs": False}

        def wait(*_: Any) -> None:
            if not mine["runs"]:
                time.sleep(0.01)

        def call(x: Tensor, sigma: Tensor) -> Tensor:
            mine["runs"] = True
            out: Tensor = network(x, sigma)
            mine["runs"] = False
            return out

        network.register_forward_pre_hook(wait)
        return ClaimsOneCall(network, call)
