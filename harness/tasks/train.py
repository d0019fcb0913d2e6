"""Train: one rank of the training of a network, with checkpoints to resume from.

Every rank yields the same sequence of events; the driver reads those of rank 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from harness.measure.flops import cross_check, training_flops
from harness.sampling.network import build_network, data_shape
from harness.sampling.place import Place
from harness.specs.base import Price
from harness.specs.train import TrainOutput, TrainSettings, TrainSpec
from harness.task import CHECKPOINT, IMAGES, Checkpoint, Event, Result
from harness.training.batches import to_unit_floats
from harness.training.course import RemainingTime, advance_in_chunks
from harness.training.network_training import network_trainer
from harness.training.trainer import Trainer


def run(spec: TrainSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield progress and checkpoints, then the EMA weights with the price of the training."""
    data, train = data_shape(spec.data), spec.train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(train.seed)  # initial weights are drawn from torch's global generator, restored afterwards
        network = build_network(spec.network, data)

    images = torch.from_numpy(inputs[IMAGES].copy())
    checkpoint: Checkpoint | None = inputs.get(CHECKPOINT)
    trainer = network_trainer(
        network,
        images,
        train,
        rank=place.ranks.rank,
        world_size=place.ranks.size,
        address=place.ranks.address,
        port=place.ranks.port,
        device=place.device,
        state=None if checkpoint is None else (dict(checkpoint.tensors), dict(checkpoint.metadata)),
    )

    spent = 0.0 if checkpoint is None else float(checkpoint.metadata["device_seconds"])
    try:
        yield from _advance(trainer, train, spent, place.ranks.size)
        weights, loss = trainer.weights(), trainer.loss
        seconds = spent + trainer.seconds * place.ranks.size
    finally:
        trainer.close()

    yield Result(_output(spec, images, seconds, loss), weights)


def _advance(trainer: Trainer, train: TrainSettings, spent: float, devices: int) -> Iterator[Event]:
    """Yield progress per chunk of steps, and the checkpoints."""
    first, every, time_left = trainer.step, train.checkpoint_every, RemainingTime(trainer.step, train.steps)
    for done, _ in advance_in_chunks(trainer, train.steps, lambda step: every - (step - first) % every):
        yield time_left.progress(done)
        if (done.step - first) % every == 0 and done.step < train.steps:
            tensors, metadata = trainer.state()
            yield Checkpoint(tensors, {**metadata, "device_seconds": spent + trainer.seconds * devices})


def _output(spec: TrainSpec, images: torch.Tensor, device_seconds: float, loss: float) -> TrainOutput:
    """Return what the training cost, and whether the two FLOP counters agree on a fresh copy of the network.

    FLOPs are None for a network whose work depends on its input: one step does not give them.
    """
    data, train = data_shape(spec.data), spec.train
    fresh = build_network(spec.network, data)
    step = training_flops(fresh, to_unit_floats(images[:1]), torch.Generator().manual_seed(0))
    flops = float(step * train.batch * train.steps) if fresh.params.fixed_cost else None
    check = cross_check(fresh, data)

    return TrainOutput(
        price=Price(seconds=device_seconds, flops=flops),
        loss=loss,
        counter_flops=check.flops,
        deepspeed_macs=check.macs,
        counters_agree=check.agree,
    )
