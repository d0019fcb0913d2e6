"""Anybody's pipeline, not ported: a function that owns network, schedule and solver, and returns finished images.

No paper: the function is the user's.

`pipeline(noise, steps) -> images`: noise is unit normal [n, channels, height, width] on the device. Images are a tensor
of that shape, an array [n, height, width, channels], or a list of PIL pictures; uint8, or floats in [0, 1] as
diffusers' pipelines return them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.sampling.pixels import scale_to_unit
from harness.wrapping.own_draws import own_draws
from harness.wrapping.user_code import load_code
from harness.wrapping.wrapped import WrappedParams
from methods.networks.base import NetworkParams
from methods.parts import Boundary, Executor, Method, Solver, StepNoise, Trace

_OWN = {"denoiser": "own", "schedule": "own", "solver": "own"}
_ROUNDING = 1e-3
"""By which floats may leave [0, 1]."""


class WrappedPipeline(Executor):
    """Hands noise to the user's function; it decides everything else, and its network is not seen."""

    name = "wrapped-pipeline"
    summary = "your own pipeline(noise, steps) with its own network, not ported: python = FILE.py:NAME"
    method_family = "wrapped"
    families = ("own",)
    Params = WrappedParams
    owns_network = True

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        if not self.params.python:
            return 'it wraps nothing yet; name your function as pipeline = "FILE.py:NAME" in the trial'
        found = {part: parts[part].name for part in _OWN}
        if found != _OWN:
            return f'a wrapped pipeline owns all parts; expected pipeline = "FILE.py:NAME" alone, found {found}'
        return None

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return False

    def run(
        self, evaluate: Boundary, solver: Solver, sigmas: np.ndarray, x: Tensor, noise: StepNoise, trace: Trace
    ) -> Tensor:
        from harness.measure.flops import without_fused_attention_layers  # it imports what only counting needs

        # a pipeline may take gradients, as guidance by a classifier does
        with torch.inference_mode(False), torch.no_grad(), without_fused_attention_layers():
            pipeline = load_code(self.params.python, self.params.sha256)
            unit = x.clone() / float(sigmas[0])
            with _first_call(unit) as has_begun, own_draws(unit, noise, has_begun):
                images = pipeline(unit.clone(), len(sigmas) - 1)
            return _as_states(images, self.params.python, unit)


@contextmanager
def _first_call(unit: Tensor) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a module was called with states of this shape.

    Noise that is drawn after that is a step's.
    """
    calls: list[bool] = []

    def look(module: nn.Module, args: Any) -> None:
        if any(isinstance(one, Tensor) and one.shape == unit.shape for one in args):
            calls.append(True)
            handle.remove()

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield lambda: bool(calls)
    finally:
        handle.remove()


def _as_states(images: Any, target: str, unit: Tensor) -> Tensor:
    """Return images as states in [-1, 1] of the noise's type; ValueError or TypeError for what are no images.

    NaN and shapes stay as they are: audits report them.
    """
    found = _as_tensor(images, target).detach().to(unit.device)
    if found.dtype == torch.uint8:
        return scale_to_unit(found.to(unit.dtype))
    if not found.is_floating_point():
        raise TypeError(f"{target} returned images of {found.dtype}; expected uint8, or floats in [0, 1]")

    finite = found[torch.isfinite(found)]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 1.0)
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(f"{target} returned images from {low:.3g} to {high:.3g}; expected uint8, or floats in [0, 1]")
    return found.to(unit.dtype) * 2 - 1


def _as_tensor(images: Any, target: str) -> Tensor:
    """Return a tensor of images, channels first; TypeError for anything else than a tensor, array or PIL pictures."""
    if isinstance(images, Tensor):
        return images
    if isinstance(images, list | tuple) and images and all(hasattr(one, "getbands") for one in images):
        images = np.stack([np.asarray(one) for one in images])
        images = images[..., None] if images.ndim == 3 else images
    if not isinstance(images, np.ndarray):
        found = type(images).__name__
        raise TypeError(f"{target} returned a {found}; expected a tensor, an array or a list of PIL pictures")
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))
