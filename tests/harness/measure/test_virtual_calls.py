"""How the seconds of a call are measured for a model of time: which loops are made, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.measure.call_times import CallTimer
from harness.sampling.call_counts import CallCounts
from harness.sampling.ranks import Group
from harness.task import ALONE
from methods.schedules.edm import EDM


class Clockwork:
    """A trial whose call takes a tenth of a second a row, and at step s another s seconds if steps decide."""

    device = torch.device("cpu")
    sigmas = EDM().levels(4, 0.02, 20.0)

    def __init__(self, by_step: bool) -> None:
        self.denoiser = SimpleNamespace(by_step=by_step)
        self.now = 0.0
        self.loops: list[tuple[int, list[list[int]]]] = []

    def call_as_in_run(self, image: int, calls: list[list[int]], work: CallCounts) -> None:
        self.loops.append((image, calls))
        for steps in calls:
            self.now += 0.1 * len(steps) + (steps[0] if self.denoiser.by_step else 0)
            work.evaluations[steps[0]] += len(steps)


@pytest.fixture
def clockwork(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], tuple[Clockwork, CallTimer]]:
    def made(by_step: bool) -> tuple[Clockwork, CallTimer]:
        trial: Any = Clockwork(by_step)

        def timed_call(call: Callable[[], None], device: torch.device) -> tuple[None, Any]:
            before = trial.now
            return call(), SimpleNamespace(seconds=trial.now - before)

        monkeypatch.setattr("harness.measure.call_times.timed_call", timed_call)
        return trial, CallTimer(trial, Group(ALONE, trial.device))

    return made


def test_where_the_step_decides_what_runs_every_step_is_measured_and_rows_of_different_steps_are_called_apart(
    clockwork: Callable[[bool], tuple[Clockwork, CallTimer]],
) -> None:
    trial, calls = clockwork(True)
    assert calls.seconds([3], False) == pytest.approx(3.1)
    assert calls.seconds([1, 3, 3], False) == pytest.approx(1.1 + 3.2)
    assert calls.mean_seconds(False) == pytest.approx(0.1 + 1.5)
    assert all(set(map(tuple, calls)) <= {(s,), (s, s)} for _, calls in trial.loops for s in [calls[0][0]])


def test_where_it_does_not_loops_run_over_all_steps_and_only_the_number_of_rows_counts(
    clockwork: Callable[[bool], tuple[Clockwork, CallTimer]],
) -> None:
    trial, calls = clockwork(False)
    assert calls.seconds([3], False) == calls.seconds([0], False) == calls.mean_seconds(False) == pytest.approx(0.1)
    alone = len(trial.loops)
    assert calls.seconds([1, 3], False) == pytest.approx(0.2)
    assert [image for image, _ in trial.loops] == [*range(alone), *range(alone)]
    assert trial.loops[0][1][:5] == [[0], [1], [2], [3], [0]]
    assert trial.loops[alone][1][:5] == [[0, 2], [1, 3], [2, 0], [3, 1], [0, 2]]


@pytest.mark.parametrize("by_step", [True, False])
def test_loops_between_timed_calls_take_every_step_in_turn_and_are_not_measured_again(
    by_step: bool, clockwork: Callable[[bool], tuple[Clockwork, CallTimer]]
) -> None:
    trial, calls = clockwork(by_step)
    for _ in range(4 * 8 if by_step else 8):
        calls.loop(contended=False)
    made = len(trial.loops)
    assert calls.mean_seconds(False) == pytest.approx(1.6 if by_step else 0.1)
    assert len(trial.loops) == made
