"""A sampler at work: everything that passes the network's boundary is counted, and images do not depend on company."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.config.network_card import load_network_card
from harness.sampling.call_counts import CallCounts
from harness.sampling.evaluator import Evaluator
from harness.sampling.network import build_network
from harness.sampling.noise import ImageNoise
from harness.sampling.pixels import image_digests, to_uint8
from harness.sampling.sampler import Sampler
from methods.denoisers.full import Full
from methods.executors.serial import Serial
from methods.networks.base import DataShape, Network
from methods.parts import BuiltDenoiser, Solver, Trace, Units
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.heun import Heun

CPU = torch.device("cpu")


def tiny(seed: int = 0) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(load_network_card("unet-tiny"), DataShape(1, 8))
        for parameter in network.parameters():  # a fresh U-Net ends in zeros; here every weight must matter
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


def sampler(
    network: Network, solver: Solver | None = None, steps: int = 4, precision: str = "float32", **parts: Any
) -> Sampler:
    built = parts.pop("denoiser", None) or Full().build(network)
    noise = ImageNoise("digits", 0, (1, 8, 8))
    return Sampler(built, EDM().levels(steps, 0.002, 80.0), solver or DDIM(), Serial(), noise, CPU, precision)


@pytest.fixture(scope="module")
def network() -> Network:
    return tiny()


@pytest.mark.parametrize(("solver", "evaluations"), [(DDIM(), 1), (Heun(), 2), (DDPM(), 1)], ids=lambda v: str(v)[:9])
def test_evaluations_are_counted_by_step_over_all_images(network: Network, solver: Solver, evaluations: int) -> None:
    work = CallCounts()
    one = sampler(network, solver, steps=3)
    one.run(range(5), work)
    one.run(range(5, 7), work)
    expected = dict.fromkeys(range(3), 7 * evaluations)
    assert work.to_counts().evaluations == expected
    assert work.to_counts().units == {step: {"network": count} for step, count in expected.items()}
    assert work.network_seconds > 0


class Alternating(BuiltDenoiser):
    """Counts a first unit for every row and a second one for odd rows."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        return self.network(x, sigma), {"first": 1, "second": torch.arange(len(x)) % 2}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {}


def test_units_are_counted_image_by_image(network: Network) -> None:
    work = CallCounts()
    sampler(network, steps=2, denoiser=Alternating(network)).run(range(5), work)
    assert work.to_counts().units == {step: {"first": 5, "second": 2} for step in range(2)}


def test_counts_of_batches_merge_into_those_of_all(network: Network) -> None:
    one, whole, parts = (
        sampler(network, steps=2, denoiser=Alternating(network)),
        CallCounts(),
        [CallCounts(), CallCounts()],
    )
    for images, part in zip((range(5), range(5, 8)), parts, strict=True):
        one.run(images, whole)
        one.run(images, part)
        part.guided, part.operations = 3, 7
        part.executor_stats.iterations[2] += len(images)
        part.executor_stats.critical[1] += 1.5
        part.executor_stats.speculative, part.executor_stats.bytes_sent = 4, 6
    merged = CallCounts()
    for part in parts:
        merged.merge(part)
    found, expected = merged.to_counts(), whole.to_counts()
    assert (found.evaluations, found.units, merged.guided) == (expected.evaluations, expected.units, 6)
    assert (found.iterations, found.critical, found.operations) == ({2: 8}, {1: 3.0}, 14)
    assert (found.speculative, found.bytes_sent) == (8, 12)


def test_digests_are_those_of_each_image_s_bytes() -> None:
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 4, 4, 3).permute(0, 3, 1, 2)
    expected = [hashlib.sha256(bytes(image.flatten().tolist())).digest() for image in images]
    assert [row.tobytes() for row in image_digests(images)] == expected
    assert image_digests(images).shape == (2, 32)


def test_a_level_reaches_the_denoiser_as_float64_per_row(network: Network) -> None:
    seen = []

    class Looks(Alternating):
        def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
            seen.append((step, sigma))
            return super().__call__(x, sigma, step)

    one = sampler(network, steps=3, denoiser=Looks(network))
    one.run(range(2))
    assert [step for step, _ in seen] == [0, 1, 2]
    for step, sigma in seen:
        assert sigma.dtype == torch.float64
        assert sigma.tolist() == [one.sigmas[step]] * 2


def test_a_start_is_the_noise_times_the_first_level(network: Network) -> None:
    one = sampler(network)
    torch.testing.assert_close(one.initial_state([3, 1]), 80.0 * one.noise.draw_initial([3, 1]), rtol=0, atol=0)


def test_an_image_is_black_at_minus_one_white_at_one_and_rounded_between() -> None:
    values = torch.tensor([-9.0, -1.0, -1 + 0.49 / 127.5, -1 + 0.51 / 127.5, 0.0, 1 - 0.51 / 127.5, 1.0, 9.0])
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 128, 254, 255, 255]


def test_images_are_the_rounded_states(network: Network) -> None:
    one = sampler(network)
    images = one.images(range(3))
    assert images.dtype == torch.uint8
    assert images.shape == (3, 1, 8, 8)
    assert torch.equal(images, to_uint8(one.run(range(3))))


def test_double_precision_runs_in_float64_and_agrees_with_float32(network: Network) -> None:
    double = sampler(tiny().double(), precision="float64").run(range(4))
    assert double.dtype == torch.float64
    single = sampler(network).run(range(4))
    assert single.dtype == torch.float32
    error = float((single.double() - double).abs().max())
    assert 0 < error < 1e-3


def test_bfloat16_rounds_the_network_and_not_the_state(network: Network) -> None:
    rounded = sampler(network, precision="bfloat16").run(range(4))
    assert rounded.dtype == torch.float32
    error = float((rounded - sampler(network).run(range(4))).abs().max())
    assert 1e-4 < error < 1.0


def test_an_image_is_the_same_bytes_in_every_batch_of_one_size(network: Network) -> None:
    one = sampler(network, DDPM(), steps=6)
    first = one.images(range(10, 18))
    assert torch.equal(one.images(range(10, 18)), first)
    assert torch.equal(one.images([17, 40, 41, 42, 43, 44, 45, 10])[[7, 0]], first[[0, 7]])


def test_an_image_differs_by_one_level_in_few_pixels_across_batch_sizes(network: Network) -> None:
    one = sampler(network, steps=10)
    together = one.images(range(48)).int()
    alone = torch.cat([one.images([index]) for index in range(48)]).int()
    difference = (together - alone).abs()
    assert int(difference.max()) <= 1
    assert float((difference > 0).float().mean()) <= 0.02
    assert float(together.float().std()) > 10  # the images are not all alike, so the comparison means something


def test_a_stochastic_solver_adds_the_noise_of_its_image_and_step(network: Network) -> None:
    one = sampler(network, DDPM(), steps=5)
    assert torch.equal(one.images([4, 9, 2]), one.images([4, 9, 2]))
    np.testing.assert_allclose(one.run([9, 2, 4])[0], one.run([4, 9, 2])[1], atol=1e-4)


def test_sampling_leaves_the_global_generator_and_no_gradients(network: Network) -> None:
    state = torch.get_rng_state()
    final = sampler(network, DDPM()).run(range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert not final.requires_grad


class ByStep(BuiltDenoiser):
    """Answers with the step's number; counts one unit for all, and one for rows of positive mean."""

    by_step = True

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        self.calls.append((step, len(x)))
        out = torch.full_like(x, step) + sigma.view(-1, 1, 1, 1).to(x.dtype)
        return out, {"all": 1, "some": (x.mean((1, 2, 3)) > 0).long()}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {}


class ByLevel(ByStep):
    by_step = False


@pytest.mark.parametrize(("kind", "calls"), [(ByStep, [(0, 2), (2, 1), (7, 2)]), (ByLevel, [(7, 5)])])
def test_rows_of_different_steps_are_called_apart_where_the_step_decides_and_counted_apart_always(
    kind: type[ByStep], calls: list[tuple[int, int]]
) -> None:
    denoiser, work = kind(), CallCounts()
    steps, sigma = torch.tensor([7, 0, 2, 0, 7]), torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=torch.float64)
    x = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]).view(5, 1, 1, 1).expand(5, 1, 2, 2)
    out = Evaluator(denoiser, work)(x, sigma, steps)
    assert denoiser.calls == calls
    if kind.by_step:
        torch.testing.assert_close(out[:, 0, 0, 0].double(), steps + sigma, rtol=0, atol=1e-6)
    counts = work.to_counts()
    assert counts.evaluations == {0: 2, 2: 1, 7: 2}
    assert counts.units == {0: {"all": 2, "some": 1}, 2: {"all": 1, "some": 1}, 7: {"all": 2, "some": 1}}


class Overlapping(Serial):
    """Says that image i took i + 1 refinements and that half of its evaluations depend on each other."""

    parallel = True

    def run(self, evaluate: Any, solver: Any, sigmas: Any, x: Tensor, noise: Any, trace: Trace) -> Tensor:
        trace.iterations = torch.arange(len(x)) + 1
        trace.critical = torch.full((len(x), len(sigmas) - 1), 0.5, dtype=torch.float64)
        trace.speculative, trace.bytes_sent = 3, 100
        return super().run(evaluate, solver, sigmas, x, noise, trace)


def test_what_executors_tell_is_added_up_over_batches(network: Network) -> None:
    work, one = CallCounts(), sampler(network, steps=3)
    one.executor = Overlapping()
    one.run(range(3), work)
    one.run(range(3, 5), work)
    counts = work.to_counts()
    assert counts.iterations == {1: 2, 2: 2, 3: 1}
    assert counts.critical == dict.fromkeys(range(3), 2.5)
    assert (counts.speculative, counts.bytes_sent) == (6, 200)
