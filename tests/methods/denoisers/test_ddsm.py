"""DDSM: which width runs when, what a schedule costs, and the search from its first candidates to its choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from kit.toy_context import ToyContext

from harness.registry import registry
from methods.denoisers.ddsm import DDSM, _Search, least_share
from methods.denoisers.full import Full
from methods.networks.base import DataShape
from methods.networks.slimmable_unet import SlimmableUNet, SlimmableUNetParams
from methods.parts import Artifact, Done, Job
from methods.solvers.ddpm import DDPM
from methods.solvers.heun import Heun

WIDTHS = (1.0, 0.75, 0.5, 0.25)
PARAMS = SlimmableUNetParams(channels=(16, 16), norm_groups=4, round_to=4, widths=WIDTHS, middle=False, sigma_data=0.5)
TABLE = (6070.0, 3420.0, 1520.0, 382.5)  # MMAC per width of the released search
RELEASED = (274, 181, 534, 11)  # steps at each width of the released CIFAR-10 schedule


def network(seed: int = 0) -> SlimmableUNet:
    """Return a small slimmable network whose outputs are not zero."""
    torch.manual_seed(seed)
    made = SlimmableUNet(PARAMS, DataShape(1, 8)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made.requires_grad_(False)


def method(**params: Any) -> DDSM:
    return DDSM(**{"population": 6, "generations": 3, "search_images": 10, **params})


Truth = Callable[[Sequence[float]], float]


def searched(
    truth: Truth, steps: int = 4, costs: Sequence[float] = TABLE, fresh: Truth | None = None, **params: Any
) -> tuple[_Search, list[list[Job]]]:
    """Return a finished search whose candidates have the FID `truth` says (`fresh` on fresh noise), and its rounds."""
    ddsm, done, rounds = method(**params), [], []
    while jobs := ddsm.next_jobs(steps, PARAMS, done):
        rounds.append(list(jobs))
        for job in jobs:
            fid = (fresh or truth)(job["widths"]) if job["first_noise"] else truth(job["widths"])
            flops = sum(costs[WIDTHS.index(width)] for width in job["widths"])
            done.append(Done(job, Artifact(facts={"fid": fid, "flops": flops, "passes": [1.0] * steps})))
    return _Search(ddsm.params, steps, WIDTHS, done), rounds


def needs(widths: Sequence[float]) -> float:
    """Return a FID to which late steps matter more."""
    return sum((k + 1) * (1 - width) ** 2 for k, width in enumerate(widths))


# Which width runs when (spec 6.7).


def test_the_full_width_at_every_step_is_the_whole_network_bit_for_bit() -> None:
    net = network()
    whole = ToyContext(net).sample(Full().build(net), range(6), 3)
    for widths in ((1.0,), (1.0,) * 4):
        mine = ToyContext(net).sample(method(widths=widths).build(net), range(6), 3)
        assert torch.equal(mine.images, whole.images)
        assert mine.flops == whole.flops


@pytest.mark.parametrize("widths", [(0.25, 0.5, 0.75, 1.0), (1.0, 1.0, 0.25, 0.5)])
def test_the_width_of_a_step_runs_at_that_step(widths: tuple[float, ...]) -> None:
    net = network()
    built, x = method(widths=widths).build(net), torch.randn(2, 1, 8, 8)
    for step, width in enumerate(widths):
        for sigma in (0.1, 5.0):  # whatever the level
            level = torch.full((2,), sigma, dtype=torch.float64)
            out, units = built(x, level, step)
            assert units == {f"width-{width:g}": 1}
            expected = net.denoised(lambda scaled, label, width=width: net.raw(scaled, label, width), x, level)
            assert torch.equal(out, expected)


def test_changing_the_first_width_changes_the_first_call_only() -> None:
    net = network()
    ran = [
        ToyContext(net).sample(method(widths=widths).build(net), range(4), 4).units
        for widths in ((1.0, 0.5, 0.5, 0.5), (0.25, 0.5, 0.5, 0.5))
    ]
    assert [step for step in range(4) if ran[0][step] != ran[1][step]] == [0]


def test_a_schedule_costs_the_sum_of_its_widths_counted() -> None:
    net = network()
    alone = {
        width: ToyContext(net, steps=1).sample(method(widths=(width,)).build(net), range(2), 2).flops
        for width in WIDTHS
    }
    assert sorted(alone.values(), reverse=True) == list(alone.values())
    widths = (1.0, 0.25, 0.5, 0.25)
    sampled = ToyContext(net).sample(method(widths=widths).build(net), range(2), 2)
    assert sampled.flops == sum(alone[width] for width in widths)


# What a schedule costs (spec 6.8).


def test_the_released_schedule_costs_what_the_paper_says() -> None:
    def truth(widths: Sequence[float]) -> float:
        return 0.0

    search, _ = searched(truth, steps=1000, generations=1)
    genome = tuple(gene for gene, count in enumerate(RELEASED) for _ in range(count))
    assert search._share(genome) * TABLE[0] == pytest.approx(3098.0875, abs=1e-9)
    assert round(search._share(genome), 4) == 0.5104


def test_the_share_of_a_candidate_is_what_it_is_counted_to_cost_under_a_solver_of_unequal_steps() -> None:
    """Heun evaluates twice at each step but the last."""
    net = network()
    context = ToyContext(net, solver=Heun())
    ddsm, done = method(search_images=4, population=5, generations=1, finalists=1), []
    while jobs := ddsm.next_jobs(4, PARAMS, done):
        done += [Done(job, ddsm.do(context, job)) for job in jobs]
    search = _Search(ddsm.params, 4, WIDTHS, done)
    full = next(d.artifact.facts["flops"] for d in done if d.job["widths"] == [1.0] * 4)
    for d in done:
        genome = tuple(WIDTHS.index(width) for width in d.job["widths"])
        assert search._share(genome) == pytest.approx(d.artifact.facts["flops"] / full, rel=1e-12)


# The search (spec 6.9, 6.11).


def test_a_search_starts_with_the_constants_and_never_asks_twice() -> None:
    search, rounds = searched(needs)
    assert [job["widths"] for job in rounds[0]] == [[width] * 4 for width in WIDTHS]
    asked = [(tuple(job["widths"]), job["first_noise"]) for jobs in rounds for job in jobs]
    assert len(asked) == len(set(asked)) == 6 * 3 + 3
    assert {job["first_noise"] for jobs in rounds[:-1] for job in jobs} == {0}
    assert [job["first_noise"] for job in rounds[-1]] == [10] * 3
    assert len(search.history()) == len(asked)


@pytest.mark.parametrize("kind", ["evolution", "random"])
def test_both_kinds_of_search_have_the_same_number_of_evaluations(kind: str) -> None:
    _, rounds = searched(needs, search=kind, population=8, generations=4, finalists=2)
    assert sum(map(len, rounds)) == 8 * 4 + 2


def test_the_best_of_a_search_never_gets_worse_and_beats_the_constants() -> None:
    search, _ = searched(needs, steps=8, population=12, generations=8, flops_weight=3.0)
    best: list[float] = []
    rows = [row for row in search.history() if not row["is_final"]]
    for number in sorted({row["round"] for row in rows}):
        best.append(min([*best, *(row["objective"] for row in rows if row["round"] == number)]))
    assert best == sorted(best, reverse=True)
    assert best[-1] < best[0]


def test_the_optimum_of_a_small_space_is_found() -> None:
    weight = 4.0
    search, _ = searched(needs, population=16, generations=8, flops_weight=weight, mutations=1.0)
    assert len(search.history()) < 4**4  # not by trying them all
    grids = np.stack(np.meshgrid(*[range(4)] * 4, indexing="ij"), -1).reshape(-1, 4)
    values = [
        needs([WIDTHS[g] for g in genome]) + weight * sum(TABLE[g] for g in genome) / 4 / TABLE[0] for genome in grids
    ]
    assert search.chosen() == [WIDTHS[g] for g in grids[int(np.argmin(values))]]


def test_the_objective_is_fid_plus_the_weight_times_the_share() -> None:
    search, _ = searched(needs, flops_weight=2.5)
    for row in search.history():
        widths = row["candidate"]["widths"]
        share = sum(TABLE[WIDTHS.index(width)] for width in widths) / 4 / TABLE[0]
        assert row["objective"] == pytest.approx(needs(widths) + 2.5 * share)
        assert row["flops_per_image"] == pytest.approx(share * 4 * TABLE[0])


def test_a_heavier_weight_finds_a_cheaper_schedule() -> None:
    shares = []
    for weight in (0.0, 2.0, 8.0, 50.0):
        search, _ = searched(needs, population=16, generations=8, flops_weight=weight)
        shares.append(sum(TABLE[WIDTHS.index(width)] for width in search.chosen()))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 4 * TABLE[0]
    assert shares[-1] == 4 * TABLE[-1]


def test_no_candidate_over_the_budget_is_sampled() -> None:
    search, rounds = searched(needs, population=12, generations=6, flops_budget=0.4)
    for jobs in rounds[1:]:
        for job in jobs:
            assert sum(TABLE[WIDTHS.index(width)] for width in job["widths"]) / 4 / TABLE[0] <= 0.4
    assert sum(TABLE[WIDTHS.index(width)] for width in search.chosen()) / 4 / TABLE[0] <= 0.4


def test_what_is_chosen_is_best_on_fresh_noise_not_the_luckiest() -> None:
    """The best of the search is a fluke of its noise: on fresh noise it is the worst of the finalists."""
    first, _ = searched(needs, finalists=3)
    finals = [row["candidate"]["widths"] for row in first.history() if row["is_final"]]
    lucky = finals[0]
    search, _ = searched(needs, fresh=lambda widths: 1000.0 if list(widths) == lucky else needs(widths), finalists=3)
    assert search.chosen() != lucky
    assert search.chosen() in finals
    chosen = [row for row in search.history() if row["is_chosen"]]
    assert len(chosen) == 1
    assert chosen[0]["is_final"]


def test_the_same_seed_finds_the_same_and_another_one_asks_for_others() -> None:
    asked = [searched(needs, seed=seed)[1] for seed in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]


def test_a_search_asks_the_same_again_from_half_of_what_it_asked() -> None:
    """A driver that was killed replays the search; within a round jobs may be missing anywhere."""
    ddsm, done = method(), []
    jobs = list(ddsm.next_jobs(4, PARAMS, done))
    some = [Done(job, Artifact(facts={"fid": 1.0, "flops": 1.0, "passes": [1.0] * 4})) for job in jobs[1::2]]
    assert list(ddsm.next_jobs(4, PARAMS, some)) == jobs[0::2]


# Through the interfaces of the engine.


def test_candidates_see_the_same_noise_and_finalists_other_noise() -> None:
    net = network()
    context, ddsm = ToyContext(net), method(search_images=20)
    job = {"widths": [1.0] * 4, "first_noise": 0, "n_images": 20, "batch": 8}
    first, again = ddsm.do(context, job), ddsm.do(context, job)
    assert first.facts == again.facts
    assert ddsm.do(context, {**job, "first_noise": 20}).facts["fid"] != first.facts["fid"]
    one_by_one = ddsm.do(context, {**job, "batch": 1})
    assert one_by_one.facts["fid"] == pytest.approx(first.facts["fid"], rel=1e-4)


@pytest.mark.parametrize("solver", [None, DDPM()])
def test_a_whole_search_prepares_a_schedule_that_builds(solver: DDPM | None) -> None:
    net = network()
    context = ToyContext(net) if solver is None else ToyContext(net, solver=solver)
    ddsm, done = method(search_images=6, population=4, generations=2, finalists=2), []
    while jobs := ddsm.next_jobs(context.steps, net.params, done):
        done += [Done(job, ddsm.do(context, job)) for job in jobs]
    context.done = done
    artifact = ddsm.prepare(context)
    assert len(artifact.facts["widths"]) == context.steps
    assert len(artifact.facts["history"]) == len(done)
    built = ddsm.build(net, artifact)
    _, units = built(torch.randn(1, 1, 8, 8), torch.ones(1, dtype=torch.float64), 2)
    assert units == {f"width-{artifact.facts['widths'][2]:g}": 1}


def test_all_that_a_search_is_set_to_leaves_its_jobs_as_they_are() -> None:
    assert set(DDSM.search_only) == set(DDSM.Params.model_fields) - {"widths"}
    assert DDSM.prepares_for == ("steps", "schedule", "solver")
    assert DDSM.scores
    assert method().prepares
    assert not method(widths=(0.5,)).prepares


@pytest.mark.parametrize(
    ("params", "steps", "sentence"),
    [
        ({"widths": (0.5, 1.0)}, 4, r"2 widths are given for 4 steps; give one for all, or one per step"),
        ({"widths": (0.6,)}, 4, r"widths \[0.6\] are given; the network has \[1.0, 0.75, 0.5, 0.25\]"),
        ({"flops_budget": 0.01}, 4, r"flops_budget is 0.01, .* no candidate meets it; raise it"),
        ({"population": 3}, 4, r"population is 3; .* at least 4"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(params: dict[str, Any], steps: int, sentence: str) -> None:
    refused = method(**params).refusal({}, steps, PARAMS)
    assert refused is not None
    import re

    assert re.search(sentence, refused)
    assert "\n" not in refused


def test_a_budget_that_the_narrowest_width_meets_is_not_refused() -> None:
    least = least_share(PARAMS)
    assert 0 < least < 0.1
    assert method(flops_budget=least * 1.01).refusal({}, 4, PARAMS) is None
    assert method(flops_budget=least * 0.99).refusal({}, 4, PARAMS) is not None
    assert method().refusal({}, 4, PARAMS) is None


def test_the_registry_knows_it() -> None:
    assert registry().method("denoiser", "ddsm") is DDSM
