"""The record of refinements: estimates of the final state after each one, and their distances to the serial answer."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit.python_path import prepended
from kit.solver_kit import no_noise
from kit.srds_kit import HIGH, Boundary, Conv, RowNetwork, grid, mixture_of, run, serial, start
from torch import Tensor

from harness.measure.serial_distance import measure_serial_distance
from harness.sampling.call_counts import CallCounts
from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from methods.executors.paradigms import ParaDiGMS
from methods.executors.serial import Serial
from methods.executors.srds import SRDS
from methods.parts import BuiltDenoiser, Executor, Trace
from methods.peers import ConnectedPeers, SinglePeer, open_store
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM

pytestmark = pytest.mark.usefixtures("one_thread")

C = 0.5
FORMS = ("vanilla", "pipelined", "batched")
DEADLINE = 120.0
ORACLE = {  # relative errors on Gaussian data after 0, 1, ... refinements: section 6 of the specification, invariant 5
    64: (1.8e-1, 1.3e-2, 3.9e-4, 4.9e-6, 2.5e-8, 4.9e-11),
    256: (1.0e-1, 4.7e-3, 1.2e-4, 1.9e-6, 1.8e-8, 1.2e-10),
}


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    return C**2 / (C**2 + sigma.to(x)[:, None, None, None] ** 2) * x


class Watched:
    """A run that was asked for its iterates."""

    def __init__(
        self, network: RowNetwork, sigmas: np.ndarray, x: Tensor, executor: Executor, peers: SinglePeer | None = None
    ) -> None:
        self.trace, self.boundary = Trace(peers=peers, iterates=[]), Boundary(network)
        with torch.inference_mode():
            self.final = executor.run(self.boundary, DDIM(), sigmas, x, no_noise, self.trace)
        assert self.trace.iterates is not None
        assert self.trace.iterations is not None
        self.iterates, self.iterations = self.trace.iterates, self.trace.iterations


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", [64, 256])
def test_errors_on_gaussian_data_are_the_printed_ones(steps: int, form: str) -> None:
    x = torch.full((1, 1, 1, 1), HIGH, dtype=torch.float64)
    made = Watched(gaussian, grid(steps), x, SRDS(form=form, tolerance=0))
    assert len(made.iterates) == math.isqrt(steps) + 1
    truth = serial(gaussian, grid(steps), x)
    errors = [abs(float(state / truth) - 1) for state in made.iterates[:6]]
    assert errors == pytest.approx(ORACLE[steps], rel=0.05)


@pytest.mark.parametrize("form", ["vanilla", "pipelined"])
def test_all_refinements_are_those_of_runs_of_that_length_and_the_last_is_the_serial_answer(form: str) -> None:
    network, x = Conv(), start(3, torch.float32)
    made = Watched(network, grid(23), x, SRDS(form=form, tolerance=0))
    assert len(made.iterates) == 5 + 1
    assert torch.equal(made.iterates[0], serial(network, grid(23)[[0, 5, 10, 15, 20, 23]], x))
    for p in range(1, 6):
        assert torch.equal(made.iterates[p], run(network, grid(23), x, tolerance=0, most=p, form=form).final)
    assert torch.equal(made.iterates[5], serial(network, grid(23), x))
    assert torch.equal(made.iterates[5], made.final)


@pytest.mark.parametrize("form", FORMS)
def test_a_sample_that_has_stopped_keeps_its_state(form: str) -> None:
    made = Watched(mixture_of(), grid(64), start(12, seed=3), SRDS(form=form, tolerance=1e-4))
    stops = made.iterations.tolist()
    assert len(set(stops)) > 1
    assert len(made.iterates) == max(stops) + 1
    assert torch.equal(made.iterates[-1], made.final)
    for image, k in enumerate(stops):
        for p in range(1, len(made.iterates)):
            kept = torch.equal(made.iterates[p][image], made.iterates[p - 1][image])
            assert kept == (p > k)


def test_blocks_of_one_step_leave_no_refinement_beyond_the_last_stop() -> None:
    for form in FORMS:
        made = Watched(mixture_of(), grid(9), start(2), SRDS(form=form, blocks=9, tolerance=1e-9))
        assert len(made.iterates) == 2
        assert float((made.iterates[0] - made.iterates[1]).abs().max()) < 1e-12


@pytest.mark.parametrize("form", FORMS)
def test_a_last_block_that_needs_no_evaluation_adds_nothing_after_the_stop(form: str) -> None:
    network, x = mixture_of(), start(1)
    full = Watched(network, grid(9), x, SRDS(form=form, blocks=4, tolerance=0)).iterates
    second, third = (float((full[p] - full[p - 1]).abs().mean()) for p in (2, 3))
    assert third < second
    made = Watched(network, grid(9), x, SRDS(form=form, blocks=4, tolerance=(second + third) / 2))
    assert made.iterations.tolist() == [3]
    assert len(made.iterates) == 4


@pytest.mark.parametrize("executor", [SRDS(form=form, tolerance=1e-4) for form in FORMS] + [ParaDiGMS(window=8)])
def test_asking_changes_neither_images_nor_accounts(executor: Executor) -> None:
    x = start(6, seed=3)
    made, plain = (
        Watched(mixture_of(), grid(25), x, executor),
        run(mixture_of(), grid(25), x, executor=executor),
    )
    assert torch.equal(made.final, plain.final)
    assert made.iterations.tolist() == plain.iterations
    assert made.boundary.calls == plain.boundary.calls
    assert made.trace.critical is not None
    assert torch.equal(made.trace.critical, plain.trace.critical)
    assert made.trace.speculative == plain.trace.speculative
    assert made.trace.bytes_sent == plain.trace.bytes_sent
    assert plain.trace.iterates is None
    assert len({id(state) for state in made.iterates}) == len(made.iterates)


def test_the_error_at_the_stop_is_of_the_size_of_the_tolerance(record_property: Any) -> None:
    """Invariant 14; the constant is not guaranteed in general. Here the last change overestimates the error."""
    network = mixture_of()
    for tolerance in (1e-2, 1e-3, 7.8e-4, 1e-4):
        x = start(16, seed=100)
        made = Watched(network, grid(64), x, SRDS(tolerance=tolerance))
        truth = serial(network, grid(64), x)
        ratio = float((made.iterates[-1] - truth).flatten(1).abs().mean(1).max()) / tolerance
        record_property(f"error over tolerance {tolerance:g}", ratio)
        assert 0 < ratio < 5
        for image, k in enumerate(made.iterations.tolist()):
            moved = [float((made.iterates[p] - made.iterates[p - 1])[image].abs().mean()) for p in range(1, k + 1)]
            assert moved[-1] < tolerance or k == 8
            assert all(change >= tolerance for change in moved[:-1])


def test_windows_of_the_whole_trajectory_come_to_the_serial_answer_sweep_by_sweep() -> None:
    network, x = mixture_of(), start(4)

    def denoise(y: Tensor, sigma: float) -> Tensor:
        return network(y, torch.full((len(y),), sigma, dtype=torch.float64))

    made = Watched(network, grid(16), x, ParaDiGMS(window=16, tolerance=0))
    truth = serial(network, grid(16), x)
    scale = np.sqrt(1 + grid(16) ** 2).tolist()
    u = x / scale[0]
    torch.testing.assert_close(made.iterates[0], u * scale[-1], rtol=1e-12, atol=0)
    first = u.clone()  # every step from the start: u + sum of Phi_t(u) - u, of variance-preserving states
    for step in range(16):
        first += DDIM().step(u * scale[step], step, grid(16), denoise, None, no_noise) / scale[step + 1] - u
    assert float((made.iterates[1] - first * scale[-1]).abs().max()) < 1e-10
    assert len(made.iterates) == int(made.iterations.max()) + 1
    assert torch.equal(made.iterates[-1], made.final)
    errors = [float((state - truth).norm() / truth.norm()) for state in made.iterates]
    assert errors[0] > 0.5
    assert errors[-1] < 1e-12
    assert errors[8] < errors[4] < errors[1]


# Two ranks that are processes: the second is this file, run as a script.

FIXED = ("vanilla", "pipelined")  # forms whose calls have one shape
SEEDS = (0, 1)  # two batches, one after the other


def record(form: str, seed: int, peers: SinglePeer | None = None) -> np.ndarray:
    """Return the iterates [refinements + 1, ...] of one batch."""
    executor = SRDS(form=form, tolerance=1e-3, devices=peers.size if peers else 1)
    made = Watched(Conv(), grid(25), start(4, torch.float32, seed), executor, peers)
    return torch.stack(made.iterates).numpy()


def records(rank: int, link: Any) -> dict[str, np.ndarray]:
    """Return the records of all batches that this rank of two takes part in."""
    peers = ConnectedPeers(link, rank, 2, torch.device("cpu"), DEADLINE)
    return {f"{form}-{seed}": record(form, seed, peers) for form in FIXED for seed in SEEDS}


def test_two_processes_have_the_record_of_one(tmp_path: Path) -> None:
    link = open_store("127.0.0.1", 0, True, DEADLINE)
    tests, file = Path(__file__).parents[2], tmp_path / "1.npz"
    environment = {**os.environ, "PYTHONPATH": prepended(tests.parent, tests)}
    other = subprocess.Popen([sys.executable, __file__, str(link.port), str(file)], env=environment)
    try:
        mine = records(0, link)
        assert other.wait(DEADLINE) == 0
    finally:
        other.kill()
    with np.load(file) as theirs:
        for form, seed in itertools.product(FIXED, SEEDS):
            alone = record(form, seed).tobytes()
            assert mine[f"{form}-{seed}"].tobytes() == theirs[f"{form}-{seed}"].tobytes() == alone


# The probe of the sample task.


class Mixture(BuiltDenoiser):
    """The exact network of six Gaussians, counted as one unit."""

    def __init__(self) -> None:
        self.network = mixture_of()

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, dict[str, int]]:
        return self.network(x, sigma), {"network": 1}

    def units(self) -> dict[str, Any]:
        return {}


def sampler(executor: Executor, solver: Any = None, steps: int = 25) -> Sampler:
    noise = ImageNoise("mixture", 0, (1, 4, 4))
    return Sampler(Mixture(), grid(steps), solver or DDIM(), executor, noise, torch.device("cpu"), precision="float64")


def probed(one: Sampler, indices: range) -> dict[str, Any]:
    return measure_serial_distance(one, indices, Serial()).model_dump()


def test_the_probe_tells_distance_change_and_open_images_of_every_refinement() -> None:
    one = sampler(SRDS(form="vanilla", tolerance=1e-3), steps=64)
    work = CallCounts()
    final, answer = one.run(range(6), work), sampler(Serial(), steps=64).run(range(6))
    found = probed(one, range(6))
    iterations = work.to_counts().iterations
    last = max(map(int, iterations))
    rows = found["refinements"]
    assert [row["refinement"] for row in rows] == list(range(last + 1))
    assert [row["images_open"] for row in rows] == [
        sum(n for k, n in iterations.items() if int(k) >= p) for p in range(last + 1)
    ]
    assert {row["images"] for row in rows} == {6}
    assert rows[0]["change"] is None
    assert found["distance_to_serial"] == rows[-1]["distance_to_serial"]
    assert found["distance_to_serial"] == pytest.approx(float((final - answer).norm() / answer.norm()), rel=1e-12)
    assert 0 < rows[-1]["distance_to_serial"] < rows[0]["distance_to_serial"]
    stopped = sampler(SRDS(form="vanilla", tolerance=0, most=1), steps=64).run(range(6))
    swept = sampler(Serial(), steps=64)
    swept.sigmas = grid(64)[::8]
    assert rows[1]["change"] == pytest.approx(float((stopped - swept.run(range(6))).abs().mean()), rel=1e-9)


def test_a_change_is_the_mean_of_the_images_that_still_move() -> None:
    found = probed(sampler(SRDS(form="vanilla", tolerance=1e-3), steps=64), range(6))["refinements"]
    assert found[-1]["images_open"] < 6  # else this shows nothing
    iterates: list[Tensor] = []
    sampler(SRDS(form="vanilla", tolerance=1e-3), steps=64).run(range(6), iterates=iterates)
    moved = (iterates[-1] - iterates[-2]).flatten(1).abs().mean(1)
    assert int((moved > 0).sum()) == found[-1]["images_open"]
    assert found[-1]["change"] == pytest.approx(float(moved[moved > 0].mean()), rel=1e-12)


def test_all_blocks_refined_are_at_distance_zero_and_so_is_noise_that_both_share() -> None:
    assert probed(sampler(SRDS(form="vanilla", tolerance=0)), range(3))["distance_to_serial"] == 0
    exact = probed(sampler(ParaDiGMS(window=25, tolerance=0), DDPM()), range(3))
    assert exact["distance_to_serial"] < 1e-12
    assert exact["refinements"][0]["distance_to_serial"] > 1


class Silent(Serial):
    """Overlaps, tells nothing of it, and is off by a hundredth."""

    parallel = True

    def run(self, evaluate: Any, solver: Any, sigmas: Any, x: Tensor, noise: Any, trace: Trace) -> Tensor:
        return 1.01 * super().run(evaluate, solver, sigmas, x, noise, trace)


class Broken(Silent):
    def run(self, evaluate: Any, solver: Any, sigmas: Any, x: Tensor, noise: Any, trace: Trace) -> Tensor:
        return torch.full_like(x, math.nan)


class Odd(Silent):
    def run(self, evaluate: Any, solver: Any, sigmas: Any, x: Tensor, noise: Any, trace: Trace) -> Tensor:
        return x[:, :, :2]


def test_executors_without_a_record_or_a_sensible_image_do_not_disturb_the_probe() -> None:
    assert probed(sampler(Silent()), range(2)) == {"distance_to_serial": pytest.approx(0.01), "refinements": []}
    assert probed(sampler(Broken()), range(2)) == {"distance_to_serial": None, "refinements": []}
    assert probed(sampler(Odd()), range(2)) == {"distance_to_serial": None, "refinements": []}


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.savez(sys.argv[2], **records(1, open_store("127.0.0.1", int(sys.argv[1]), False, DEADLINE)))
