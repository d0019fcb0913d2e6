"""No step makes the host wait for the device beyond what a rule needs, and levels are on the device before the clock.

Counted on a stand-in for a device, see `kit.device_kit`, and on a GPU by CUDA's own debug mode.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from kit.device_kit import DEVICE, DeviceCounter, OnDevice
from kit.plan_kit import last
from kit.waiting_methods import CASES, ROWS, Case, make_network

from harness.registry import registry
from harness.sampling.build import build_sampler
from harness.sampling.call_counts import CallCounts
from harness.sampling.device_levels import keep_levels_on_device
from harness.sampling.place import Place
from harness.sampling.sampler import Sampler
from methods.networks.base import Network
from methods.parts import Artifact

PER_BATCH = 1
"""Waits of a batch: the noise of its images is copied to the device."""
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
on_stand_in = pytest.mark.parametrize("case", [one for one in CASES if one.on_stand_in], ids=lambda case: case.name)
LIKE_FULL = {"few-step"}
"""Denoisers that run as the whole network does, with weights of their own."""


@pytest.fixture
def device() -> Iterator[DeviceCounter]:
    """Return the counter of a stand-in for a device, active."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with DeviceCounter() as counter:
        yield counter
    torch.__future__.set_overwrite_module_params_on_conversion(before)


def prepared(case: Case) -> tuple[Network, Artifact | None]:
    network = make_network(case.network)
    return network, case.artifact(network)


def allowed(case: Case, counts: CallCounts) -> int:
    calls = sum(counts.evaluations.values()) // ROWS
    refinements = max(counts.executor_stats.iterations, default=0)
    return PER_BATCH + case.per_call * calls + case.per_refinement * refinements


@pytest.mark.filterwarnings("ignore:for .*non-meta parameter")  # which the stand-in does copy
@on_stand_in
def test_a_method_waits_for_the_device_no_more_than_its_rule_needs(case: Case, request: pytest.FixtureRequest) -> None:
    network, artifact = prepared(case)
    expected = case.sampler(network, artifact, torch.device("cpu")).run(range(ROWS))
    counter: DeviceCounter = request.getfixturevalue("device")
    there = network.to(DEVICE)
    keep_levels_on_device(there, DEVICE)
    sampler = case.sampler(there, artifact, DEVICE)
    sampler.run(range(ROWS))  # warms up

    counter.clear()
    counts = CallCounts()
    found = sampler.run(range(ROWS), counts)
    assert len(counter.waits) <= allowed(case, counts), counter.waits
    assert case.why or len(counter.waits) == PER_BATCH  # a wait has a reason
    assert isinstance(found, OnDevice)
    torch.testing.assert_close(found.inner, expected, rtol=1e-4, atol=1e-4)


def test_every_shipped_method_that_runs_in_a_step_is_counted() -> None:
    for part in ("denoiser", "solver", "executor"):
        counted = {getattr(case, part).name for case in CASES}
        shipped = {one.name for one in registry().methods(part) if not one.name.startswith(("wrapped", "toy"))}
        assert shipped - counted <= {"own"} | LIKE_FULL, part


def test_no_level_is_copied_once_it_was_seen(device: DeviceCounter) -> None:
    case = next(one for one in CASES if one.name == "heun")
    there = case_network(case)
    device.clear()
    sampler = case.sampler(there, None, DEVICE)
    sampler.run(range(ROWS))
    assert device.copies > 0
    device.clear()
    sampler.run(range(ROWS))
    assert device.copies == 0


def test_noise_of_a_step_is_copied_without_a_wait(device: DeviceCounter) -> None:
    case = next(one for one in CASES if one.name == "ddpm")
    sampler = case.sampler(case_network(case), None, DEVICE)
    sampler.run(range(ROWS))
    device.clear()
    sampler.run(range(ROWS))
    assert (device.copies, len(device.waits)) == (len(sampler.sigmas) - 1, PER_BATCH)


def case_network(case: Case) -> Network:
    there = make_network(case.network).to(DEVICE)
    keep_levels_on_device(there, DEVICE)
    return there


def test_images_of_a_built_sampler_wait_twice_a_batch(device: DeviceCounter) -> None:
    sampler = build_sampler(last().trial.sampler, {}, Place(DEVICE))
    assert isinstance(sampler, Sampler)
    sampler.images(range(ROWS))
    device.clear()
    sampler.images(range(ROWS))
    assert device.waits == ["a copy to the device", "a copy to the host"]


def test_levels_of_training_and_of_a_host_are_not_kept() -> None:
    network = make_network("uvit")
    before = network.preconditioning
    keep_levels_on_device(network, torch.device("cpu"))
    assert network.preconditioning is before

    keep_levels_on_device(network, DEVICE)
    sigma = torch.full((2,), 0.5, dtype=torch.float64)
    found = network.preconditioning.coefficients(sigma)  # gradients are kept here
    assert found.noise.device.type == "cpu"
    with torch.inference_mode():
        first, again = (network.preconditioning.coefficients(sigma) for _ in range(2))
    assert first.noise.device.type == "meta"
    assert first.noise is again.noise
    assert network.preconditioning == before


# The counter itself


def test_the_counter_sees_what_the_host_waits_for(device: DeviceCounter) -> None:
    x = torch.arange(6.0).to(DEVICE)
    assert device.waits == ["a copy to the device"]
    assert x.device.type == DEVICE.type
    device.clear()
    assert (float(x.sum()), bool((x > 2).any())) == (15.0, True)
    assert device.waits == ["aten::_local_scalar_dense"] * 2
    device.clear()

    for wait in (
        lambda: x[x > 2], lambda: (x > 2).nonzero(), lambda: int(x[1]), lambda: x.cpu(), lambda: x[torch.tensor([1])]
    ):  # fmt: skip
        wait()
        assert len(device.waits) >= 1
        device.clear()
    y = torch.ones(6).to(DEVICE, non_blocking=True) + x * 2 + float(3)
    y[torch.arange(2, device=DEVICE)] = 0.0
    assert (device.waits, device.copies) == ([], 1)
    with pytest.raises(RuntimeError, match="mixes tensors of host and device"):
        x + torch.ones(6)


# On a GPU


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@cases
def test_on_a_gpu_a_method_waits_no_more_than_its_rule_needs(case: Case) -> None:
    network, artifact = prepared(case)
    gpu = torch.device("cuda")
    there = network.to(gpu)
    keep_levels_on_device(there, gpu)
    sampler, counts = case.sampler(there, artifact, gpu), CallCounts()
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
    assert len(waits) <= allowed(case, counts), waits
