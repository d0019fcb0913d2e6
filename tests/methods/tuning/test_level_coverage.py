"""Whether tuned networks were shown the levels at which they are asked: by hand, then every method that tunes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kit import digits_kit
from kit.toy_context import ToyContext
from kit.toy_gates import lively
from torch import Tensor

from methods.denoisers.adadiff import AdaDiff
from methods.denoisers.early_exit import EarlyExit
from methods.tuning.level_coverage import LEAST_SHARE, STEPS, RecordedDraws, shares, thin, usual_grid
from methods.tuning.level_draws import DrawnTuningParams, LevelDraws
from methods.tuning.level_loss import LevelLoss
from methods.tuning.level_tuning import LevelTuningParams, tune_at

BATCH, PASSES = 64, 200  # of a tuning by default


def test_shares_by_hand() -> None:
    """Cells of the grid 16, 4, 1 end at 32, 8, 2; what lies outside counts for none, but is a draw."""
    grid = np.array([16.0, 4.0, 1.0])
    assert shares(np.array([40.0, 31.0, 9.0, 7.0, 2.1, 1.9, 1.0, 0.1]), grid).tolist() == [2 / 8, 2 / 8]
    assert shares(np.empty(0), grid).tolist() == [0, 0]


def test_levels_even_in_the_logarithm_cover_an_even_grid_evenly() -> None:
    grid = np.geomspace(8, 0.5, 5)
    drawn = np.geomspace(8 * 2**0.5, 0.5 * 2**0.5, 40_001)
    assert shares(drawn, grid).tolist() == pytest.approx([0.25] * 4, abs=1e-4)


def test_thin_levels_are_named() -> None:
    covered = [{"sigma": 9.0, "share": 0.009}, {"sigma": 3.0, "share": 0.01}, {"sigma": 1.0, "share": 0.981}]
    assert thin(covered) == [9.0]
    assert thin(covered, 0.02) == [9.0, 3.0]


def test_recorded_draws_are_the_draws_themselves() -> None:
    network = lively("uvit")
    recorded, grid = RecordedDraws(network), np.array([100.0, 1.0, 1e-4])
    assert [level["share"] for level in recorded.covered(grid)] == [0, 0]
    here, there = (torch.Generator().manual_seed(2) for _ in range(2))
    for _ in range(3):
        pairs = zip(recorded.draws((5, 1, 8, 8), here), network.draws((5, 1, 8, 8), there), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    drawn = torch.cat([network.draws((5, 1, 8, 8), g)[0] for g in [torch.Generator().manual_seed(2)]])
    assert recorded.covered(grid)[0]["share"] >= float((drawn > 10).sum()) / 15
    assert sum(level["share"] for level in recorded.covered(grid)) == 1
    assert [level["sigma"] for level in recorded.covered(grid)] == [100, 1]


@pytest.mark.parametrize("method", [AdaDiff, EarlyExit])
def test_preparations_tell_what_they_drew(method: Any) -> None:
    network = lively("uvit")
    facts = method(tune_steps=2, tune_batch=4).prepare(ToyContext(network)).facts
    assert [level["sigma"] for level in facts["coverage"]] == usual_grid(ToyContext(network))[:-1].tolist()
    assert 0.5 < sum(level["share"] for level in facts["coverage"]) <= 1


@pytest.mark.parametrize("objective", ["trajectory", "data"])
def test_a_tuning_at_levels_tells_that_it_was_shown_each_alike(objective: Any) -> None:
    grid = np.array([9.0, 3.0, 1.0, 0.1])
    params = LevelTuningParams(tune_steps=2, tune_batch=48, tune_objective=objective)
    _, facts = tune_at(ToyContext(lively("uvit")), grid, params)
    assert [level["sigma"] for level in facts["coverage"]] == grid[:-1].tolist()
    assert [level["share"] for level in facts["coverage"]] == pytest.approx([1 / 3] * 3, abs=0.02)


def covered(drawn: Any) -> list[dict[str, float]]:
    """Return how a tuning's draws cover ten steps of EDM's grid on the digits."""
    recorded, generator = RecordedDraws(drawn), torch.Generator().manual_seed(0)
    for _ in range(PASSES):
        recorded.draws((BATCH, 1, 1, 1), generator)
    return recorded.covered(usual_grid(digits_kit.context(digits_kit.zoo_network("uvit-8"))))


def by_levels(kind: Any) -> LevelDraws:
    network = digits_kit.zoo_network("uvit-8")
    return LevelDraws(network, digits_kit.context(network), DrawnTuningParams(tune_levels=kind))  # type: ignore[arg-type]


def few_step() -> LevelLoss:
    network = digits_kit.zoo_network("unet-8")
    grid = usual_grid(digits_kit.context(network))
    return LevelLoss(network, grid, LevelTuningParams())


ASKED = {
    "adadiff": (lambda: by_levels(AdaDiff().params.tune_levels), []),
    "early-exit": (lambda: by_levels(EarlyExit().params.tune_levels), []),
    "few-step": (few_step, []),
    "ddsm": (lambda: digits_kit.zoo_network("slim-8"), [20.0, 11.75]),  # trained once for all, log-normal
    "time alone": (lambda: by_levels("time"), [0.0108]),
    "training's own, as tuned before": (lambda: by_levels("training"), [20.0, 11.75]),
}


@pytest.mark.parametrize("name", ASKED)
def test_draws_cover_the_levels_that_are_asked(name: str) -> None:
    """By default methods that tune leave no level thin; beside them, what the alternatives leave thin."""
    drawn, left = ASKED[name]
    assert thin(covered(drawn())) == pytest.approx(left, rel=1e-2)


def test_the_grid_asked_is_ten_steps_between_the_cards_ends() -> None:
    grid = usual_grid(digits_kit.context(digits_kit.zoo_network("uvit-8")))
    assert (len(grid), grid[0], grid[-1]) == (STEPS + 1, 20.0, 0.002)
    assert LEAST_SHARE * BATCH * PASSES == 128


def test_a_constant_level_covers_its_own_cell_alone() -> None:
    class Constant:
        def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
            return torch.full((shape[0],), 6.6), torch.zeros(shape)

    found = covered(Constant())
    assert [level["share"] for level in found] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
