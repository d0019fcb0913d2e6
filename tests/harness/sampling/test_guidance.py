"""Guidance at the counted boundary: the formula, what counts, and the class of each row under every executor."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from kit.block_kit import network
from torch import Tensor

from harness.sampling.call_counts import CallCounts
from harness.sampling.classes import draw_classes
from harness.sampling.conditions import BatchClasses
from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from harness.specs.sampler import ClassesSpec
from methods.denoisers.early_exit import EarlyExit
from methods.denoisers.full import Full
from methods.executors.paradigms import ParaDiGMS
from methods.executors.serial import Serial
from methods.executors.srds import SRDS
from methods.parts import DenoiserParams, Executor
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM
from methods.solvers.heun import Heun

CLASSES = ClassesSpec(law="uniform", count=3)
LEVELS, MORE_LEVELS = (EDM().levels(steps, 0.02, 10.0) for steps in (4, 9))
EXECUTORS: dict[str, Executor] = {
    "srds": SRDS(tolerance=0.0),
    "batched": SRDS(tolerance=0.0, form="batched"),
    "batched-stops": SRDS(tolerance=0.1, form="batched"),
    "paradigms": ParaDiGMS(tolerance=1e-9),
}


def sampler(executor: Executor | None = None, solver: Any = None, denoiser: Any = None, **guidance: Any) -> Sampler:
    """Return a sampler of a conditional network in double precision."""
    built = network("uvit", classes=3).double()
    return Sampler(
        denoiser=(denoiser or Full()).build(built), sigmas=LEVELS, solver=solver or DDIM(),
        executor=executor or Serial(), noise=ImageNoise("digits", 5, (1, 8, 8)), device=torch.device("cpu"),
        precision="float64", network=built, classes=CLASSES, guidance=DenoiserParams(**guidance),
    )  # fmt: skip


def estimate(made: Sampler, x: Tensor, sigma: float, classes: Any) -> Tensor:
    assert made.network is not None
    made.network.row_classes = torch.as_tensor(classes)
    found: Tensor = made.network(x, torch.full((len(x),), sigma, dtype=torch.float64))
    made.network.row_classes = None
    return found


def by_hand(
    made: Sampler, indices: range, scale: float, low: float = 0.0, high: float = 1e9, channels: int = 1
) -> Tensor:
    """Return Euler's final states, with guidance written out."""
    x, classes = made.initial_state(indices), draw_classes(CLASSES, 5, indices)
    for i in range(len(LEVELS) - 1):
        sigma = float(LEVELS[i])
        to = estimate(made, x, sigma, classes)
        if low <= sigma <= high and scale != 1:
            without = estimate(made, x, sigma, np.full(len(x), 3))
            to = without + scale * (to - without)
        x = x + (LEVELS[i + 1] - sigma) * (x - to) / sigma
    return x


@torch.no_grad()
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_estimates_are_led_from_no_class_to_the_class(scale: float) -> None:
    made, counts = sampler(guidance=scale), CallCounts()
    found = made.run(range(2, 7), counts)
    torch.testing.assert_close(found, by_hand(made, range(2, 7), scale), rtol=1e-9, atol=1e-9)
    passes = 1 if scale == 1 else 2
    assert counts.to_counts().evaluations == dict.fromkeys(range(4), 5 * passes)
    assert counts.total_units() == {"network": 20 * passes}
    assert counts.requested == 20


@torch.no_grad()
def test_an_interval_guides_the_levels_inside_alone() -> None:
    low, high = float(LEVELS[2]), float(LEVELS[1])
    made, counts = sampler(guidance=3.0, guidance_interval=(low, high)), CallCounts()
    found = made.run(range(5), counts)
    torch.testing.assert_close(found, by_hand(made, range(5), 3.0, low, high), rtol=1e-9, atol=1e-9)
    assert counts.to_counts().evaluations == {0: 5, 1: 10, 2: 10, 3: 5}


def test_channels_beyond_the_guided_ones_are_those_with_the_class() -> None:
    both = torch.randn(5, 4, 2, 2)
    given = BatchClasses(torch.zeros(3, dtype=torch.int64), 3, DenoiserParams(guidance=2.0), channels=3)
    found = given.combine(both, 3, torch.tensor([0, 2]))
    assert torch.equal(found[1], both[1])
    assert torch.equal(found[[0, 2], 3:], both[[0, 2], 3:])
    torch.testing.assert_close(found[[0, 2], :3], both[3:, :3] + 2 * (both[[0, 2], :3] - both[3:, :3]))


@torch.no_grad()
def test_images_are_the_same_in_any_batch() -> None:
    made = sampler(guidance=2.0)
    whole = made.run(range(6))
    torch.testing.assert_close(made.run([4, 1]), whole[[4, 1]], rtol=1e-9, atol=1e-9)
    assert made.network is not None
    assert made.network.row_classes is None


@torch.no_grad()
@pytest.mark.parametrize("interval", [None, (0.0, float(MORE_LEVELS[3]))])
@pytest.mark.parametrize("name", EXECUTORS)
def test_parallel_executors_know_the_class_of_each_row(
    monkeypatch: pytest.MonkeyPatch, name: str, interval: Any
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "LEVELS", MORE_LEVELS)
    executor = EXECUTORS[name]
    serial = sampler(guidance=2.0, guidance_interval=interval).run(range(7))
    counts = CallCounts()
    found = sampler(executor, guidance=2.0, guidance_interval=interval).run(range(7), counts)
    loose = name == "batched-stops"
    torch.testing.assert_close(found, serial, rtol=0, atol=0.01 if loose else 1e-7)
    if loose:
        assert len(counts.executor_stats.iterations) > 1  # some were left out of later calls
    per_step = [1 if interval and sigma > interval[1] else 2 for sigma in MORE_LEVELS[:-1]]
    if isinstance(executor, SRDS) and not loose:
        plain = CallCounts()
        sampler(executor).run(range(7), plain)
        expected = {step: count * per_step[step] for step, count in plain.executor_stats.critical.items()}
        assert counts.executor_stats.critical == pytest.approx(expected)


@torch.no_grad()
def test_rows_of_unknown_images_are_refused() -> None:
    class Halves(Serial):
        def run(self, evaluate: Any, solver: Any, sigmas: Any, x: Tensor, noise: Any, trace: Any) -> Tensor:
            return evaluate(x[:2], float(sigmas[0]), 0)  # type: ignore[no-any-return]

    with pytest.raises(ValueError, match="called with 2 rows for 3 images of several classes"):
        sampler(Halves()).run(range(3))


@torch.no_grad()
def test_a_denoiser_that_goes_by_the_step_is_guided_too() -> None:
    plain, exits = sampler(solver=Heun(), guidance=2.0), EarlyExit(schedule="full", tune_steps=0)
    counts = CallCounts()
    found = sampler(solver=Heun(), denoiser=exits, guidance=2.0).run(range(4), counts)
    torch.testing.assert_close(found, plain.run(range(4)), rtol=1e-9, atol=1e-9)
    assert sum(counts.total_units().values()) == sum(counts.evaluations.values()) == 4 * 2 * 8


@torch.no_grad()
def test_the_whole_estimate_has_classes_and_guidance() -> None:
    made, x = sampler(guidance=2.0), torch.randn(3, 1, 8, 8, dtype=torch.float64)
    assert made.network is not None
    found = made.whole_estimate(made.network, range(3))(x, torch.full((3,), 0.5, dtype=torch.float64))
    drawn = draw_classes(CLASSES, 5, range(3))
    to, without = (estimate(made, x, 0.5, classes) for classes in (drawn, np.full(3, 3)))
    torch.testing.assert_close(found, without + 2 * (to - without), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"guidance_interval": (0.1, 1.0)}, "are read with a guidance other than 1"),
        ({"guidance": 2.0, "guidance_interval": (1.0, 0.1)}, "expected a level and a higher one"),
        ({"guidance": -1.0}, "greater than or equal to 0"),
    ],
)
def test_guidance_that_says_nothing_is_refused(given: dict[str, Any], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        DenoiserParams(**given)
