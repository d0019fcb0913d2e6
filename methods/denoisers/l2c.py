"""Learning-to-Cache: routers, trained for one grid, choose which branches every second call reuses.

Ma et al. 2024, "Learning-to-Cache: Accelerating Diffusion Transformer via Layer Caching" (NeurIPS,
arXiv:2406.01733). Calls of a trajectory are numbered k = 0, 1, ... Even ones run whole. An odd one
has a router beta_k, a number for the attention and the MLP of each block, w = sigmoid(beta). In
training its branches are w F + (1 - w) F', F' the branch's output in the call before, and beta
lowers

    mean |raw output - that of the whole call|^2 + lambda sum w,

beta ~ N(0, 1) at the beginning, the network frozen. In sampling a branch runs where w > theta and
returns F' elsewhere, so at most half of the calls are saved.

Ours: both calls of a pair are at states of whole trajectories from the preparation's noises, under
the trial's solver, where the authors noise training images and take one step. Few and large steps
of learning, for small networks; the authors take lr 1e-3 and lambda 1e-6 (50 steps) or 5e-6 (20).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from methods.denoisers.cached_calls import guidance_refusal, planned_calls
from methods.denoisers.smooth_cache import BranchKey, MaskedBranches
from methods.networks.base import Network, NetworkParams
from methods.networks.blocks import BlockNetwork
from methods.networks.branches import KINDS, Branch, BranchKind, Compute, raw_by_branches
from methods.parts import (
    Artifact,
    BuiltDenoiser,
    Denoiser,
    DenoiserParams,
    Method,
    PrepareContext,
    Training,
    Units,
)

_BATCH = 64  # trajectories sampled at once


class L2C(Denoiser):
    name = "l2c"
    summary = "branches reused in every second call where trained routers allow: Learning-to-Cache (Ma 2024)"
    method_family = "feature cache"
    claim = (
        "The authors report for DiT-XL/2 on ImageNet 256x256 with 50 DDIM steps FID 2.27 in 5.57 s, against 2.26 in "
        "7.25 s of the whole network."
    )
    families = ("uvit", "dit")
    has_memory = True
    prepares = True
    prepares_for = ("steps", "schedule", "solver")
    sampling_only = ("theta",)
    check_params: ClassVar[Mapping[str, Any]] = {"tune_steps": 20, "trajectories": 16, "tune_batch": 16}

    class Params(DenoiserParams):
        theta: float = Field(default=0.1, ge=0, lt=1)
        """A branch runs where its w is above; at 0 every call runs whole."""
        penalty: float = Field(default=3e-3, ge=0)
        """lambda, the price of a branch; the raw output of small networks has larger errors than DiT-XL's."""
        trajectories: int = Field(default=256, ge=1)
        """Trajectories of the frozen network whose states are trained on."""
        tune_steps: int = Field(default=400, ge=1)
        tune_batch: int = Field(default=64, ge=1)
        tune_lr: float = Field(default=0.1, gt=0)

    @property
    def train_batch(self) -> int | None:  # type: ignore[override]
        return int(self.params.tune_batch)

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        calls = planned_calls(parts, steps)
        if calls < 2:
            return f"a trajectory has {calls} call, and only every second one may reuse branches; give more steps"
        return guidance_refusal(self.params)

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return False

    def prepare(self, context: PrepareContext) -> Artifact:
        """Return w of each odd call, float64 [odd calls, blocks, attention and MLP]."""
        assert isinstance(context.network, BlockNetwork)
        recorder = CallRecorder(context.network)
        context.sample(recorder, range(self.params.trajectories), _BATCH)
        calls = recorder.joined()
        routers = Routers(len(calls) // 2, context.network.n_blocks, context.seed)
        routers.to(next(context.network.parameters()).device)
        objective = RouterLoss(context.network, routers, calls, self.params)
        trained = context.train(routers, objective.draw, objective.loss, self._training())
        shares = routers.shares().detach().cpu().double()
        return Artifact({"shares": shares}, {"calls": len(calls), "loss": trained.loss})

    def _training(self) -> Training:
        p = self.params
        return Training(steps=p.tune_steps, batch=p.tune_batch, lr=p.tune_lr, remedy="lower tune_lr")

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert isinstance(network, BlockNetwork)  # `families` admits no other
        assert artifact is not None
        shares = artifact.tensors["shares"]
        every = frozenset((i, kind) for i in range(network.n_blocks) for kind in KINDS)

        # which branches compute, call by call
        computing: list[frozenset[BranchKey]] = []
        for k in range(artifact.facts["calls"]):
            runs = shares[k // 2] > self.params.theta if k % 2 else None
            computing.append(
                every if runs is None else frozenset(key for key in every if runs[key[0], KINDS.index(key[1])])
            )
        return MaskedBranches(network, computing)


@dataclass(frozen=True)
class RecordedCall:
    """One call of all trajectories: its level, its states [rows, channels, height, width] and their classes [rows]."""

    sigma: float
    states: Tensor
    classes: Tensor | None


class CallRecorder(BuiltDenoiser):
    """The whole network, with a record of what it was called for."""

    has_memory = True

    def __init__(self, network: BlockNetwork) -> None:
        self.network = network
        self._calls: list[list[RecordedCall]] = []
        """By number, batch by batch."""

    def init_memory(self, rows: int) -> list[int]:
        """Return the number of the next call."""
        return [0]

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        (counted,) = memory
        if counted[0] == len(self._calls):
            self._calls.append([])
        self._calls[counted[0]].append(RecordedCall(float(sigma[0]), x.clone(), self.network.row_classes))
        counted[0] += 1
        return self.network(x, sigma), {"full": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"full": self.network}

    def joined(self) -> list[RecordedCall]:
        """Return the calls of all batches, by number."""
        found = []
        for batches in self._calls:
            classes = [one.classes for one in batches if one.classes is not None]
            states = torch.cat([one.states for one in batches])
            found.append(RecordedCall(batches[0].sigma, states, torch.cat(classes) if classes else None))
        return found


class Routers(nn.Module):
    """beta of each odd call, [odd calls, blocks, attention and MLP]."""

    def __init__(self, calls: int, blocks: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.logits = nn.Parameter(torch.randn(calls, blocks, len(KINDS), generator=generator))

    def shares(self) -> Tensor:
        """Return w."""
        return self.logits.sigmoid()


class RouterLoss:
    """The error of blended branches in one odd call at a time, and the price of those that run."""

    def __init__(self, network: BlockNetwork, routers: Routers, calls: Sequence[RecordedCall], params: Any) -> None:
        self._network, self._routers, self._calls, self._params = network, routers, calls, params

    def draw(self, generator: torch.Generator) -> Sequence[Tensor]:
        """Return an odd call, the same in all of a batch, and rows; int64 [batch] each."""
        batch = self._params.tune_batch
        router = torch.randint(len(self._routers.logits), (1,), generator=generator)
        return router.repeat(batch), torch.randint(len(self._calls[0].states), (batch,), generator=generator)

    def loss(self, routers: Tensor, rows: Tensor) -> Tensor:
        """Return the loss of one router on trajectories `rows` [n]."""
        router = int(routers[0])
        shares = self._routers.shares()[router]
        before: dict[BranchKey, Tensor] = {}

        def keep(i: int, kind: BranchKind, compute: Compute) -> Tensor:
            before[i, kind] = compute()
            return before[i, kind]

        def blend(i: int, kind: BranchKind, compute: Compute) -> Tensor:
            share = shares[i, KINDS.index(kind)]
            return share * compute() + (1 - share) * before[i, kind]

        with torch.no_grad():
            self._raw_output(2 * router, rows, keep)
            whole = self._raw_output(2 * router + 1, rows, lambda i, kind, compute: compute())
        blended = self._raw_output(2 * router + 1, rows, blend)
        return ((blended - whole) ** 2).mean() + self._params.penalty * shares.sum()

    def _raw_output(self, k: int, rows: Tensor, branch: Branch) -> Tensor:
        """Return the raw network's output in call k, with its branches so."""
        network, call, found = self._network, self._calls[k], []
        run, chosen = raw_by_branches(network, branch), rows.to(call.states.device)
        sigma = torch.full((len(rows),), call.sigma, dtype=torch.float64)

        def kept(scaled: Tensor, label: Tensor) -> Tensor:
            found.append(run(scaled, label))
            return found[0]

        given = network.row_classes
        network.row_classes = None if call.classes is None else call.classes[chosen]
        try:
            network.denoised(kept, call.states[chosen], sigma)
        finally:
            network.row_classes = given
        return found[0]
