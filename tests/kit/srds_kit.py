"""What the tests of parallel-in-time sampling share: networks, a counter at the boundary, serial references, ranks."""

from __future__ import annotations

import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kit.solver_kit import no_noise, unit
from methods.executors.srds import SRDS
from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams
from methods.parts import Solver, Trace
from methods.peers import ConnectedPeers, SinglePeer, open_store
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM

LOW, HIGH = 0.02, 20.0
SHAPE = (1, 4, 4)
RowNetwork = Callable[[Tensor, Tensor], Tensor]
"""D(x; sigma) with one level per row, float64 [rows]."""


def grid(steps: int) -> np.ndarray:
    return EDM().levels(steps, LOW, HIGH)


def start(batch: int, dtype: torch.dtype = torch.float64, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return (HIGH * unit(batch, *shape, seed=seed)).to(dtype)


def mixture_of(seed: int = 1) -> Analytic:
    """Return the exact network of six Gaussians of standard deviation 0.25 in 16 dimensions."""
    facts = {"means": np.random.default_rng(seed).normal(size=(6, 16)).tolist(), "stds": [0.25] * 6}
    return Analytic(NetworkParams(), DataShape(1, 4, {**facts, "weights": [1.0] * 6}))


class Conv(nn.Module):
    """A small convolution network in float32, with fixed weights."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.second = nn.Conv2d(2, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        s = sigma.to(x)[:, None, None, None]
        scaled = torch.cat([x / (1 + s * s).sqrt(), s.log().expand_as(x)], 1)
        return x / (1 + s * s) + s / (1 + s * s).sqrt() * self.second(torch.tanh(self.first(scaled)))


class Boundary:
    """The network's boundary: counts image-evaluations by step, and rows of every call."""

    def __init__(self, network: RowNetwork) -> None:
        self.network = network
        self.by_step: Counter[int] = Counter()
        self.calls: list[int] = []

    @property
    def evaluations(self) -> int:
        return sum(self.by_step.values())

    def __call__(self, x: Tensor, sigma: float | Tensor, step: int | Tensor, images: Tensor | None = None) -> Tensor:
        rows = len(x)
        level = sigma if isinstance(sigma, Tensor) else torch.full((rows,), sigma, dtype=torch.float64)
        assert level.dtype == torch.float64
        steps = step if isinstance(step, Tensor) else torch.full((rows,), step)
        assert steps.dtype == torch.int64
        self.by_step.update(steps.tolist())
        self.calls.append(rows)
        return self.network(x, level)


class Outcome(NamedTuple):
    final: Tensor
    trace: Trace
    boundary: Boundary

    @property
    def iterations(self) -> list[int]:
        assert self.trace.iterations is not None
        return self.trace.iterations.tolist()

    @property
    def depth(self) -> list[float]:
        """Return the evaluations on each sample's critical path."""
        assert self.trace.critical is not None
        return self.trace.critical.sum(1).tolist()


def run(
    network: RowNetwork,
    sigmas: np.ndarray,
    x: Tensor,
    solver: Solver | None = None,
    peers: SinglePeer | None = None,
    noise: Callable[[int], Tensor] = no_noise,
    executor: Any = None,
    **params: Any,
) -> Outcome:
    trace, boundary = Trace(peers=peers), Boundary(network)
    executor = executor or SRDS(**params)
    with torch.inference_mode():
        final = executor.run(boundary, solver or DDIM(), sigmas, x, noise, trace)
    return Outcome(final, trace, boundary)


def serial(
    network: RowNetwork,
    sigmas: np.ndarray,
    x: Tensor,
    solver: Solver | None = None,
    noise: Callable[[int], Tensor] = no_noise,
    restarts: tuple[int, ...] = (0,),
) -> Tensor:
    """Return the serial sample; a solver's memory is new at the steps `restarts`."""
    solver = solver or DDIM()

    def denoise(y: Tensor, sigma: float) -> Tensor:
        return network(y, torch.full((len(y),), sigma, dtype=torch.float64))

    with torch.inference_mode():
        memory = None
        for i in range(len(sigmas) - 1):
            memory = solver.init_memory(solver.artifact) if i in restarts else memory
            x = solver.step(x, i, sigmas, denoise, memory, noise)
    return x


class Threaded(SinglePeer):
    """One of several ranks that are threads of this process."""

    def __init__(self, rank: int, boxes: list[queue.Queue[tuple[int, int, Tensor]]], halt: threading.Event) -> None:
        super().__init__()
        self.rank, self.size = rank, len(boxes)
        self.boxes, self.event = boxes, halt
        self.kept: dict[tuple[int, int], list[Tensor]] = {}

    def isend(self, state: Tensor, to: int, tag: int) -> None:
        self.boxes[to].put((self.rank, tag, state.clone()))
        self.bytes_sent += state.numel() * state.element_size() if to != self.rank else 0

    def recv(self, like: Tensor, source: int, tag: int) -> Tensor:
        while not self.kept.get((source, tag)):
            sender, mark, state = self.boxes[self.rank].get(timeout=30)
            self.kept.setdefault((sender, mark), []).append(state)
        state = self.kept[source, tag].pop(0)
        assert state.shape == like.shape
        assert state.dtype == like.dtype
        return state

    def broadcast(self, state: Tensor, source: int) -> Tensor:
        if source != self.rank:
            return self.recv(state, source, -1)
        for rank in range(self.size):
            if rank != source:
                self.isend(state, rank, -1)
        return state

    def request_stop(self) -> None:
        self.event.set()

    def stop_requested(self) -> bool:
        return self.event.is_set()

    def end_batch(self, like: Tensor) -> None:
        pass


def threaded(size: int, network: RowNetwork, sigmas: np.ndarray, x: Tensor, **params: Any) -> list[Outcome]:
    """Return what every rank of a run on `size` threads comes to; one batch only."""
    boxes: list[queue.Queue[Any]] = [queue.Queue() for _ in range(size)]
    halt = threading.Event()
    found: dict[int, Outcome] = {}

    def work(rank: int) -> None:
        peers = Threaded(rank, boxes, halt)
        found[rank] = run(network, sigmas, x, peers=peers, devices=size, **params)

    threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [found[rank] for rank in range(size)]


# Ranks that are processes: each takes part in the cases that want it, and says what came out.

NETWORKS: dict[str, Callable[[], RowNetwork]] = {"mixture": mixture_of, "conv": Conv}


def make_start(case: Mapping[str, Any]) -> Tensor:
    return start(case["batch"], torch.float32 if case["network"] == "conv" else torch.float64, case.get("seed", 0))


def rank_process(rank: int, port: int, cases: list[dict[str, Any]], out: Any) -> None:
    """Run the cases as this rank and put (case, rank, facts of each batch, or the error's text)."""
    torch.set_num_threads(1)
    link = open_store("127.0.0.1", port, False, 60)
    for name, case in enumerate(cases):
        if rank >= case["size"]:
            continue
        try:
            out.put((name, rank, _case(rank, case, torch.distributed.PrefixStore(str(name), link))))
        except RuntimeError as error:
            out.put((name, rank, f"{type(error).__name__}: {error}"))


def _case(rank: int, case: dict[str, Any], link: Any) -> list[dict[str, Any]]:
    peers = ConnectedPeers(link, rank, case["size"], torch.device("cpu"), case.get("seconds", 60))
    network = NETWORKS[case["network"]]()
    if case.get("dies") == rank:
        network = _dying(network, 20)
    batches = []
    for seed in range(case.get("batches", 1)):
        made = run(
            network, grid(case["steps"]), make_start({**case, "seed": seed}), peers=peers, devices=case["size"],
            **case["params"],
        )  # fmt: skip
        assert made.trace.critical is not None
        batches.append(
            {
                "final": made.final.numpy(),
                "iterations": made.iterations,
                "critical": made.trace.critical.numpy(),
                "speculative": made.trace.speculative,
                "bytes_sent": made.trace.bytes_sent,
                "evaluations": made.boundary.evaluations,
            }
        )
    return batches


def _dying(network: RowNetwork, after: int) -> RowNetwork:
    calls = []

    def call(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > after:
            os._exit(1)
        return network(x, sigma)

    return call
