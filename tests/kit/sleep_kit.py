"""A network that sleeps instead of computing, and the time task on it: on one rank, or on ranks that are processes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.data.cards import load_card
from harness.sampling.noise import ImageNoise
from harness.sampling.place import Place
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler
from harness.specs.rules.timing import TIERS
from harness.specs.sampler import ModelSpec, NetworkSpec, PartSpec, SamplerSpec
from harness.specs.time import TimeSpec
from harness.task import Ranks, Result
from harness.tasks import time as time_task
from methods.executors.paradigms import ParaDiGMS
from methods.executors.serial import Serial
from methods.executors.srds import SRDS
from methods.networks.base import DataShape, Network, NetworkParams
from methods.parts import BuiltDenoiser, Executor, Peers
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM

EXECUTORS: Mapping[str, type[Executor]] = {found.name: found for found in (Serial, SRDS, ParaDiGMS)}
ROUNDS = TIERS["smoke"].rounds
ROW_SECONDS, CALL_SECONDS = 0.005, 0.012


class Sleeping(BuiltDenoiser):
    """Sleeps for each call and each row, half as long again while another process that shares `inside` sleeps too."""

    def __init__(self, inside: Any = None) -> None:
        self.inside = inside

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Mapping[str, int]]:
        others = self._enter(1)
        time.sleep((CALL_SECONDS + ROW_SECONDS * len(x)) * (1.5 if others else 1.0))
        self._enter(-1)
        return x * 0.9, {"network": 1}

    def units(self) -> Mapping[str, Any]:
        return {}

    def _enter(self, change: int) -> int:
        """Return how many were inside before."""
        if self.inside is None:
            return 0
        with self.inside.get_lock():
            self.inside.value += change
            return int(self.inside.value - change)


def _sleeping(inside: Any) -> Callable[..., Sampler]:
    """Return what builds samplers that sleep in place of those of the task."""

    def build(spec: SamplerSpec, inputs: Any, place: Place, peers: Peers | None = None) -> Sampler:
        executor = EXECUTORS[spec.executor.name](**spec.executor.params)
        levels = EDM().levels(spec.steps, 0.02, 20.0)
        noise = ImageNoise("digits", 0, (1, 4, 4))
        return Sampler(Sleeping(inside), levels, DDIM(), executor, noise, place.device, peers=peers)

    return build


def no_network(*_: Any) -> Any:
    """Return what stands for the network of samplers that sleep: it takes no time."""
    return _NoNetwork(NetworkParams(), DataShape(1, 4))


class _NoNetwork(Network):
    family = "none"
    summary = "none"

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x


def sampler(executor: str = "serial", steps: int = 9, **params: Any) -> SamplerSpec:
    """Return what describes a sampler."""
    part = {name: PartSpec(name=name, params={}, module="") for name in ("denoiser", "schedule", "solver")}
    network = NetworkSpec(name="toy", family="toy", params={}, module="")
    return SamplerSpec(
        model=ModelSpec(data=load_card("digits").spec(), network=network, weights_id=None, precision="float32"),
        **part, executor=PartSpec(name=executor, params=params, module=""),
        serial=PartSpec(name="serial", params={}, module=""),
        steps=steps, sigma_min=0.002, sigma_max=20.0, batch=2, seed_set=0, device="cpu", devices=1,
    )  # fmt: skip


def timed(spec: SamplerSpec, rank: int = 0, size: int = 1, port: int = 0, inside: Any = None) -> dict[str, Any] | None:
    """Return the output of the time task of a trial; None on any rank but the first."""
    asked = TimeSpec(sampler=spec, clock=sampler(steps=2), tier="smoke", batch=1, n_images=8, device_name="a chip")
    place = Place(torch.device("cpu"), ranks=Ranks(rank, size, port=port, deadline_seconds=60.0))
    before, time_task.build_sampler = time_task.build_sampler, _sleeping(inside)
    loads, time_task.load_network = time_task.load_network, no_network
    most, time_task.MOST_REPEATS = time_task.MOST_REPEATS, 0  # sleepers never have their core
    try:
        results = [event for event in time_task.run(asked, {}, place) if isinstance(event, Result)]
    finally:
        time_task.build_sampler, time_task.MOST_REPEATS, time_task.load_network = before, most, loads
    return results[0].output.model_dump() if results else None


def rank_process(rank: int, cases: Mapping[str, tuple[SamplerSpec, int, bool]], inside: Any, out: Any) -> None:
    """Take part in every case (sampler, port, whether calls crowd each other) as this rank of two; the first tells."""
    torch.set_num_threads(1)
    for name, (spec, port, crowds) in cases.items():
        found = timed(spec, rank, 2, port, inside if crowds else None)
        if found is not None:
            out.put((name, found))


def late_rank(rank: int, size: int, port: int, out: Any) -> None:
    """Meet others at a barrier, late as rank 2; send when it came, when it passed, and who each time was slowest."""
    torch.set_num_threads(1)
    group = Group(Ranks(rank, size, port=port, deadline_seconds=60.0), torch.device("cpu"))
    group.barrier()
    time.sleep(0.5 if rank == 2 else 0.0)
    arrived = time.monotonic()
    group.barrier()
    passed = time.monotonic()
    slowest = [group.slowest(seconds) for seconds in (float(rank), float(-rank), 1.0)]
    out.put((rank, arrived, passed, slowest))
    group.close()


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
