"""A network that sleeps instead of computing, and the time task on it: on one rank, or on ranks that are processes."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from harness.tasks import Result
from harness.tasks.time import run
from harness.timing_rules import TIERS, Tier
from methods.executors.paradigms import ParaDiGMS
from methods.executors.serial import Serial
from methods.executors.srds import SRDS
from methods.parts import BuiltDenoiser, Executor, Peers
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM

EXECUTORS: Mapping[str, type[Executor]] = {found.name: found for found in (Serial, SRDS, ParaDiGMS)}
ROUNDS = 6
TIERS["brief"] = Tier(ROUNDS, seconds=0.0, warm_up_calls=1, warm_up_seconds=0.0, warm_up_most=1)
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


class SleepingWorker:
    """As much of a worker as the time task asks for."""

    def __init__(self, inside: Any = None) -> None:
        self.device = torch.device("cpu")
        self.inside = inside

    def sampler(self, facts: Mapping[str, Any], inputs: Any, peers: Peers | None = None) -> Sampler:
        executor = EXECUTORS[facts["parts"]["executor"]["name"]](**facts["parts"]["executor"]["params"])
        noise = ImageNoise("digits", 0, (1, 4, 4))
        levels = EDM().levels(facts["steps"], 0.02, 20.0)
        return Sampler(Sleeping(self.inside), levels, DDIM(), executor, noise, self.device, peers=peers)


def sampler(executor: str = "serial", steps: int = 9, **params: Any) -> dict[str, Any]:
    """Return the facts of a sampler."""
    parts = {"executor": {"name": executor, "params": params}}
    return {"parts": parts, "steps": steps, "batch": 2}


def timed(
    facts: Mapping[str, Any], rank: int = 0, size: int = 1, port: int = 0, inside: Any = None
) -> dict[str, Any] | None:
    """Return the facts of the time task of a trial; None on any rank but the first."""
    spec = {
        "group": {"rank": rank, "size": size, "address": "127.0.0.1", "port": port}, "deadline_seconds": 60.0,
        "sampler": facts, "clock": sampler(steps=2), "tier": "brief", "batch": 1, "n_images": 8, "order_seed": 0,
    }  # fmt: skip
    worker: Any = SleepingWorker(inside)
    (result,) = [event for event in run(spec, {}, worker) if isinstance(event, Result)]
    return dict(result.facts) or None


def rank_process(rank: int, cases: Mapping[str, tuple[dict[str, Any], int, bool]], inside: Any, out: Any) -> None:
    """Take part in every case (facts, port, whether calls crowd each other) as this rank of two; the first tells."""
    torch.set_num_threads(1)
    for name, (facts, port, crowds) in cases.items():
        found = timed(facts, rank, 2, port, inside if crowds else None)
        if found is not None:
            out.put((name, found))


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
