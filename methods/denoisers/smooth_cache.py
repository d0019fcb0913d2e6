"""SmoothCache: which calls compute a branch is decided once, by errors of reuse along whole trajectories.

Liu et al. 2024, "SmoothCache: A Universal Inference Acceleration Technique for Diffusion
Transformers" (arXiv:2411.10510). Calls are numbered k = 0, 1, ..., F is the output of a branch of
block l. Along whole trajectories E(k, j) is the mean over blocks of |F_l(k) - F_l(k+j)|_1 /
|F_l(k+j)|_1, sums over a calibration batch. A mask is scanned upwards: compute at k, take the
largest j <= `reach` with E(k, j) <= alpha, reuse F in the next j calls, go on at k + j + 1. The
first and the last call compute. One mask for attention and one for MLP, shared by all blocks.
Ours: 32 calibration noises in place of 10 images, and `per = "block"`, a mask for each branch. The
errors are those of the trial's steps, schedule and solver; every alpha shares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.denoisers.cached_calls import guidance_refusal, planned_calls
from methods.networks.base import Network, NetworkParams
from methods.networks.blocks import BlockNetwork
from methods.networks.branches import KINDS, BranchKind, Compute, raw_by_branches
from methods.networks.preconditioning import RawNetwork
from methods.parts import Artifact, BuiltDenoiser, Denoiser, DenoiserParams, Method, PrepareContext, Units

_NOISES = 32
_TINY = 1e-12

BranchKey = tuple[int, BranchKind]
"""A block, counted from 0, and one of its branches."""


class SmoothCache(Denoiser):
    name = "smooth-cache"
    summary = "branches reused where a calibration found them to change little: SmoothCache (Liu 2024)"
    method_family = "feature cache"
    families = ("uvit", "dit")
    has_memory = True
    prepares = True
    prepares_for = ("steps", "schedule", "solver")
    sampling_only = ("alpha", "per")

    class Params(DenoiserParams):
        alpha: float = Field(default=0.18, ge=0)
        """Relative error of reuse that is allowed; at 0 every call computes."""
        reach: int = Field(default=3, ge=1)
        """Calls after a computed one that may reuse it at most."""
        per: Literal["type", "block"] = "type"
        """What a mask is for: attention or MLP of all blocks, or each branch of each block (ours)."""

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        calls = planned_calls(parts, steps)
        if calls < 3:
            return f"a trajectory has {calls} calls, of which the first and the last compute all; give more steps"
        if self.params.reach > calls - 2:
            return f"reach is {self.params.reach}, and {calls - 2} calls lie between the first and the last; give less"
        return guidance_refusal(self.params)

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return False

    def prepare(self, context: PrepareContext) -> Artifact:
        """Return E of each branch, float64 [blocks, attention and MLP, calls, reach]."""
        assert isinstance(context.network, BlockNetwork)
        recorder = ReuseRecorder(context.network, self.params.reach)
        context.sample(recorder, range(_NOISES), _NOISES)
        return Artifact({"errors": recorder.errors()}, {"calls": recorder.calls})

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert isinstance(network, BlockNetwork)  # `families` admits no other
        assert artifact is not None
        errors = artifact.tensors["errors"].double()
        if self.params.per == "type":
            errors = errors.mean(0, keepdim=True).expand_as(errors)

        # which branches compute, call by call
        computing: list[set[BranchKey]] = [set() for _ in range(artifact.facts["calls"])]
        for i in range(network.n_blocks):
            for place, kind in enumerate(KINDS):
                for k in computed_calls(errors[i, place].tolist(), self.params.alpha):
                    computing[k].add((i, kind))
        return MaskedBranches(network, [frozenset(keys) for keys in computing])


def computed_calls(errors: Sequence[Sequence[float]], alpha: float) -> list[int]:
    """Return the numbers of the calls that compute a branch, from E by call and distance less 1."""
    calls, found, k = len(errors), [], 0
    while k < calls - 1:
        found.append(k)
        fits = [j for j, error in enumerate(errors[k], start=1) if error <= alpha and k + j < calls - 1]
        k += max(fits, default=0) + 1
    return [*found, calls - 1]


@dataclass
class _Kept:
    """The last computed outputs of branches, and the number of the next call."""

    outputs: dict[BranchKey, Tensor] = field(default_factory=dict)
    calls: int = 0


class MaskedBranches(BuiltDenoiser):
    """A network whose branches compute in given calls and return their last output in the others."""

    has_memory = True

    def __init__(self, network: BlockNetwork, computing: Sequence[frozenset[BranchKey]]) -> None:
        """`computing` has the branches that compute, by call; the first call must have all."""
        self.network, self._computing = network, computing
        self._names = {keys: f"mask-{n}" for n, keys in enumerate(dict.fromkeys(computing))}
        for keys in self._names:
            if len(keys) in (0, 2 * network.n_blocks):
                self._names[keys] = "full" if keys else "cached"

    def init_memory(self, rows: int) -> _Kept:
        return _Kept()

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        (mine,) = memory
        keys = self._computing[mine.calls]
        mine.calls += 1

        def branch(i: int, kind: BranchKind, compute: Compute) -> Tensor:
            if (i, kind) in keys:
                mine.outputs[i, kind] = compute()
            return mine.outputs[i, kind]

        raw = raw_by_branches(self.network, branch)
        return self.network.denoised(raw, x, sigma), {self._names[keys]: 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {name: partial(self.network.denoised, self._alone(keys)) for keys, name in self._names.items()}

    def _alone(self, keys: frozenset[BranchKey]) -> RawNetwork:
        """Return a raw network in which these branches compute and the others add 0."""
        zero = next(self.network.parameters()).new_zeros(1, 1, self.network.params.width)
        return raw_by_branches(self.network, lambda i, kind, compute: compute() if (i, kind) in keys else zero)


class ReuseRecorder(BuiltDenoiser):
    """The whole network, with the errors that reusing earlier outputs of its branches would have made."""

    has_memory = True

    def __init__(self, network: BlockNetwork, reach: int) -> None:
        self.network, self._reach = network, reach
        self._sums: list[Tensor] = []
        """Per call: |F(k-j) - F(k)|_1 / |F(k)|_1, [blocks, 2, reach], NaN where there is no call k - j."""

    @property
    def calls(self) -> int:
        """Return how many calls were recorded."""
        return len(self._sums)

    def init_memory(self, rows: int) -> list[dict[BranchKey, Tensor]]:
        self._sums.clear()
        return []

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        (before,) = memory
        now: dict[BranchKey, Tensor] = {}

        def branch(i: int, kind: BranchKind, compute: Compute) -> Tensor:
            now[i, kind] = compute()
            return now[i, kind]

        estimate = self.network.denoised(raw_by_branches(self.network, branch), x, sigma)
        errors = [
            [[_reuse_error(then, now, (i, kind)) for then in before] for kind in KINDS]
            for i in range(self.network.n_blocks)
        ]
        found = torch.full((self.network.n_blocks, len(KINDS), self._reach), torch.nan, dtype=torch.float64)
        found[..., : len(before)] = torch.tensor(errors, dtype=torch.float64)
        self._sums.append(found)
        before[:] = [now, *before][: self._reach]
        return estimate, {"full": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"full": self.network}

    def errors(self) -> Tensor:
        """Return E, [blocks, 2, calls, reach]; infinite where there is no call k + j."""
        found = torch.full((self.network.n_blocks, len(KINDS), self.calls, self._reach), torch.inf, dtype=torch.float64)
        for k, errors in enumerate(self._sums):
            for j in range(1, min(self._reach, k) + 1):
                found[:, :, k - j, j - 1] = errors[:, :, j - 1]
        return found


def _reuse_error(then: Mapping[BranchKey, Tensor], now: Mapping[BranchKey, Tensor], key: BranchKey) -> float:
    """Return the relative error of an earlier output of a branch in place of the current one, over the batch."""
    change, size = (then[key] - now[key]).abs().sum(dtype=torch.float64), now[key].abs().sum(dtype=torch.float64)
    return float(change / size.clamp(min=_TINY))
