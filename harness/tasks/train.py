"""Train: one rank of the training of a network, in chunks, so that a kill costs at most one chunk.

Every rank yields the same sequence of events; the driver listens to rank 0.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from harness.measure.flops import cross_check, training_flops
from harness.sampling.network import build_network, data_shape
from harness.sampling.place import Place
from harness.specs.base import Price
from harness.specs.limits import PROGRESS_SECONDS
from harness.specs.train import TrainOutput, TrainSettings, TrainSpec
from harness.task import CHECKPOINT, IMAGES, Checkpoint, Event, Progress, Result
from harness.training.trainer import Trainer


def run(spec: TrainSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield progress and checkpoints, then the EMA weights with the price of the training."""
    data, train = data_shape(spec.data), spec.train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(train.seed)  # initial weights are drawn from torch's global generator, restored afterwards
        network = build_network(spec.network, data)
    images = torch.from_numpy(inputs[IMAGES].copy())
    checkpoint: Checkpoint | None = inputs.get(CHECKPOINT)
    trainer = Trainer(
        network,
        images,
        train,
        rank=place.ranks.rank,
        world_size=place.ranks.size,
        address=place.ranks.address,
        port=place.ranks.port,
        device=place.device,
        state=None if checkpoint is None else (dict(checkpoint.tensors), dict(checkpoint.facts)),
    )
    spent = 0.0 if checkpoint is None else float(checkpoint.facts["seconds"])
    try:
        yield from _advance(trainer, train, spent)
        weights, loss = trainer.weights(), trainer.loss
        seconds = trainer.seconds + spent
    finally:
        trainer.close()
    yield Result(_output(spec, images, seconds, loss), weights)


def _advance(trainer: Trainer, train: TrainSettings, spent: float) -> Iterator[Event]:
    chunk, saved = 1, trainer.step
    while trainer.step < train.steps:
        began = time.perf_counter()
        upto = min(trainer.step + chunk, train.steps, saved + train.checkpoint_every)
        done = trainer.advance(upto - trainer.step)
        yield Progress(done.step, train.steps, f"loss {done.loss:.4f}")
        if _by_rank_0(time.perf_counter() - began, trainer.device) < PROGRESS_SECONDS:
            chunk *= 2
        if done.step == saved + train.checkpoint_every and done.step < train.steps:
            saved = done.step
            tensors, facts = trainer.state()
            yield Checkpoint(tensors, {**facts, "seconds": trainer.seconds + spent})


def _by_rank_0(seconds: float, device: torch.device) -> float:
    """Return rank 0's measurement on every rank: chunks of different lengths would deadlock the group."""
    if torch.distributed.get_world_size() == 1:
        return seconds
    told = torch.tensor([seconds], dtype=torch.float64, device=device)
    torch.distributed.broadcast(told, src=0)
    return float(told)


def _output(spec: TrainSpec, images: torch.Tensor, seconds: float, loss: float) -> TrainOutput:
    """Return what the training cost, and the two counters' agreement on the network, counted on a fresh copy.

    The FLOPs of a network whose work depends on its input are not known from one step: None.
    """
    data, train = data_shape(spec.data), spec.train
    fresh = build_network(spec.network, data)
    one = images[:1].float() / 127.5 - 1 if images.dtype == torch.uint8 else images[:1]
    step = training_flops(fresh, one, torch.Generator().manual_seed(0))
    flops = float(step * train.batch * train.steps) if fresh.params.fixed_cost else None
    check = cross_check(fresh, data)
    return TrainOutput(
        price=Price(seconds=seconds * train.workers, flops=flops),
        loss=loss,
        counter_flops=check.flops,
        deepspeed_macs=check.macs,
        counters_agree=check.agree,
    )
