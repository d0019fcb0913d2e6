"""The network as executors call it: counted, clocked, in its precision, with classes and guidance of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.sampling.call_counts import CallCounts
from harness.sampling.conditions import BatchClasses, given_classes
from methods.networks.base import Network
from methods.parts import BuiltDenoiser, Units

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precisions that leave weights in float32 and run the network under autocast."""


class Evaluator:
    """What an executor calls as the network: the denoiser in its precision, counted and clocked.

    The executor calls it in the sampler's process, inside what is timed. It does not wait for the device.
    """

    def __init__(
        self,
        denoiser: BuiltDenoiser,
        call_counts: CallCounts,
        precision: str = "float32",
        factor: float = 1.0,
        network: Network | None = None,
        classes: BatchClasses | None = None,
    ) -> None:
        """Take a denoiser; with `classes` of a batch, it gives the network those of each call's rows."""
        self.denoiser = denoiser
        self.factor = factor
        self.call_counts = call_counts
        self.autocast = AUTOCAST.get(precision)
        self._network, self._classes = network, classes
        self._memory: tuple[Any, ...] = ()

    def init_memory(self, rows: int) -> None:
        """Begin a trajectory of `rows` images."""
        if self.denoiser.has_memory:
            twice = self._classes is not None and self._classes.guidance.guidance != 1
            self._memory = (self.denoiser.init_memory(rows * (1 + twice)),)

    def __call__(self, x: Tensor, sigma: float | Tensor, step: int | Tensor, images: Tensor | None = None) -> Tensor:
        level = sigma if isinstance(sigma, Tensor) else torch.full((x.shape[0],), sigma, dtype=torch.float64)
        if self._classes is None:
            return self._call(x, level, step, None)
        classes = self._classes.of_rows(x.shape[0], images)
        guided = self._classes.is_guided(level).nonzero()[:, 0]
        if len(guided) == 0:
            return self._call(x, level, step, classes)

        # guided rows a second time, without their class, in the same call
        self.call_counts.guided += len(guided)
        rows = guided.to(x.device, non_blocking=True)
        whole = len(guided) == x.shape[0]
        twice = torch.cat([x, x if whole else x[rows]])
        steps = step if isinstance(step, int) else torch.cat([step, step[guided]])
        nothing = classes.new_full((len(guided),), self._classes.nothing)
        both = self._call(twice, torch.cat([level, level[guided]]), steps, torch.cat([classes, nothing]))
        return self._classes.combine(both, x.shape[0], rows)

    def _call(self, x: Tensor, level: Tensor, step: int | Tensor, classes: Tensor | None) -> Tensor:
        """Return the denoiser's estimates of rows with these classes, counted."""
        # a step for all rows, or steps that do not decide what runs: one call
        if isinstance(step, int):
            denoised, units = self._timed_call(x, level, step, classes)
            self.call_counts.add(step, x.shape[0], units)
            return denoised
        if not self.denoiser.by_step:
            denoised, units = self._timed_call(x, level, int(step[0]), classes)
            self.call_counts.add_rows(step, units)
            return denoised

        # steps decide what runs: one call for each
        out = torch.empty_like(x)
        for one in step.unique().tolist():
            here = step == one
            rows = here.nonzero()[:, 0].to(x.device, non_blocking=True)
            out[rows] = self._call(x[rows], level[here], one, None if classes is None else classes[rows])
        return out

    def _timed_call(self, x: Tensor, level: Tensor, step: int, classes: Tensor | None) -> tuple[Tensor, Units]:
        if classes is None:
            return self._timed(x, level, step)
        with given_classes(self._network, classes):
            return self._timed(x, level, step)

    def _timed(self, x: Tensor, level: Tensor, step: int) -> tuple[Tensor, Units]:
        with self.call_counts.network_clock:
            if self.autocast is None:
                denoised, units = self.denoiser(x, level, step, *self._memory)
            else:
                with torch.autocast(x.device.type, self.autocast):
                    denoised, units = self.denoiser(x, level, step, *self._memory)
                denoised = denoised.to(x.dtype)
            if self.factor != 1.0:
                denoised = denoised * self.factor
        return denoised, units


class WholeDenoiser(BuiltDenoiser):
    """A network as a denoiser whose work is not counted."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        return self.network(x, sigma), {}

    def units(self) -> Mapping[str, Any]:
        return {}
