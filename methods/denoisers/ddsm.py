"""DDSM: every step runs a network of its own width, found by an evolutionary search.

Yang et al. 2024, "Denoising Diffusion Step-aware Models" (ICLR, arXiv:2310.03337), and the
authors' code. One slimmable network holds all widths. A candidate is a width per step. Its
objective is FID + flops_weight * FLOPs / FLOPs of the full width; the paper has 1 FID point per
GMAC, or flops_weight = 6.07 for its CIFAR-10 network. As in the code the genes are widths alone:
no step is skipped, and the number of steps is the trial's. Ours: all candidates see the same
noise, and the best few are scored again on fresh noise before one is chosen, since the luckiest of
many is not the best.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from methods.denoisers.ddsm_evolution import Evolution, Genome
from methods.networks.base import DataShape, Network, NetworkParams
from methods.networks.slimmable_unet import SlimmableUNet, SlimmableUNetParams
from methods.parts import Artifact, BuiltDenoiser, Denoiser, DenoiserParams, Done, Job, Method, PrepareContext, Units


class DDSM(Denoiser):
    """A width per step for a slimmable U-Net."""

    name = "ddsm"
    summary = "a network width for every step, by evolutionary search: DDSM (Yang 2024)"
    method_family = "DDSM"
    claim = (
        "The paper reports 49 % less computation on CIFAR-10, at FID 3.55 against 3.71 of the whole network over 1000 "
        "steps, and 76 % less on ImageNet."
    )
    families = ("slimmable-unet",)
    prepares_for = ("steps", "schedule", "solver")
    scores = True

    class Params(DenoiserParams):
        widths: tuple[float, ...] = ()
        """Fixed widths instead of a search: one for all steps, or one per step, the highest noise first."""
        search: Literal["evolution", "random"] = "evolution"
        """random: as many candidates drawn uniformly, as a control of the search."""
        flops_weight: float = Field(default=1.0, ge=0)
        """FID points that the FLOPs of the full width are worth."""
        flops_budget: float = Field(default=1.0, gt=0, le=1)
        """Largest mean share of the full width's FLOPs that a candidate may have."""
        population: int = Field(default=50, ge=2)
        generations: int = Field(default=10, ge=1)
        mutations: float = Field(default=1.0, ge=0)
        """Genes of a child that mutate, on average.

        The paper's rate of 0.001 over its 1000 genes.
        """
        crossover: float = Field(default=0.9, ge=0, le=1)
        search_images: int = Field(default=4096, ge=2)
        search_batch: int = Field(default=200, ge=1)
        finalists: int = Field(default=3, ge=1)
        """Best candidates that are scored again, on as many fresh noises, before one is chosen."""
        seed: int = Field(default=0, ge=0)

    search_only = (*(name for name in Params.model_fields if name != "widths"),)
    check_params: ClassVar[Mapping[str, Any]] = {
        "population": 4,
        "generations": 2,
        "finalists": 2,
        "search_images": 200,
    }

    @property
    def prepares(self) -> bool:  # type: ignore[override]
        return not self.params.widths

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        assert isinstance(network, SlimmableUNetParams)
        # widths that are given
        given = self.params.widths
        if len(given) not in (0, 1, steps):
            return f"{len(given)} widths are given for {steps} steps; give one for all, or one per step"
        wrong = sorted(set(given) - set(network.widths))
        if wrong:
            return f"widths {wrong} are given; the network has {list(network.widths)}"

        # size and budget of a search
        if self.prepares and self.params.population < len(network.widths):
            return (
                f"population is {self.params.population}; the first generation holds {len(network.widths)} constant "
                f"schedules, give at least {len(network.widths)}"
            )
        least = least_share(network) if self.params.flops_budget < 1 else 0.0
        if self.params.flops_budget < least:
            return (
                f"flops_budget is {self.params.flops_budget}, but the narrowest width alone costs {least:.3f} of the "
                f"full one, so no candidate meets it; raise it or train a narrower width"
            )
        return None

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return network.fixed_cost and not self.prepares  # widths go by the step

    def next_jobs(self, steps: int, network: NetworkParams, done: Sequence[Done]) -> Sequence[Job]:
        """Return the candidates of the next generation, then the finalists."""
        return _Search(self.params, steps, _widths(network), done).missing_jobs

    def do(self, context: PrepareContext, job: Job) -> Artifact:
        """Score one candidate on the job's noises."""
        assert isinstance(context.network, SlimmableUNet)
        first = job["first_noise"]
        images = range(first, first + job["n_images"])
        sampled = context.sample(_PerStep(context.network, job["widths"]), images, job["batch"])
        passes = [sum(sampled.units[step].values()) / len(images) for step in range(context.steps)]
        return Artifact(facts={"fid": context.fid(sampled.images), "flops": sampled.flops, "passes": passes})

    def prepare(self, context: PrepareContext) -> Artifact:
        """Choose among the finalists."""
        search = _Search(self.params, context.steps, _widths(context.network.params), context.done)
        return Artifact(facts={"widths": search.chosen(), "history": search.history()})

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert isinstance(network, SlimmableUNet)
        return _PerStep(network, self.params.widths if artifact is None else artifact.facts["widths"])


class _PerStep(BuiltDenoiser):
    """Runs at step k the width of step k.

    Each width is a network of its own with contiguous weights.
    """

    by_step = True

    def __init__(self, network: SlimmableUNet, widths: Sequence[float]) -> None:
        self._widths = list(widths)
        narrow = {width: network.narrow(width) for width in sorted(set(widths))}
        self._calls = {width: partial(network.denoised, raw) for width, raw in narrow.items()}

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        width = self._widths[step if len(self._widths) > 1 else 0]
        return self._calls[width](x, sigma), {f"width-{width:g}": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {f"width-{width:g}": call for width, call in self._calls.items()}


class _Tried(NamedTuple):
    """Score of a candidate: FID, FLOPs per image, and passes of the network per step."""

    fid: float
    flops: float
    passes: list[float]


class _Search:
    """A search replayed from its finished jobs: the jobs that are missing, or else the result."""

    def __init__(self, params: Any, steps: int, widths: Sequence[float], done: Sequence[Done]) -> None:
        self._params, self._steps, self._widths = params, steps, widths
        self._tried = {(_genome(d.job, widths), d.job["first_noise"]): _Tried(**d.artifact.facts) for d in done}
        self._constants: list[Genome] = [(k,) * steps for k in range(len(widths))]
        self._rounds: list[list[Genome]] = [self._constants]
        self._finalists: list[Genome] = []
        self.missing_jobs: Sequence[Job] = next(filter(None, self._replay()), ())

    def chosen(self) -> list[float]:
        """Return the widths per step of the best finalist on fresh noise."""
        return self._as_widths(min(self._finalists, key=lambda genome: self._objective(genome, self._fresh)))

    def history(self) -> list[dict[str, Any]]:
        """Return every scored candidate, round by round, the finalists last."""
        chosen = self.chosen()

        # round, genome and first noise of each
        rounds = [*((r, genome, 0) for r, genomes in enumerate(self._rounds) for genome in genomes)]
        rounds += [(len(self._rounds), genome, self._fresh) for genome in self._finalists]

        return [
            {
                "round": number,
                "candidate": {"widths": self._as_widths(genome)},
                "n_images": self._params.search_images,
                "fid": self._tried[genome, first].fid,
                "flops_per_image": self._tried[genome, first].flops,
                "objective": self._objective(genome, first),
                "is_final": first > 0,
                "is_chosen": first > 0 and self._as_widths(genome) == chosen,
            }
            for number, genome, first in rounds
            if (genome, first) in self._tried
        ]

    @property
    def _fresh(self) -> int:
        """Return the first noise that the search did not use."""
        return int(self._params.search_images)

    def _replay(self) -> Iterator[list[Job]]:
        """Yield the missing jobs of each round; the next round needs all of this one."""
        # constant schedules, whose costs the budget needs
        yield self._missing(self._constants, 0)

        # generations
        p = self._params
        scored: list[tuple[Genome, float]] = []
        evolution = Evolution(
            genes=self._steps,
            choices=len(self._widths),
            population=p.population,
            generations=p.generations,
            mutation=min(p.mutations / self._steps, 1.0),
            crossover=p.crossover,
            seed=p.seed,
            kind=p.search,
        )

        while proposed := evolution.next_generation(scored):
            allowed = [genome for genome in proposed if self._share(genome) <= p.flops_budget]
            yield self._missing(allowed, 0)
            self._rounds.append([genome for genome in allowed if genome not in self._constants])
            scored += [(genome, self._objective(genome, 0) if genome in allowed else math.inf) for genome in proposed]

        # finalists, on fresh noise
        ranked = sorted((found, genome) for genome, found in scored if found < math.inf)
        if not ranked:
            raise ValueError(f"no candidate meets flops_budget = {p.flops_budget}; raise it or the population")
        self._finalists = [genome for _, genome in ranked[: p.finalists]]
        yield self._missing(self._finalists, self._fresh)

    def _missing(self, genomes: Sequence[Genome], first: int) -> list[Job]:
        p = self._params
        size = {"first_noise": first, "n_images": p.search_images, "batch": p.search_batch}
        return [{"widths": self._as_widths(g), **size} for g in genomes if (g, first) not in self._tried]

    def _objective(self, genome: Genome, first: int) -> float:
        return self._tried[genome, first].fid + float(self._params.flops_weight) * self._share(genome)

    def _share(self, genome: Genome) -> float:
        """Return the genome's share of the full width's FLOPs, from the costs of the constant schedules."""
        costs = [self._tried[constant, 0].flops for constant in self._constants]
        passes = self._tried[self._constants[0], 0].passes
        return sum(n * costs[gene] for n, gene in zip(passes, genome, strict=True)) / sum(passes) / costs[0]

    def _as_widths(self, genome: Genome) -> list[float]:
        return [self._widths[gene] for gene in genome]


def least_share(params: SlimmableUNetParams) -> float:
    """Return the narrowest width's share of the full FLOPs, counted without weights on the smallest image."""
    from torch.utils.flop_counter import FlopCounterMode  # here, because it brings triton, which a plan does without

    side = params.patch * 2 ** len(params.channels)
    with torch.device("meta"):
        network = SlimmableUNet(params, DataShape(1, side))
        x, label = torch.zeros(1, 1, side, side), torch.zeros(1)
        counts = []
        for width in (params.widths[-1], params.widths[0]):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                network.raw(x, label, width)
            counts.append(counter.get_total_flops())
    return counts[0] / counts[1]


def _widths(network: NetworkParams) -> tuple[float, ...]:
    assert isinstance(network, SlimmableUNetParams)
    return network.widths


def _genome(job: Job, widths: Sequence[float]) -> Genome:
    return tuple(widths.index(width) for width in job["widths"])
