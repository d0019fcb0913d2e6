"""Early exit by time (ASE): the number of blocks that run is a fixed function of diffusion time.

Moon et al. 2024, "A Simple Early Exiting Framework for Accelerated Sampling in Diffusion Models"
(arXiv:2408.05927), sections 3.1 to 3.3, and the authors' code for DiT. Few blocks run near noise
(t near 1), all of them near the data. The network is fine-tuned under the schedule with its
ordinary loss; an image runs the same blocks in training as in sampling. The averaged weights
sample: the "teacher" in the paper, which is never evaluated in the loss.

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
from methods.denoisers.early_exit_depths import ByLevel, ByTime, Depths, LevelRecorder, reversed_depths
from methods.networks.base import Network, NetworkParams
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.preconditioning import Draws
from methods.parts import Artifact, BuiltDenoiser, Denoiser, DenoiserParams, Method, PrepareContext, Units
from methods.tuning.level_coverage import RecordedDraws, usual_grid
from methods.tuning.level_draws import DrawnTuningParams, LevelDraws
from methods.tuning.tune import thawed, tune, untunable

_INTERVALS = 10
_THIRDS = {"full": 0, "mild": 1, "medium": 2, "strong": 3}
_DEMO = (28, 28, 24, 24, 20, 20, 16, 16, 12, 12)
"""The one schedule published as code, for DiT-XL/2: blocks run in ten equal intervals of time, data first."""


class EarlyExit(Denoiser):
    """S(t) for U-ViT and DiT: decoder blocks that run, with every skip connection, or blocks that run."""

    name = "early-exit"
    summary = "blocks left out by a fixed schedule of time, fine-tuned: ASE (Moon 2024)"
    method_family = "early exit"
    claim = (
        "The authors report 21.0 to 34.6 % less time with DiT on ImageNet 256, and 13.8 to 25.8 % less with U-ViT on "
        "CelebA 64."
    )
    families = ("uvit", "dit")

    class Params(DenoiserParams, DrawnTuningParams):
        schedule: Literal["full", "mild", "medium", "strong", "steep", "demo"] | tuple[int, ...] = "medium"
        """A name, or depths for equal intervals of time, data first.

        mild, medium and strong leave out up to 1/3, 2/3 and all of the optional blocks, in equal
        steps for each pair of ten intervals: medium on a U-ViT of depth 12 is 6,6,5,5,4,4,3,3,2,2.
        steep leaves all of them out from the fourth interval on: 6,4,2,0,.... Of the paper's own
        tables only `demo` is public; it needs 28 blocks.
        """
        reverse: bool = False
        """A control at equal FLOPs: of the n evaluations of an image the k-th runs the depth of the (n-1-k)-th.

        Levels between the trial's run the depth of the level above them. The solver's own serial
        order of evaluations is reversed, of Heun's method 2 N of them, so a trajectory runs
        exactly the same depths. An executor that iterates evaluates some steps more often than
        others, and does not keep them.
        """
        time_weight: float = Field(default=0.0, ge=0)
        """mu of lambda(t) = 1 + mu (full - S) / (full - least S), scaled to mean 1.

        Ours, the paper's is unknown.
        """
        compiled: bool = False
        """One compiled callable per depth; on a GPU each is captured as a CUDA graph."""

    sampling_only = ("compiled",)

    @property
    def learns_from_images(self) -> bool:  # type: ignore[override]
        return bool(self.params.tune_steps > 0)

    @property
    def train_batch(self) -> int | None:  # type: ignore[override]
        return int(self.params.tune_batch) if self.params.tune_steps > 0 else None

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

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return network.fixed_cost and not parts["schedule"].prepares  # depths go by the level

    def table(self, exits: range) -> tuple[int, ...]:
        """Return the depth of each interval of time, data first, for a network with these exits."""
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

        # depths in reversed order, by the levels that the solver visits
        if self.params.reverse:
            visited = LevelRecorder()
            context.sample(visited, range(1), 1)
            facts["levels"], facts["depths"] = reversed_depths(
                ByTime(facts["table"], network.diffusion_time), visited.levels
            )
        if self.params.tune_steps == 0:
            return Artifact(facts=facts)

        # fine-tuning at the depths of the drawn levels (section 3.2)
        student, depths = thawed(network), self.depths(network, facts)
        weights_of = self._weights(depths) if self.params.time_weight > 0 else None

        def loss(images: Tensor, draws: Draws) -> Tensor:
            problem = student.regression(images, draws)
            errors = (student.raw(problem.scaled, problem.label, depths.at(draws.sigma)) - problem.target) ** 2
            if weights_of is not None:
                errors = errors * weights_of[depths.piece(draws.sigma.double())].to(errors)
            return errors.mean()

        drawn = RecordedDraws(LevelDraws(student, context, self.params))
        weights, last = tune(student, drawn, loss, context, self.params, {})
        return Artifact(weights, {"loss": last, **facts, "coverage": drawn.covered(usual_grid(context))})

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        blocks = _blocks(network)
        if artifact is not None and artifact.tensors:
            blocks = copy.deepcopy(blocks)
            blocks.load_state_dict(dict(artifact.tensors))
        return _Scheduled(blocks, self.depths(blocks, artifact.facts if artifact else {}), self.params.compiled)

    def depths(self, network: BlockNetwork, facts: Mapping[str, Any]) -> Depths:
        """Return the depth of every level.

        In reversed order it is taken from the facts of `prepare`.
        """
        if self.params.reverse:
            return ByLevel(facts["depths"], facts["levels"], network.diffusion_time)
        return ByTime(self.table(network.exits), network.diffusion_time)

    def _weights(self, depths: Depths) -> Tensor:
        """Return lambda [pieces, 1, 1, 1], of mean 1 over uniform time."""
        left_out, lengths = (depths.depths.max() - depths.depths).double(), depths.lengths()
        weights = 1 + self.params.time_weight * left_out / left_out.max().clamp(min=1)
        return (weights * lengths.sum() / (weights * lengths).sum())[:, None, None, None]


def _left_out(schedule: str, blocks: int) -> list[int]:
    """Return how many optional blocks are left out in each interval, data first.

    Halves round up.
    """
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

        # one depth for all rows
        first = int(depths[0])
        if bool((depths == first).all()):
            return self.network.denoised(self.calls[first], x, sigma), {f"depth-{first}": 1}

        # a depth per row
        raw = partial(self.network.raw, depth=depths)
        units: dict[str, int | Tensor] = {f"depth-{d}": (depths == d).long() for d in self.eager}
        return self.network.denoised(raw, x, sigma), units

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {f"depth-{d}": partial(self.network.denoised, raw) for d, raw in self.eager.items()}


def _blocks(network: Network) -> BlockNetwork:
    assert isinstance(network, BlockNetwork)  # `families` admits no other
    return network
