"""Early exit by time (ASE): a fixed function of diffusion time says how many blocks run.

Moon et al. 2024, "A Simple Early Exiting Framework for Accelerated Sampling in Diffusion Models" (arXiv 2408.05927),
sections 3.1 to 3.3, and the authors' code for DiT. Few blocks run near noise (t near 1), all of them near the data.
The network is fine-tuned under the schedule with its ordinary loss; each drawn image costs in training the blocks that
it costs in sampling. The averaged weights sample ("teacher" in the paper; it is never evaluated in the loss).

The control of a schedule is the same depths in reversed order (`reverse`): ours, not the paper's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from methods.denoisers.compiled import compiled
from methods.denoisers.early_exit_depths import ByLevel, ByTime, Depths, Visited, backwards
from methods.networks.base import Network, NetworkParams
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.preconditioning import Draws
from methods.parts import Artifact, BuiltDenoiser, Denoiser, Method, PrepareContext, Units
from methods.tuning.level_coverage import Recorded, usual_grid
from methods.tuning.level_draws import DrawnTuningParams, LevelDraws
from methods.tuning.loop import thawed, tune, untunable

_INTERVALS = 10
_THIRDS = {"full": 0, "mild": 1, "medium": 2, "strong": 3}
_DEMO = (28, 28, 24, 24, 20, 20, 16, 16, 12, 12)
"""The one schedule published as code, for DiT-XL/2: blocks run in ten equal intervals of time, data first."""


class EarlyExit(Denoiser):
    """S(t) for U-ViT (kept decoder blocks, every skip connection still runs) and DiT (blocks run)."""

    name = "early-exit"
    summary = "blocks left out by a fixed schedule of time, fine-tuned: ASE (Moon 2024)"
    families = ("uvit", "dit")

    class Params(DrawnTuningParams):
        schedule: Literal["full", "mild", "medium", "strong", "steep", "demo"] | tuple[int, ...] = "medium"
        """A name, or depths for equal intervals of time, data first.

        mild, medium and strong leave out up to 1/3, 2/3 and all of the blocks that may be, one step less for each
        pair of ten intervals (medium on a U-ViT of depth 12 is 6,6,5,5,4,4,3,3,2,2); steep leaves all of them out from
        the fourth interval on (6,4,2,0,...). Of the paper's own tables only `demo` is public; it wants 28 blocks.
        """
        reverse: bool = False
        """A control at equal FLOPs: of the n evaluations of an image the k-th runs the depth of the (n-1-k)-th.

        Levels between those of the trial run what the one above them does. For a serial run, the solver's own order of
        evaluations is reversed (of Heun's method 2 N, the levels inside twice), so the depths of a trajectory are the
        same ones to the unit; an executor that iterates evaluates some steps more often than others, and loses that.
        """
        time_weight: float = Field(default=0.0, ge=0)
        """Mu of lambda(t) = 1 + mu (full - S) / (full - least S), scaled to mean 1: ours, the paper's is unknown."""
        compiled: bool = False
        """One compiled callable per depth; on a GPU each is captured as a CUDA graph."""

    sampling_only = ("compiled",)

    @property
    def prepares(self) -> bool:  # type: ignore[override]
        return bool(self.params.tune_steps > 0 or self.params.reverse)

    @property
    def prepares_for(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("steps", "schedule", "solver") if self.params.reverse else ()

    @property
    def own_flow(self) -> bool:  # type: ignore[override]
        return bool(self.params.tune_steps > 0)

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        assert isinstance(network, BlockParams)
        exits = network.exits
        if self.params.schedule == "demo" and exits[-1] != _DEMO[0]:
            return (
                f'schedule "demo" is written for {_DEMO[0]} blocks; the network has {exits[-1]}, take another schedule'
            )
        table = self.table(exits)
        wrong = [depth for depth in table if depth not in exits]
        if wrong or not table:
            return f"schedule {list(table)} holds {wrong or 'no depth'}; the network can run {exits[0]} to {exits[-1]}"
        return untunable(network) if self.params.tune_steps > 0 else None

    def table(self, exits: range) -> tuple[int, ...]:
        """Return the depth of each interval of time, data first, for a network that accepts the depths `exits`."""
        schedule = self.params.schedule
        if isinstance(schedule, tuple):
            table = schedule
        elif schedule == "demo":
            table = _DEMO
        else:
            table = tuple(exits[-1] - out for out in _left_out(schedule, len(exits) - 1))
        return table

    def prepare(self, context: PrepareContext) -> Artifact:
        network = _blocks(context.network)
        facts: dict[str, Any] = {"table": list(self.table(network.exits))}
        if self.params.reverse:
            visited = Visited()
            context.sample(visited, range(1), 1)
            facts["levels"], facts["depths"] = backwards(ByTime(facts["table"], network.diffusion_time), visited.levels)
        if self.params.tune_steps == 0:
            return Artifact(facts=facts)
        student, depths = thawed(network), self.depths(network, facts)
        weights_of = self._weights(depths) if self.params.time_weight > 0 else None

        def loss(images: Tensor, draws: Draws) -> Tensor:
            asked = student.regression(images, draws)
            errors = (student.raw(asked.scaled, asked.label, depths.at(draws.sigma)) - asked.target) ** 2
            if weights_of is not None:
                errors = errors * weights_of[depths.piece(draws.sigma.double())].to(errors)
            return errors.mean()

        drawn = Recorded(LevelDraws(student, context, self.params))
        weights, last = tune(student, drawn, loss, context, self.params, {})
        return Artifact(weights, {"loss": last, **facts, "coverage": drawn.covered(usual_grid(context))})

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        blocks = _blocks(network)
        if artifact is not None and artifact.tensors:
            blocks = copy.deepcopy(blocks)
            blocks.load_state_dict(dict(artifact.tensors))
        return _Scheduled(blocks, self.depths(blocks, artifact.facts if artifact else {}), self.params.compiled)

    def depths(self, network: BlockNetwork, facts: Mapping[str, Any]) -> Depths:
        """Return how many blocks run at a level; in reversed order, as the facts that `prepare` left have it."""
        if self.params.reverse:
            return ByLevel(facts["depths"], facts["levels"], network.diffusion_time)
        return ByTime(self.table(network.exits), network.diffusion_time)

    def _weights(self, depths: Depths) -> Tensor:
        """Return lambda [pieces, 1, 1, 1] with mean 1 over uniform time."""
        left_out, lengths = (depths.depths.max() - depths.depths).double(), depths.lengths()
        weights = 1 + self.params.time_weight * left_out / left_out.max().clamp(min=1)
        return (weights * lengths.sum() / (weights * lengths).sum())[:, None, None, None]


def _left_out(schedule: str, blocks: int) -> list[int]:
    """Return how many of the blocks that may be left out are, in each interval, data first; halves round up."""
    if schedule == "steep":
        return [(2 * blocks * min(i, 3) + 3) // 6 for i in range(_INTERVALS)]
    return [(blocks * _THIRDS[schedule] * (i // 2) + 6) // 12 for i in range(_INTERVALS)]


class _Scheduled(BuiltDenoiser):
    def __init__(self, network: BlockNetwork, depths: Depths, compile_each: bool) -> None:
        self.network = network
        self.depths = depths
        self.eager = {depth: partial(network.raw, depth=depth) for depth in sorted(set(depths.depths.tolist()))}
        self.calls = {depth: compiled(raw, network, compile_each) for depth, raw in self.eager.items()}

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        depths = self.depths.at(sigma)
        first = int(depths[0])
        if bool((depths == first).all()):
            return self.network.denoised(self.calls[first], x, sigma), {f"depth-{first}": 1}
        raw = partial(self.network.raw, depth=depths)
        units: dict[str, int | Tensor] = {f"depth-{d}": (depths == d).long() for d in self.eager}
        return self.network.denoised(raw, x, sigma), units

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {f"depth-{d}": partial(self.network.denoised, raw) for d, raw in self.eager.items()}


def _blocks(network: Network) -> BlockNetwork:
    assert isinstance(network, BlockNetwork)  # the families say so
    return network
