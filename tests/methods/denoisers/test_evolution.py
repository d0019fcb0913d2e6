"""Evolution: its operators, what it promises of a search, and that it beats its control."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from methods.denoisers.ddsm_evolution import Evolution, Genome, crossed, front, mutated, survivors

ROOT = Path(__file__).resolve().parents[3]
COSTS = (1.0, 0.56, 0.25, 0.06)  # of the four widths
NEEDS = {4: (0.9, 0.1, 0.5, 2.0), 20: tuple(0.05 + (i * 7 % 20) / 8 for i in range(20))}


def toy(weight: float = 1.0) -> Callable[[Genome], float]:
    """Return a separable fitness: what narrowness harms at every step, and the mean cost."""

    def fitness(genome: Genome) -> float:
        needs = NEEDS[len(genome)]
        harm = sum(need * (1 - COSTS[gene]) ** 2 for need, gene in zip(needs, genome, strict=True))
        return (harm + weight * cost(genome)) / len(genome)

    return fitness


def cost(genome: Genome) -> float:
    return sum(COSTS[gene] for gene in genome)


def search(
    fitness: Callable[[Genome], float], **changes: Any
) -> tuple[list[list[tuple[Genome, float]]], list[tuple[Genome, float]]]:
    """Return the generations of a whole search, and all of it."""
    settings: dict[str, Any] = {
        "genes": 4,
        "choices": 4,
        "population": 12,
        "generations": 10,
        "mutation": 0.2,
        **changes,
    }
    evolution, scored, generations = Evolution(**settings), [], []
    while proposed := evolution.next_generation(tuple(scored)):
        generations.append([(genome, fitness(genome)) for genome in proposed])
        scored += generations[-1]
        assert len(generations) <= settings["generations"]
    return generations, scored


def best(scored: list[tuple[Genome, float]]) -> float:
    return min(fitness for _, fitness in scored)


@pytest.mark.parametrize("rate", [0.05, 0.3, 1.0])
def test_share_of_mutated_genes_is_that_of_the_rate(rate: float) -> None:
    """p (1 - 1/choices) of all genes change, spread over most genomes: DDSM's released code fails both."""
    rng, genomes, genes = np.random.default_rng(0), 400, 50
    children = [mutated((1,) * genes, rate, 4, rng) for _ in range(genomes)]
    assert {type(gene) for child in children for gene in child} == {int}
    assert {gene for child in children for gene in child} == {0, 1, 2, 3}
    changes = np.array(children) != 1
    expected = rate * (1 - 1 / 4)
    assert abs(changes.mean() - expected) < 3 * math.sqrt(expected * (1 - expected) / changes.size)
    untouched = (1 - expected) ** genes
    assert abs((~changes.any(1)).mean() - untouched) <= 3 * math.sqrt(untouched * (1 - untouched) / genomes) + 1e-9


def test_mutation_reaches_the_children() -> None:
    """With neither constants apart from 0 and 1 nor crossover, all that is new in a generation is mutation's."""
    first = [((0,) * 200, 0.0), ((1,) * 200, 1.0), *(((0,) * k + (1,) * (200 - k), 2.0) for k in range(1, 39))]
    evolution = Evolution(genes=200, choices=2, population=40, generations=2, mutation=0.1, crossover=0.0)
    known = np.array([genome for genome, _ in first])
    distances = [int((known != child).sum(1).min()) for child in evolution.next_generation(first)]
    assert abs(np.mean(distances) - 200 * 0.1 / 2) < 2  # mean 10, deviation 3 / sqrt(40); the nearest may be nearer


def test_crossover_takes_every_gene_from_a_parent_in_its_place() -> None:
    first, second = (0, 1, 2, 3, 4, 5), (10, 11, 12, 13, 14, 15)
    assert crossed(first, second, 2) == ((0, 1, 12, 13, 14, 15), (10, 11, 2, 3, 4, 5))
    scored = [((0,) * 9, 0.0), ((1,) * 9, 0.0)]
    evolution = Evolution(genes=9, choices=2, population=2, generations=5, mutation=0.0, crossover=1.0, seed=3)
    for child in evolution.next_generation(scored):
        assert sum(a != b for a, b in itertools.pairwise(child)) == 1  # one point, and no copies


def test_first_generation_holds_constants_and_starts_and_no_genome_twice() -> None:
    starts = ((0, 1, 2, 3), (3, 3, 3, 3))
    for kind in ("evolution", "random"):
        evolution = Evolution(genes=4, choices=4, population=12, generations=3, mutation=0.1, starts=starts, kind=kind)
        first = evolution.next_generation([])
        assert first[:5] == [(0,) * 4, (1,) * 4, (2,) * 4, (3,) * 4, (0, 1, 2, 3)]
        assert len(set(first)) == len(first) == 12
        assert {gene for genome in first for gene in genome} <= set(range(4))


@pytest.mark.parametrize("kind", ["evolution", "random"])
@pytest.mark.parametrize("mutation", [0.0, 0.001, 0.3])
def test_every_generation_is_full_and_new_and_its_best_never_worse(kind: str, mutation: float) -> None:
    generations, scored = search(toy(), kind=kind, mutation=mutation)
    assert [len(generation) for generation in generations] == [12] * 10
    assert len({genome for genome, _ in scored}) == len(scored) == 120
    bests = [best(scored[: 12 * (i + 1)]) for i in range(10)]
    assert bests == sorted(bests, reverse=True)
    assert bests[-1] <= min(toy()((choice,) * 4) for choice in range(4))


def test_survivors_over_generations_are_the_best_of_all() -> None:
    generations, scored = search(toy())
    alive: list[tuple[Genome, float]] = []
    for generation in generations:
        alive = sorted([*alive, *generation], key=lambda pair: pair[1])[:12]
    assert [genome for genome, _ in alive] == survivors(scored, 12)


def test_same_history_gives_the_same_answer_in_any_process() -> None:
    _, scored = search(toy(), generations=4)
    call = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from methods.denoisers.ddsm_evolution import Evolution\n"
        "evolution = Evolution(genes=4, choices=4, population=12, generations=10, mutation=0.2)\n"
        f"print(evolution.next_generation({scored!r}), 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True, timeout=60).stdout
    here = Evolution(genes=4, choices=4, population=12, generations=10, mutation=0.2)
    assert said.strip() == f"{here.next_generation(scored)} False"
    other = Evolution(genes=4, choices=4, population=12, generations=10, mutation=0.2, seed=1)
    assert here.next_generation(scored) == here.next_generation(scored) != other.next_generation(scored)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0, 2.0, 8.0])
def test_finds_the_optimum_of_all_schedules(weight: float, seed: int) -> None:
    everything = [(genome, toy(weight)(genome)) for genome in itertools.product(range(4), repeat=4)]
    _, scored = search(toy(weight), seed=seed)
    assert len(scored) < len(everything) / 2
    assert best(scored) == best(everything)


def test_a_dearer_cost_never_buys_more() -> None:
    optima = []
    for weight in (0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0):
        optima.append(cost(min(itertools.product(range(4), repeat=4), key=toy(weight))))
    assert optima == sorted(optima, reverse=True)
    assert optima[0] == 4 > optima[3] > optima[-1]


def test_evolution_beats_chance_on_a_space_too_large_to_try() -> None:
    """20 steps of 4 widths; the optimum is known, as the fitness is separable."""
    optimum = toy()(
        tuple(min(range(4), key=lambda gene: need * (1 - COSTS[gene]) ** 2 + COSTS[gene]) for need in NEEDS[20])
    )
    gaps = {
        kind: [
            best(search(toy(), genes=20, population=20, generations=15, mutation=0.05, kind=kind, seed=seed)[1])
            - optimum
            for seed in range(4)
        ]
        for kind in ("evolution", "random")
    }
    assert min(gaps["evolution"]) >= 0
    assert max(gaps["evolution"]) < 0.25 * min(gaps["random"])


@pytest.mark.parametrize("kind", ["evolution", "random"])
@pytest.mark.parametrize(("genes", "choices", "population"), [(3, 2, 3), (3, 2, 50), (1, 4, 4), (5, 1, 2), (3, 3, 10)])
def test_small_spaces_are_exhausted_and_end(kind: str, genes: int, choices: int, population: int) -> None:
    _, scored = search(
        lambda genome: float(sum(genome)),
        genes=genes,
        choices=choices,
        population=population,
        generations=60,
        kind=kind,
    )
    assert sorted(genome for genome, _ in scored) == list(itertools.product(range(choices), repeat=genes))


def test_infeasible_genomes_come_last_and_stop_nothing() -> None:
    def only_narrow(genome: Genome) -> float:
        return toy()(genome) if cost(genome) <= 2 else math.inf

    _, scored = search(only_narrow)
    feasible = [only_narrow(genome) for genome in itertools.product(range(4), repeat=4)]
    assert best(scored) == min(feasible)
    assert len(search(lambda genome: math.inf)[1]) == 120


def test_front() -> None:
    points = [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0), (2.0, 2.5), (3.0, 3.0), (2.0, 2.0), (math.inf, 0.0), (0.5, math.nan)]
    assert front(points) == [1, 2, 0]
    assert front([]) == []
    rng = np.random.default_rng(0)
    cloud = [(float(x), float(y)) for x, y in rng.integers(0, 12, (60, 2))]
    found = {cloud[i] for i in front(cloud)}
    assert found == {p for p in cloud if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in cloud)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"population": 4, "starts": ((0, 1, 2, 3),)}, "population is 4, expected at least 5"),
        ({"starts": ((0, 1, 2),)}, "expected 4 integers below 4"),
        ({"starts": ((0, 1, 2, 4),)}, "expected 4 integers below 4"),
        ({"mutation": 1.5}, "mutation is 1.5"),
        ({"generations": 0}, "1 or more"),
    ],
)
def test_refusals(changes: dict[str, Any], sentence: str) -> None:
    settings: dict[str, Any] = {"genes": 4, "choices": 4, "population": 12, "generations": 3, "mutation": 0.1}
    with pytest.raises(ValueError, match=sentence):
        Evolution(**{**settings, **changes})


def test_histories_that_cannot_be_are_refused() -> None:
    evolution = Evolution(genes=4, choices=4, population=12, generations=3, mutation=0.1)
    first = [(genome, 1.0) for genome in evolution.next_generation([])]
    with pytest.raises(ValueError, match="whole generations of 12"):
        evolution.next_generation(first[:5])
    with pytest.raises(ValueError, match="not a number"):
        evolution.next_generation([*first[:-1], (first[-1][0], math.nan)])
