"""A preparation that trains twice, and processes that run it or tune shipped methods, as ranks or until killed.

Usage: trained_twice.py twice|methods RANK SIZE PORT FOLDER [kill]
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.config.suite import Suite
from harness.measure.deepspeed_start import ProcessGroup, load_deepspeed
from harness.planning.plan import make_plan
from harness.pools.worker import Worker
from harness.registry import registry
from harness.specs.prepare import PrepareSpec
from harness.task import CHECKPOINT, IMAGES, Checkpoint, Event, Ranks
from harness.training.preparation import Trainings
from kit.toy_context import ToyContext
from methods.denoisers.adadiff import AdaDiff
from methods.denoisers.early_exit import EarlyExit
from methods.denoisers.few_step import FewStepDenoiser
from methods.denoisers.full import Full
from methods.networks.base import DataShape, Network
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Artifact, Method, PrepareContext, Training

STEPS = 40
SUITE: dict[str, Any] = {
    "name": "mine", "title": "t", "dataset": "gaussian", "network": "analytic", "extractor": "pixels", "n_images": 20,
    "batch": 10, "baseline": {"clock_steps": 2}, "trials": [{"steps": 2}, {"steps": 2, "denoiser": "toy-twice"}],
}  # fmt: skip
FEW: dict[str, Any] = {"tune_steps": 6, "tune_batch": 8}
TUNED: dict[str, Method] = {
    "early-exit": EarlyExit(**FEW, time_weight=1.0),
    "adadiff": AdaDiff(**FEW),
    "adadiff as its code": AdaDiff(**FEW, layers_teach="both"),
    "few-step": FewStepDenoiser(**FEW, tune_trajectories=8),
    "few-step, odd": FewStepDenoiser(**{**FEW, "tune_batch": 14}, tune_trajectories=8, tune_jitter=0.2),
    "few-step on data": FewStepDenoiser(**FEW, tune_objective="data", tune_jitter=0.25),
}


class Twice(Full):
    """Trains a layer twice in a row, with dropout and a loss that is no mean over rows; notes what it drew."""

    name = "toy-twice"
    prepares = True
    train_batch = 16

    def prepare(self, context: PrepareContext) -> Artifact:
        """Return both layers and the sum of all draws."""
        drawn, losses = [0.0], []

        def draw(generator: torch.Generator) -> list[Tensor]:
            rows = torch.randn(16, 8, generator=generator)
            drawn[0] += float(rows.sum())
            return [rows]

        tensors = {}
        for name in ("first", "second"):
            torch.manual_seed(3)
            layer = nn.Linear(8, 8)

            def loss(rows: Tensor, layer: nn.Linear = layer) -> Tensor:
                out = nn.functional.dropout(layer(rows), 0.1 * (context.seed > 0))
                return context.mean((out - rows).square().mean()) * context.mean(out.square().mean())

            found = context.train(layer, draw, loss, Training(STEPS, 16, 1e-2, rates={"bias": 1e-3}))
            tensors |= {f"{name}.{key}": value for key, value in found.weights.items()}
            losses.append(found.loss)
        return Artifact(tensors, {"drawn": drawn[0], "losses": losses})


def twice_spec(**changes: Any) -> PrepareSpec:
    """Return the task of preparing it, with a checkpoint after each chunk of steps."""
    if ("denoiser", "toy-twice") not in {(one.part, one.name) for one in registry().methods()}:
        registry().add(Twice)
    plan = make_plan(Suite.model_validate(SUITE), "cpu:a chip", "a chip")
    (task,) = (task for task in plan.tasks.values() if task.kind == "prepare")
    assert isinstance(task.spec, PrepareSpec)
    return task.spec.model_copy(update={"checkpoint_seconds": 0.0, **changes})


def events_of(spec: PrepareSpec, ranks: Ranks, checkpoint: Checkpoint | None = None) -> Iterator[Event]:
    """Yield the events of preparing it."""
    inputs: dict[str, Any] = {IMAGES: np.zeros((4, 1, 4, 4))}
    if checkpoint is not None:
        inputs[CHECKPOINT] = checkpoint
    yield from Worker().run(spec, inputs, ranks=ranks)


def network() -> Network:
    """Return a network in which every weight matters."""
    torch.manual_seed(0)
    sizes = UViTParams(depth=4, width=8, heads=2, patch=4, preconditioning="vp")
    built = UViT(sizes, DataShape(1, 8))
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name not in built.fixed:
                parameter += 0.05 * torch.randn(parameter.shape)
    return built.eval().requires_grad_(False)


def tuned(ranks: Ranks) -> dict[str, dict[str, Any]]:
    """Return tensors and facts of each shipped method that tunes, all in one group of ranks."""
    load_deepspeed("cpu")
    found = {}
    group = ProcessGroup(ranks.rank, ranks.size, ranks.address, ranks.port, torch.device("cpu"))
    for name, method in TUNED.items():
        trainings = Trainings(0, torch.device("cpu"), lambda event: None, ranks)
        artifact = method.prepare(ToyContext(network(), trainings=trainings))
        found[name] = {"tensors": dict(artifact.tensors), "facts": artifact.facts}
    group.close()
    return found


def _main(what: str, rank: int, size: int, port: int, folder: Path, kill: bool) -> None:
    ranks = Ranks(rank, size, "127.0.0.1", port)
    if what == "methods":
        found: Any = tuned(ranks)
    else:
        began, events = time.perf_counter(), []
        for event in events_of(twice_spec(seed=int(kill), devices=size), ranks):
            events.append(event)
            if kill and isinstance(event, Checkpoint) and len(event.metadata["losses"]) * event.metadata["step"] > 0:
                (folder / "checkpoint").write_bytes(pickle.dumps(event))  # within the second training
                os.kill(os.getpid(), signal.SIGKILL)
        found = {"result": events[-1], "seconds": time.perf_counter() - began}
    (folder / f"rank-{rank}").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    _main(sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5]), "kill" in sys.argv)  # type: ignore[call-arg]
