"""Both modes of timing where they differ, on a GPU (`pytest.mark.cuda`): numbers, repeats, graphs, waits, clocks.

Each test that means something there also runs on the CPU, so that it is sound before a GPU is at hand.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from kit.both_devices import is_gpu, on_both
from kit.waiting_methods import CASES, ROWS, Case, make_network
from torch import Tensor

from harness.config.network_card import load_network_card
from harness.data.cards import load_card
from harness.data.splits import load_split
from harness.measure.device import measure_memory, timed_call
from harness.sampling.build import build_network
from harness.sampling.call_counts import CallCounts
from harness.sampling.deployed import deploy_modules, deploy_network, kernels_of
from harness.sampling.device_levels import keep_levels_on_device
from harness.sampling.network_clock import NetworkClock
from harness.sampling.numerics import fixed_numerics
from harness.sampling.sampler import Sampler
from harness.specs.sampler import Mode
from harness.specs.train import TrainSettings
from harness.training.network_training import network_trainer
from methods.networks.base import Network

MODES: tuple[Mode, ...] = ("reproducible", "deployed")
TOLERANCE = {"float32": 1e-4, "tf32": 2e-2, "bfloat16": 1e-1}
"""Relative difference of final states from those of the CPU, as a Euclidean norm: rounding over six steps."""
DEPLOYED = ("ddim", "full on unet-tiny", "early-exit", "adadiff", "taylor-cache", "ddsm")
"""One method of each way to call a network: whole, in pieces, by rows, from a cache, at a width."""


@pytest.fixture
def kernels(kind: str) -> Iterator[None]:
    """Fix the kernels as workers do, and the process's own after the test."""
    with fixed_numerics(torch.device(kind), 1):
        yield
    torch._dynamo.reset()


def case_named(name: str) -> Case:
    return next(one for one in CASES if one.name == name)


def sampler_on(kind: str, case: Case, mode: Mode = "reproducible", precision: str = "float32") -> Sampler:
    """Return a sampler of a case on a device, built as workers build it."""
    device, network = torch.device(kind), make_network(case.network)
    artifact = case.artifact(network)
    network = network.to(device)
    keep_levels_on_device(network, device)
    if mode == "deployed":
        deploy_network(network, device)
    sampler = case.sampler(network, artifact, device)
    if mode == "deployed":
        deploy_modules(sampler.denoiser, device)
    return replace(sampler, mode=mode, precision=precision)


def difference(found: Tensor, expected: Tensor) -> float:
    """Return the relative difference, in float64 on the CPU."""
    a, b = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((a - b).norm() / b.norm())


@on_both
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", ["ddim", "full on unet-tiny", "full on dit"])
def test_reproducible_states_repeat_to_the_bit_and_are_those_of_a_cpu(name: str, kind: str) -> None:
    case = case_named(name)
    first, again = (sampler_on(kind, case).run(range(ROWS)) for _ in range(2))
    assert torch.equal(first, again)
    assert difference(first, sampler_on("cpu", case).run(range(ROWS))) < TOLERANCE["float32"]


@on_both
@pytest.mark.usefixtures("kernels")
def test_products_are_exact_in_the_mode_reproducible_and_faster_ones_in_the_mode_deployed(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(512, 512, generator=generator) for _ in range(2))
    exact, errors = a.double() @ b.double(), {}
    for mode in MODES:
        with kernels_of(mode, torch.device(kind)):
            errors[mode] = difference(a.to(kind) @ b.to(kind), exact)
    assert errors["reproducible"] < 1e-6
    assert errors["deployed"] < 2e-3
    if is_gpu(kind) and torch.cuda.get_device_capability() >= (8, 0):
        assert errors["deployed"] > 1e-5  # TF32 keeps ten bits


@on_both
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", DEPLOYED)
def test_a_deployed_method_makes_the_states_of_the_plain_one(name: str, kind: str) -> None:
    if not is_gpu(kind):
        pytest.skip("compiling for a CPU takes a minute; test_deployed.py has a slow test of it")
    case = case_named(name)
    deployed = sampler_on(kind, case, "deployed")
    first = deployed.run(range(ROWS)).clone()
    again = deployed.run(range(ROWS))
    assert difference(again, first) < TOLERANCE["tf32"]  # a replayed graph has written to no state that was returned
    assert difference(first, sampler_on("cpu", case).run(range(ROWS))) < TOLERANCE["tf32"]


@on_both
@pytest.mark.usefixtures("kernels")
def test_graphs_that_are_replayed_leave_what_they_returned_before(kind: str) -> None:
    if not is_gpu(kind):
        pytest.skip("a CPU has no graphs")
    network: Network = make_network("uvit").to(kind)
    deploy_network(network, torch.device(kind))
    sigma = torch.full((ROWS,), 0.7, dtype=torch.float64)
    with torch.inference_mode():
        for _ in range(3):  # compiles, captures, replays
            network(torch.zeros(ROWS, 1, 8, 8, device=kind), sigma)
        kept = network(torch.ones(ROWS, 1, 8, 8, device=kind), sigma)
        copy = kept.clone()
        other = network(torch.full((ROWS, 1, 8, 8), -1.0, device=kind), sigma)
    assert torch.equal(kept, copy)
    assert not torch.allclose(kept, other)


@on_both
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", DEPLOYED)
def test_a_deployed_method_waits_no_more_than_its_rule_needs(name: str, kind: str) -> None:
    if not is_gpu(kind):
        pytest.skip("only CUDA says where the host waits")
    case, counts = case_named(name), CallCounts()
    sampler = sampler_on(kind, case, "deployed")
    for _ in range(3):
        sampler.run(range(ROWS))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            sampler.run(range(ROWS), counts)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(one.message) for one in found if "synchroniz" in str(one.message)]
    calls = sum(counts.evaluations.values()) // ROWS
    assert len(waits) <= 1 + case.per_call * calls, waits  # and one for the noise of the batch


@on_both
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", ["ddim", "full on unet-tiny"])
def test_bfloat16_runs_the_network_alone_in_half_the_bits(name: str, kind: str) -> None:
    case = case_named(name)
    half = sampler_on(kind, case, precision="bfloat16").run(range(ROWS))
    assert half.dtype == torch.float32
    found = difference(half, sampler_on(kind, case).run(range(ROWS)))
    assert 1e-6 < found < TOLERANCE["bfloat16"]


@on_both
@pytest.mark.usefixtures("kernels")
def test_seconds_inside_the_network_are_those_of_the_device(kind: str) -> None:
    device = torch.device(kind)
    x = torch.randn(2048 if is_gpu(kind) else 256, 2048, device=device)
    clock = NetworkClock(device)

    def multiply() -> None:
        with clock:
            y = x
            for _ in range(50 if is_gpu(kind) else 1):
                y = y @ x.T @ x / 1e6

    multiply()  # sets libraries up
    before = clock.seconds
    began = time.perf_counter()
    multiply()
    launched = time.perf_counter() - began
    inside = clock.seconds - before
    whole = time.perf_counter() - began
    assert 0 < inside <= whole * 1.01
    assert not is_gpu(kind) or inside > launched / 2  # the host only launched, and did not wait


@on_both
@pytest.mark.usefixtures("kernels")
def test_a_timed_call_waits_for_the_device_and_has_its_own_seconds(kind: str) -> None:
    x = torch.randn(512, 512, device=kind)
    _, timing = timed_call(lambda: [x @ x for _ in range(20)], torch.device(kind))
    assert timing.seconds > 0
    assert (timing.device_seconds is not None) == is_gpu(kind)
    assert timing.device_seconds is None or 0 < timing.device_seconds <= timing.seconds * 1.05


@on_both
def test_peak_memory_has_what_a_call_takes(kind: str) -> None:
    held = measure_memory(lambda: None, torch.device(kind)).allocated
    peak = measure_memory(lambda: torch.ones(64 << 18, device=kind).sum(), torch.device(kind)).allocated
    if held is None or peak is None:
        pytest.skip("this system does not say the peak")
    assert 60 << 20 <= peak - held < 200 << 20


@on_both
def test_a_training_in_bfloat16_learns(kind: str) -> None:
    torch.manual_seed(0)
    network = build_network(load_network_card("unet-tiny"), load_card("digits").shape())
    images = torch.from_numpy(load_split(load_card("digits"), "train").images[:256].copy())
    settings = TrainSettings(steps=40, batch=32, lr=2e-3, warmup_steps=2, precision="bfloat16", decay="constant")
    trainer = network_trainer(network, images, settings, device=torch.device(kind))
    try:
        trainer.advance(1)
        first = trainer.loss
        trainer.advance(39)
        assert 0 < trainer.loss < first
    finally:
        trainer.close()
    assert all(value.dtype.name == "float32" for value in trainer.weights().values())
