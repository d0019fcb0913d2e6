"""The control of caches visits exactly the levels at which a cache runs its network whole."""

from __future__ import annotations

import numpy as np
import pytest

from methods.denoisers.taylor_cache import TaylorCache
from methods.schedules.cosine import Cosine
from methods.schedules.edm import EDM
from methods.schedules.whole_calls import _OF, WholeCallLevels
from methods.solvers.ddim import DDIM
from methods.solvers.heun import Heun

RANGE = (0.002, 80.0)


@pytest.mark.parametrize("grid", [7, 10, 20])
@pytest.mark.parametrize("interval", [2, 3, 5])
def test_they_are_those_of_deep_caches_whole_calls_and_the_last_level(grid: int, interval: int) -> None:
    every, whole = EDM().levels(grid, *RANGE), [k for k in range(grid) if k % interval == 0]
    found = WholeCallLevels(grid=grid, interval=interval).levels(len(whole), *RANGE)
    assert found.tolist() == [*every[whole], every[grid]]


@pytest.mark.parametrize("anchor", ["start", "end"])
@pytest.mark.parametrize("warm", [1, 2, 3])
@pytest.mark.parametrize("grid", [8, 13])
def test_they_are_those_of_taylor_caches_whole_calls(anchor: str, warm: int, grid: int) -> None:
    cache = TaylorCache(interval=3, anchor=anchor, warm=warm)
    whole = [k for k in range(grid) if cache.is_whole(k, grid)]
    found = WholeCallLevels(of="cosine", grid=grid, interval=3, anchor=anchor, warm=warm).levels(len(whole), *RANGE)
    assert found.tolist() == [*Cosine().levels(grid, *RANGE)[whole], RANGE[0]]


def test_an_estimate_after_the_last_level_is_a_call_that_the_anchor_end_counts_from() -> None:
    # calls 0 to 6, the last after the last level; 6, 3 and 0 are whole
    found = WholeCallLevels(grid=6, interval=3, anchor="end", final="denoise").kept_steps(6)
    assert found == [0, 3]
    assert WholeCallLevels(grid=6, interval=3, anchor="end").kept_steps(6) == [0, 2, 5]


def test_interval_1_leaves_nothing_out() -> None:
    for name, other in _OF.items():
        low = 0.01
        assert (
            WholeCallLevels(of=name, interval=1).levels(9, low, 80.0).tolist() == other().levels(9, low, 80.0).tolist()
        )


@pytest.mark.parametrize("anchor", ["start", "end"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20])
def test_without_a_grid_it_takes_the_fewest_steps_that_have_so_many_whole_calls(anchor: str, steps: int) -> None:
    schedule = WholeCallLevels(interval=4, anchor=anchor)
    levels = schedule.levels(steps, *RANGE)
    assert levels.shape == (steps + 1,)
    assert (levels[0], levels[-1]) == (RANGE[1], RANGE[0])
    assert np.all(np.diff(levels) < 0)
    grid = next(n for n in range(1, 200) if len(schedule.kept_steps(n)) == steps)
    assert levels[1:-1].tolist() == EDM().levels(grid, *RANGE)[schedule.kept_steps(grid)][1:].tolist()


def test_other_steps_than_whole_calls_are_refused_in_one_sentence() -> None:
    schedule = WholeCallLevels(grid=10, interval=3, warm=2)
    why = schedule.refusal({"solver": DDIM()}, 5, None)  # type: ignore[arg-type]
    assert why == "of 10 steps at interval 3, 4 begin with a whole call; give 4 steps"
    assert schedule.refusal({"solver": DDIM()}, 4, None) is None  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="found 4 whole calls in 10 steps; expected 5"):
        schedule.levels(5, *RANGE)
    why = schedule.refusal({"solver": Heun()}, 4, None)  # type: ignore[arg-type]
    assert why is not None
    assert '"heun" has more' in why
