"""Fixed-interval feature caches of transformers: FORA (order 0) and TaylorSeer (orders 1 to 4).

Selvaraju et al. 2024, "FORA: Fast-Forward Caching in Diffusion Transformer Acceleration"
(arXiv:2407.01425); Liu et al. 2025, "From Reusing to Forecasting: Accelerating Diffusion Models
with TaylorSeers" (ICCV, arXiv:2503.06923). Calls of a trajectory are numbered k = 0, 1, ... F is
the output of a block's attention or MLP before its gate. A whole call at k sets D_0 = F and
D_{i+1} = (D_i - D_i of the whole call before) / (k - k before). A cached call at k' adds the
forecast sum_i D_i (k' - k)^i / i! in place of F; what depends on the level runs: embedders,
modulation, gates, long skips, head.

TaylorSeer runs calls 0, 1, 1 + N, 1 + 2N, ... whole (`anchor = "start"`, `warm = 2`); FORA the
first and every N-th counted from the last (`anchor = "end"`). `level = "last"` keeps the tokens
before the head alone, as TaylorSeer-Lite does. Ours is `clock = "log-sigma"`: differences over
log sigma, whose spacing changes along a grid. An order above the whole calls made so far is lowered
to what they allow. Memory is (order + 1) tensors a branch; FLOPs do not show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.denoisers.cached_calls import (
    guidance_refusal,
    interval_refusal,
    is_whole_from_end,
    is_whole_from_start,
    planned_calls,
    visited_levels,
    whole_before_cached,
)
from methods.networks.base import Network, NetworkParams
from methods.networks.blocks import BlockNetwork
from methods.networks.branches import BranchKind, Compute, raw_by_branches, tokens_by_branches
from methods.networks.preconditioning import RawNetwork
from methods.parts import Artifact, BuiltDenoiser, Denoiser, DenoiserParams, Method, PrepareContext, Units


class TaylorCache(Denoiser):
    name = "taylor-cache"
    summary = "branches forecast between whole calls: FORA (Selvaraju 2024), TaylorSeer (Liu 2025)"
    method_family = "feature cache"
    claim = (
        "TaylorSeer's authors report for DiT-XL/2 on ImageNet 256x256 with 50 DDIM steps FID 2.34 at interval 3 and "
        "order 3, against 2.32 of the whole network."
    )
    families = ("uvit", "dit")
    has_memory = True

    class Params(DenoiserParams):
        interval: int = Field(default=3, ge=1)
        """Calls from one whole call to the next; 1 runs all of them whole."""
        order: int = Field(default=1, ge=0, le=4)
        """Order of the forecast; 0 reuses the kept output, as FORA does."""
        anchor: Literal["start", "end"] = "start"
        """Where whole calls are counted from; end makes the last call whole, as FORA does."""
        warm: int = Field(default=2, ge=1)
        """Whole calls at the beginning, under the anchor start."""
        level: Literal["branch", "last"] = "branch"
        """What is kept: the output of each attention and MLP, or the tokens before the head alone."""
        clock: Literal["index", "log-sigma"] = "index"
        """What differences are taken over: the number of the call, or log sigma (ours)."""

    @property
    def prepares(self) -> bool:  # type: ignore[override]
        """Return whether it counts a trajectory's calls beforehand, which runs no network."""
        return bool(self.params.anchor == "end")

    @property
    def prepares_for(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("steps", "schedule", "solver") if self.prepares else ()

    sampling_only = ("interval", "order", "warm", "level", "clock")

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        calls, order = planned_calls(parts, steps), self.params.order
        if why := interval_refusal(self.params.interval, calls) or guidance_refusal(self.params):
            return why
        before = whole_before_cached([self.is_whole(k, calls) for k in range(calls)])
        if before is not None and before <= order:
            return (
                f"order {order} needs {order + 1} whole calls before a cached one, and of the {calls} calls of a "
                f"trajectory {before} are; give order {before - 1} or less, a shorter interval or more steps"
            )
        return None

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return network.fixed_cost

    def prepare(self, context: PrepareContext) -> Artifact:
        """Return the number of calls, which the anchor end needs."""
        return Artifact(facts={"calls": len(visited_levels(context))})

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert isinstance(network, BlockNetwork)  # `families` admits no other
        calls = 0 if artifact is None else artifact.facts["calls"]
        return _Forecasting(network, self.params, partial(self.is_whole, calls=calls))

    def is_whole(self, k: int, calls: int) -> bool:
        """Return whether call k is whole; `calls` counts those of a trajectory, and is read by the anchor end."""
        p = self.params
        if p.anchor == "end":
            return is_whole_from_end(k, p.interval, calls)
        return is_whole_from_start(k, p.interval, p.warm)


@dataclass
class _Trajectory:
    """Derivatives at the last whole call, by what is kept; the number of the next call; clocks of both."""

    kept: dict[Hashable, list[Tensor]] = field(default_factory=dict)
    calls: int = 0
    clock: float = 0.0
    gap: float | None = None
    """From the whole call before the last to the last; None before there are two."""
    ahead: float = 0.0
    """From the last whole call to the current one."""

    def keep(self, key: Hashable, output: Tensor, order: int) -> Tensor:
        """Keep an output of a whole call with its finite differences, and return it."""
        before, found = self.kept.get(key, []), [output]
        for i in range(min(order, len(before))):
            assert self.gap is not None
            found.append((found[i] - before[i]) / self.gap)
        self.kept[key] = found
        return output

    def forecast(self, key: Hashable) -> Tensor:
        """Return sum_i D_i ahead^i / i!."""
        derivatives = self.kept[key]
        total = derivatives[0]
        for i, derivative in enumerate(derivatives[1:], start=1):
            total = total + derivative * (self.ahead**i / math.factorial(i))
        return total


class _Forecasting(BuiltDenoiser):
    has_memory = True

    def __init__(self, network: BlockNetwork, params: Any, is_whole: Callable[[int], bool]) -> None:
        """`is_whole` is by the number of the call, from 0."""
        self.network, self._params, self._is_whole = network, params, is_whole

    def init_memory(self, rows: int) -> _Trajectory:
        return _Trajectory()

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        (mine,) = memory
        k, whole = mine.calls, self._is_whole(mine.calls)
        mine.calls += 1

        # distance to the last whole call
        clock = float(k) if self._params.clock == "index" else -math.log(float(sigma[0]))
        mine.ahead = clock - mine.clock
        if whole:
            mine.gap = mine.ahead if mine.kept else None
            mine.clock, mine.ahead = clock, 0.0
        return self.network.denoised(self._raw(mine, whole), x, sigma), {"full" if whole else "cached": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"full": self.network, "cached": partial(self.network.denoised, self._without_branches())}

    def _raw(self, mine: _Trajectory, whole: bool) -> RawNetwork:
        """Return the raw network that keeps what a whole call computes, or forecasts it."""
        network, order = self.network, self._params.order
        if self._params.level == "last":

            def last(h: Tensor, condition: Tensor | None) -> Tensor:
                return (
                    mine.keep("last", tokens_by_branches(network, h, condition), order)
                    if whole
                    else mine.forecast("last")
                )

            return _with_last_tokens(network, last)

        # each branch
        def branch(i: int, kind: BranchKind, compute: Compute) -> Tensor:
            return mine.keep((i, kind), compute(), order) if whole else mine.forecast((i, kind))

        return raw_by_branches(network, branch)

    def _without_branches(self) -> RawNetwork:
        """Return a raw network that runs what a cached call runs, with zeros in place of forecasts."""
        if self._params.level == "last":
            return _with_last_tokens(self.network, lambda h, condition: torch.zeros_like(h))
        width = self.network.params.width
        zero = next(self.network.parameters()).new_zeros(1, 1, width)
        return raw_by_branches(self.network, lambda i, kind, compute: zero)


def _with_last_tokens(network: BlockNetwork, last: Callable[[Tensor, Tensor | None], Tensor]) -> RawNetwork:
    """Return a raw network whose tokens before the head are `last` of those before the first block."""

    def run(scaled: Tensor, label: Tensor) -> Tensor:
        h, condition = network.embed(scaled, label, network.classes_of(len(scaled)))
        return network.head(last(h, condition), condition)

    return run
