"""Cheats that work behind the counter: more of the network runs than their rows report."""

from __future__ import annotations

import copy
import gc
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from kit.cheats_tools import (
    SIGMA_MAX,
    Call,
    CheatingDenoiser,
    CheatingSolver,
    ClaimsOneCall,
    solve,
    solve_from,
)
from kit.digits_kit import training_images
from methods.networks.base import Network
from methods.parts import Artifact, BuiltDenoiser, Denoise, StepNoise, Units


class NoCall(CheatingSolver):
    """Returns training images, and never calls the network."""

    name = "cheat-no-call"
    rules = ("no-network-calls",)

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        images = training_images().to(x)
        return images[(x[:, None] * images).flatten(2).sum(2).argmax(1)]


class HiddenSteps(CheatingDenoiser):
    """Takes eight steps on the bare network inside one call, and reports one evaluation."""

    name = "cheat-hidden-steps"
    rules = ("uncounted-flops",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return ClaimsOneCall(network, partial(solve_from, network))


class Copied(CheatingDenoiser):
    """Does so on a copy of the network, without the hooks that the harness may have set on it."""

    name = "cheat-deep-copy"
    rules = ("uncounted-flops",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return ClaimsOneCall(network, partial(solve_from, copy.deepcopy(network)))


class Submodule(CheatingDenoiser):
    """Does so by the module inside the network, so that the network itself is never called."""

    name = "cheat-submodule"
    rules = ("uncounted-flops",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        inner: Any = copy.deepcopy(network)
        return ClaimsOneCall(network, partial(solve_from, partial(inner.denoised, inner.raw)))


class OtherThread(CheatingDenoiser):
    """Does so in a thread of its own, which has ended when the call returns: counters are kept per thread."""

    name = "cheat-thread"
    rules = ("uncounted-time",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        def call(x: Tensor, sigma: Tensor) -> Tensor:
            found: list[Tensor] = []
            one = network(x, sigma)

            def work() -> None:
                with torch.inference_mode():
                    found.append(solve_from(copy.deepcopy(network), x, sigma))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return found[0] + 0 * one

        return ClaimsOneCall(network, call)


class OtherProcess(CheatingDenoiser):
    """Does so in a child process, whose work no counter of this one can see."""

    name = "cheat-child"
    rules = ("uncounted-time",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        def call(x: Tensor, sigma: Tensor) -> Tensor:
            one = network(x, sigma)
            read, write = os.pipe()
            child = os.fork()
            if child == 0:  # pragma: no cover: another process
                with os.fdopen(write, "wb") as pipe:
                    pipe.write(solve_from(network, x, sigma).numpy().tobytes())
                os._exit(0)
            os.close(write)
            with os.fdopen(read, "rb") as pipe:
                found = np.frombuffer(pipe.read(), dtype=np.float32).reshape(x.shape)
            os.waitpid(child, 0)
            return torch.from_numpy(found.copy()) + 0 * one

        return ClaimsOneCall(network, call)


class LiftsCounter(CheatingDenoiser):
    """Does so while torch's counters are lifted, by a context manager of torch."""

    name = "cheat-lifts-counter"
    rules = ("uncounted-time",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        def call(x: Tensor, sigma: Tensor) -> Tensor:
            one = network(x, sigma)
            with _disable_current_modes():
                return solve_from(copy.deepcopy(network), x, sigma) + 0 * one

        return ClaimsOneCall(network, call)


class InNumpy(CheatingDenoiser):
    """Does so with products computed by NumPy, which no counter of torch sees."""

    name = "cheat-numpy"
    rules = ("uncounted-time",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        def call(x: Tensor, sigma: Tensor) -> Tensor:
            one = network(x, sigma)
            with _Numpy():
                return solve_from(network, x, sigma) + 0 * one

        return ClaimsOneCall(network, call)


class CheapUnit(CheatingDenoiser):
    """Names a unit that costs nothing where the whole network runs."""

    name = "cheat-cheap-unit"
    steps = 4
    rules = ("uncounted-flops",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return _Reports(network, 1, lambda x, sigma: network(x[..., :4, :4], sigma))


class Skipped(CheatingDenoiser):
    """Reports that every second image skipped the network, which ran for all of them."""

    name = "cheat-skipped"
    steps = 4
    rules = ("uncounted-flops",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return _Reports(network, 2, network)


class NoUnits(CheatingDenoiser):
    """Reports no unit at all."""

    name = "cheat-no-units"
    steps = 4
    rules = ("no-network-calls",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return _Reports(network, 0, network)


class FindsNetwork(CheatingSolver):
    """A solver that finds the network in the process's memory, and calls it itself: NFE 1 for nine."""

    name = "cheat-finds-network"
    steps = 1
    rules = ("uncounted-flops",)

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        networks = (one for one in gc.get_objects() if issubclass(type(one), Network))
        network = next(one for one in networks if getattr(one, "family", "") == "unet")
        return solve(network, x, SIGMA_MAX) + 0 * denoise(x, SIGMA_MAX)


class _Reports(BuiltDenoiser):
    """Runs the network, and reports one image in `every` (none for 0), each at the price of `unit`."""

    def __init__(self, network: Network, every: int, unit: Call) -> None:
        self.network, self.every, self.unit = network, every, unit

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        if not self.every:
            return self.network(x, sigma), {}
        return self.network(x, sigma), {"network": (torch.arange(len(x)) % self.every == 0).long()}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"network": self.unit}


class _Numpy(TorchDispatchMode):
    """Computes products and convolutions of torch by NumPy."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        products: dict[Any, Callable[..., Tensor]] = {
            torch.ops.aten.convolution.default: _convolution,
            torch.ops.aten.addmm.default: lambda bias, a, b: bias + _product(a, b),
            torch.ops.aten.mm.default: _product,
            torch.ops.aten.linear.default: lambda a, b, bias: bias + _product(a, b.T),
        }
        if func in products:
            return products[func](*args)
        with self:
            found = func.decompose(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if found is NotImplemented else found


def _product(a: Tensor, b: Tensor) -> Tensor:
    return torch.from_numpy(a.numpy() @ b.numpy())


def _convolution(x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, *rest: Any) -> Tensor:
    """Return a plain 2-d convolution."""
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (2, 3))[
        :, :, :: stride[0], :: stride[1]
    ]
    product = np.tensordot(windows, weight.numpy(), ((1, 4, 5), (1, 2, 3)))
    return torch.from_numpy(np.ascontiguousarray(product.transpose(0, 3, 1, 2))) + bias[:, None, None]
