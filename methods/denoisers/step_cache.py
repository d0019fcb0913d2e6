"""Caches that decide call by call, image by image: TeaCache, First-Block-Cache and SeaCache.

TeaCache is Liu et al. 2024 (arXiv:2411.19108); First-Block-Cache is as in diffusers'
first_block_cache; SeaCache (CVPR 2026, arXiv:2602.18993) is as in diffusers' sea_cache. R is the
residual of the stack of blocks, h_N - h_0, at an image's last whole call. With
r = sum|m - m_before| / sum|m_before| of an indicator m:

- input (TeaCache): m is what the first attention reads, of every call. a grows by p(r); the call is
  whole if a >= threshold, and a is then 0; else h_N = h_0 + R. p has degree 4 and is fitted to the
  changes of h_N on the trial's own trajectories; its R² is a fact of the artifact.
- first-block: m is the residual of block 0, which always runs, against that of the last whole call.
  The call is whole if r >= threshold, else h_N = h_1 + R with R = h_N - h_1.
- spectral (SeaCache): as input with p(r) = r and m = x / (1 + sigma) under the Wiener gain
  S / (S + sigma²), divided by its mean over frequencies, S = A / |f|^beta.

The first call is whole and, but for first-block, the last. Ours: each image decides for itself,
where the codes take a mean over the batch, and rows that skip are taken out of it; p is clamped at
0; A and beta are fitted to the training images, radially; R is not extrapolated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.denoisers.cached_calls import guidance_refusal, planned_calls
from methods.denoisers.step_cache_fits import ChangeRecorder, FittedChange, WienerGain, relative_change, spectrum_of
from methods.networks.base import Network, NetworkParams
from methods.networks.blocks import BlockNetwork
from methods.networks.branches import attention_input, run_blocks
from methods.parts import Artifact, BuiltDenoiser, Denoiser, DenoiserParams, Method, PrepareContext, Units

_NOISES = 64


class StepCache(Denoiser):
    name = "step-cache"
    summary = "an image skips calls that would change little: TeaCache (Liu 2024), First-Block-Cache, SeaCache"
    method_family = "feature cache"
    claim = "TeaCache's authors report for FLUX.1-dev a speed-up of 1.5 at a threshold of 0.25 and of 2.0 at 0.6."
    families = ("uvit", "dit")
    has_memory = True
    sampling_only = ("threshold", "most_in_a_row")

    class Params(DenoiserParams):
        indicator: Literal["input", "first-block", "spectral"] = "input"
        threshold: float = Field(default=0.2, ge=0)
        """Change, accumulated or of the first block, from which a call is whole; 0 runs all of them whole."""
        most_in_a_row: int | None = Field(default=None, ge=1)
        """Calls that an image may skip one after another; SeaCache has 2, the others no limit."""

    @property
    def prepares(self) -> bool:  # type: ignore[override]
        return bool(self.params.indicator != "first-block")

    @property
    def prepares_for(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("steps", "schedule", "solver") if self.prepares else ()

    @property
    def learns_from_images(self) -> bool:  # type: ignore[override]
        return bool(self.params.indicator == "spectral")

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        calls, least = planned_calls(parts, steps), 3 if self.prepares else 2
        if calls < least:
            whole = "the first and the last are whole" if self.prepares else "the first is whole"
            return f"a trajectory has {calls} calls, of which {whole}, so that none can be skipped; give more steps"
        return guidance_refusal(self.params)

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return False

    def prepare(self, context: PrepareContext) -> Artifact:
        """Return the number of calls, and what the indicator needs: p with its R², or A and beta."""
        assert isinstance(context.network, BlockNetwork)
        recorder = ChangeRecorder(context.network)
        if self.params.indicator == "input":
            context.sample(recorder, range(_NOISES), _NOISES)
            return Artifact(facts={"calls": recorder.calls, **recorder.fit().as_facts()})
        context.sample(recorder, range(1), 1)
        return Artifact(facts={"calls": recorder.calls, **spectrum_of(context.images())})

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert isinstance(network, BlockNetwork)  # `families` admits no other
        return _Skipping(network, self.params, {} if artifact is None else artifact.facts)


@dataclass
class _Trajectory:
    """What images keep from call to call; tensors are by row, on the device."""

    calls: int = 0
    measured: Tensor | None = None
    """The indicator that the next is compared with."""
    residual: Tensor | None = None
    """R, [rows, tokens, width]."""
    change: Tensor | float = 0.0
    """a, [rows]."""
    skipped: Tensor | float = 0.0
    """Calls skipped one after another, [rows]."""


Decide = Callable[[Tensor | None], Tensor | None]
"""From an indicator to the rows that run whole, bool [rows]; None is all of them."""


class _Skipping(BuiltDenoiser):
    has_memory = True

    def __init__(self, network: BlockNetwork, params: Any, facts: Mapping[str, Any]) -> None:
        self.network, self._params = network, params
        self._last = facts.get("calls")
        self._fit = FittedChange(tuple(facts["coefficients"]), facts["r2"]) if "coefficients" in facts else None
        device = next(network.parameters()).device
        self._gain = WienerGain(facts, network.data.resolution, device) if "beta" in facts else None
        self._after_first = params.indicator == "first-block"

    def init_memory(self, rows: int) -> _Trajectory:
        return _Trajectory()

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        (mine,) = memory
        mine.calls += 1
        filtered = None if self._gain is None else self._gain.filter_state(x, float(sigma[0]))
        decided: list[Tensor | None] = []

        def decide(measured: Tensor | None) -> Tensor | None:
            decided.append(self._decide(mine, filtered if measured is None else measured))
            return decided[0]

        estimate = self.network.denoised(partial(self._run, mine=mine, decide=decide), x, sigma)
        (whole,) = decided
        if whole is None:
            return estimate, {"full": 1}
        return estimate, {"full": whole.long(), "cached": (~whole).long()}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        def cached(scaled: Tensor, label: Tensor) -> Tensor:
            mine = _Trajectory(residual=scaled.new_zeros(1, 1, self.network.params.width))
            return self._run(
                scaled, label, mine, lambda _: torch.zeros(len(scaled), dtype=torch.bool, device=scaled.device)
            )

        def full(scaled: Tensor, label: Tensor) -> Tensor:
            return self._run(scaled, label, _Trajectory(), lambda _: None)

        return {name: partial(self.network.denoised, call) for name, call in (("full", full), ("cached", cached))}

    def _run(self, scaled: Tensor, label: Tensor, mine: _Trajectory, decide: Decide) -> Tensor:
        """Return the raw output: rows that run whole run the blocks, the others add R."""
        network = self.network
        h, condition = network.embed(scaled, label, network.classes_of(len(scaled)))

        # what is measured, and the tokens to which R is added
        before: dict[int, Tensor] = {}
        measured = None
        if self._after_first:
            entering = network.block(0, h, condition, None)
            measured, before = entering - h, {0: entering}
        else:
            entering = h
            measured = None if self._gain is not None else attention_input(network, 0, h, condition)
        whole = decide(measured)
        first = len(before)

        # all rows
        if whole is None:
            out = run_blocks(network, entering, condition, first, before)
            mine.residual = out - entering
            return network.head(out, condition)

        # those that run whole, in a batch of their own
        assert mine.residual is not None
        out, rows = entering + mine.residual, whole.nonzero()[:, 0]  # the one wait for the device
        if len(rows) > 0:
            here = None if condition is None else condition[rows]
            ended = run_blocks(network, entering[rows], here, first, {i: kept[rows] for i, kept in before.items()})
            out[rows] = ended.to(out.dtype)
            mine.residual = mine.residual.index_copy(0, rows, (ended - entering[rows]).to(mine.residual.dtype))
        return network.head(out, condition)

    def _decide(self, mine: _Trajectory, measured: Tensor | None) -> Tensor | None:
        """Return which rows of this call run whole, and remember what the next call compares with."""
        assert measured is not None
        before, p = mine.measured, self._params
        if before is None or mine.calls == self._last:
            mine.measured, mine.change, mine.skipped = measured, 0.0, 0.0
            return None

        # the rule
        change = relative_change(measured, before)
        if not self._after_first:
            change = mine.change + (change if self._fit is None else self._fit.predicted(change))
        whole = change >= p.threshold
        if p.most_in_a_row is not None:
            whole = whole | (torch.as_tensor(mine.skipped, device=whole.device) >= p.most_in_a_row)

        # what is remembered: the first block's residual of whole calls alone
        mine.change, mine.skipped = change * ~whole, (mine.skipped + 1) * ~whole
        stays = self._after_first
        mine.measured = torch.where(whole[:, None, None], measured, before) if stays else measured
        return whole
