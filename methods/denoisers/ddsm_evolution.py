"""Evolution of integer genomes by one fitness, and random search as its control.

No network, no state.

The search of DDSM (Yang et al. 2024, arXiv:2310.03337): the first generation holds the constant
genomes. Then come binary tournaments, single-point crossover and mutation gene by gene; the best
of parents and children survive. The next generation is a pure function of the seed and of the
scores so far. So a search can be interrupted, and spread over workers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

Genome = tuple[int, ...]
"""One choice, 0 to choices - 1, for each gene."""

_TRIES = 100
"""Random draws per missing genome of a generation, before the search for new ones is systematic."""


@dataclass(frozen=True)
class Evolution:
    """A search for the genome of smallest fitness among choices^genes, in `generations` of `population` evaluations.

    "random" is the control: of equal size, with the same first genomes and uniform others. Raises
    ValueError for parameters out of range.
    """

    genes: int
    choices: int
    population: int
    generations: int
    """Generations in all, the first included."""
    mutation: float
    """Probability of each gene of a child to be drawn again among all choices."""
    crossover: float = 0.9
    """Probability of two parents to be crossed; else their children are copies."""
    seed: int = 0
    kind: Literal["evolution", "random"] = "evolution"
    starts: tuple[Genome, ...] = ()
    """Known genomes in the first generation, in addition to the constant ones."""

    def __post_init__(self) -> None:
        # numbers
        if min(self.genes, self.choices, self.generations) < 1:
            raise ValueError("genes, choices and generations must be 1 or more")
        if not (0 <= self.mutation <= 1 and 0 <= self.crossover <= 1):
            raise ValueError(f"mutation is {self.mutation}, crossover {self.crossover}; expected both from 0 to 1")

        # first generation
        for start in self.starts:
            if len(start) != self.genes or not set(start) <= set(range(self.choices)):
                raise ValueError(f"start {start} is no genome; expected {self.genes} integers below {self.choices}")
        if self.population < len(self._known()):
            raise ValueError(
                f"population is {self.population}, expected at least {len(self._known())}: "
                f"{self.choices} constant genomes and the starts are evaluated first"
            )

    def next_generation(self, scored: Sequence[tuple[Genome, float]]) -> list[Genome]:
        """Return the genomes to evaluate next, none of them in `scored`.

        Empty when the search is over.

        `scored` holds every genome so far with its fitness, in the order of the proposals. Smaller
        is better, inf is infeasible. Generations are full until all genomes have been evaluated.
        Raises ValueError for a fitness of nan and for a part of a generation.
        """
        seen = {genome for genome, _ in scored}
        done, left = divmod(len(scored), self.population)
        if any(math.isnan(fitness) for _, fitness in scored):
            raise ValueError("a fitness is not a number; expected inf for what is infeasible")

        # is the search over?
        if len(seen) == self.choices**self.genes or done >= self.generations:
            return []
        if left:
            raise ValueError(f"{len(scored)} genomes are scored; expected whole generations of {self.population}")

        # the next generation
        rng = np.random.default_rng([self.seed, done])
        if done == 0:
            return self._filled(self._known(), seen, rng)
        if self.kind == "random":
            return self._filled([], seen, rng)
        return self._filled(self._children(scored, seen, rng), seen, rng)

    def _known(self) -> list[Genome]:
        constants = [(choice,) * self.genes for choice in range(self.choices)]
        return list(dict.fromkeys([*constants, *self.starts]))

    def _children(
        self, scored: Sequence[tuple[Genome, float]], seen: Collection[Genome], rng: np.random.Generator
    ) -> list[Genome]:
        """Return up to a population of new genomes; fewer where the parents are too similar."""
        parents = survivors(scored, self.population)
        found: dict[Genome, None] = {}
        for _ in range(_TRIES * self.population):
            # two parents, perhaps crossed
            pair = [_tournament(parents, rng) for _ in range(2)]
            if self.genes > 1 and rng.random() < self.crossover:
                pair = list(crossed(pair[0], pair[1], int(rng.integers(1, self.genes))))

            # their mutated children, if new
            for child in pair:
                child = mutated(child, self.mutation, self.choices, rng)
                if child not in seen and len(found) < self.population:
                    found[child] = None
            if len(found) == self.population:
                break
        return list(found)

    def _filled(self, genomes: list[Genome], seen: Collection[Genome], rng: np.random.Generator) -> list[Genome]:
        """Return a whole generation: the given genomes, then new uniform ones while there are any."""
        found = dict.fromkeys(genomes)
        room = min(self.population, self.choices**self.genes - len(seen))
        draws = (_uniform(self.genes, self.choices, rng) for _ in range(_TRIES * self.population))
        rest = product(range(self.choices), repeat=self.genes)  # reached only where random draws find nothing new

        for source in (draws, rest):
            for genome in source:
                if len(found) >= room:
                    return list(found)
                if genome not in seen:
                    found[genome] = None
        return list(found)


def survivors(scored: Sequence[tuple[Genome, float]], n: int) -> list[Genome]:
    """Return the n genomes of smallest fitness, best first, the earlier of equals first.

    As no genome is evaluated twice, they are the same as after (mu + lambda) selection in every
    generation.
    """
    return [genome for genome, _ in sorted(scored, key=lambda pair: pair[1])[:n]]


def crossed(first: Genome, second: Genome, point: int) -> tuple[Genome, Genome]:
    """Return both children of single-point crossover: genes before `point` of one parent, then of the other."""
    return first[:point] + second[point:], second[:point] + first[point:]


def mutated(genome: Genome, rate: float, choices: int, rng: np.random.Generator) -> Genome:
    """Return the genome, each gene drawn again with probability `rate` among all choices, its own included.

    The released code of DDSM draws once for the whole genome instead, so hardly any genome
    mutates.
    """
    anew = rng.random(len(genome)) < rate
    return tuple(np.where(anew, rng.integers(0, choices, len(genome)), genome).tolist())


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the Pareto front: points that no other point equals or beats in both coordinates.

    Smaller is better. Sorted by the first coordinate; of equal points the first, and none with an
    infinite coordinate.
    """
    found: list[int] = []
    best = math.inf
    finite = [i for i, point in enumerate(points) if all(map(math.isfinite, point))]
    for i in sorted(finite, key=lambda i: points[i]):
        if points[i][1] < best:
            found.append(i)
            best = points[i][1]
    return found


def _uniform(genes: int, choices: int, rng: np.random.Generator) -> Genome:
    return tuple(rng.integers(0, choices, genes).tolist())


def _tournament(ranked: Sequence[Genome], rng: np.random.Generator) -> Genome:
    """Return the better of two random genomes of a list ranked best first."""
    return ranked[int(rng.integers(0, len(ranked), 2).min())]
