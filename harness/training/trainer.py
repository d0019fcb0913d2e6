"""One rank of data-parallel training through DeepSpeed, resumable bit by bit, with an average of the weights.

Every rank makes a Trainer, calls the same methods in the same order, and closes it. The loss is a mean over the
global batch: DeepSpeed averages the gradients of equal shares. The network belongs to the trainer from then on; under
ZeRO 3 its weights are scattered.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.measure.deepspeed_start import ProcessGroup, load_deepspeed, stdout_to_stderr
from harness.specs.train import TrainSettings
from harness.training.batches import Batches
from harness.training.schedules import batch_seed, ema_decay, learning_rate
from harness.training.zero_pieces import MOMENTS, Piece, create_moments, distinct_flats, local_pieces, torch_optimizer
from methods.networks.base import Network
from methods.networks.drawn_loss import DrawnLoss

State = tuple[Mapping[str, np.ndarray], Mapping[str, Any]]


@dataclass(frozen=True)
class TrainingProgress:
    """Steps done, mean loss over the latest chunk of steps, seconds spent in steps."""

    step: int
    loss: float
    seconds: float


class Trainer:
    """One rank of `world_size`. Rank 0 returns state and weights, the other ranks empty tables.

    A training task calls it in its worker's process; every call blocks until all ranks have made it."""

    def __init__(
        self,
        network: Network,
        images: Tensor,
        spec: TrainSettings,
        rank: int = 0,
        world_size: int = 1,
        address: str = "127.0.0.1",
        port: int = 0,
        device: torch.device | str = "cpu",
        state: State | None = None,
        first_step: int = 0,
    ) -> None:
        """Start a new training, or resume bit by bit from `state`.

        With `first_step` the weights come from that many steps without a state: moments and warm-up start again, the
        step count continues. HarnessError if the ranks do not divide the batch or the state is of another network.
        """
        if spec.batch % world_size:
            raise HarnessError(f"batch is {spec.batch}; expected a multiple of the {world_size} processes")
        self.spec, self.rank, self.device = spec, rank, torch.device(device)
        self.step, self.loss, self.seconds = first_step, math.nan, 0.0
        self._first_step = first_step

        network = network.to(self.device).train()
        self._trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        if state is not None:
            _load_weights(self._trained, state[0])
        self._fixed = {k: v.cpu().clone() for k, v in network.state_dict().items() if k not in self._trained}
        self._batches = Batches(images, spec, network, rank, world_size, self.device)

        deepspeed = load_deepspeed(self.device.type)
        self._group = ProcessGroup(rank, world_size, address, port, self.device)
        try:
            self._engine = _engine(deepspeed, _Loss(network, spec), list(self._trained.values()), spec, world_size)
            self._pieces = local_pieces(self._engine, list(self._trained.values()), spec.zero_stage)
            self._masters = distinct_flats(self._pieces)
            self._ema = [flat.detach().clone() for flat in self._masters]
            if state is not None:
                self._resume(*state)
        except BaseException:
            self._group.close()
            raise

    def advance(self, steps: int) -> TrainingProgress:
        """Take `steps` steps; HarnessError if the loss is no longer finite."""
        began, losses = time.perf_counter(), []
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            for _ in range(steps):
                losses.append(self._one_step())

        # the mean loss over all ranks
        mean = torch.stack(losses).mean() if losses else torch.tensor(self.loss, device=self.device)
        if torch.distributed.get_world_size() > 1:
            torch.distributed.all_reduce(mean)
            mean /= torch.distributed.get_world_size()

        self.loss = float(mean)
        self.seconds += time.perf_counter() - began
        if losses and not math.isfinite(self.loss):
            raise HarnessError(
                f"the training loss became {self.loss} before step {self.step}; "
                "lower lr, lengthen warmup_steps or set grad_clip"
            )
        return TrainingProgress(self.step, self.loss, self.seconds)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return tensors and metadata for `state=`, on rank 0; every rank must call."""
        found: dict[str, np.ndarray] = {}
        optimizer = torch_optimizer(self._engine)
        for kind in ("weights", "ema", *MOMENTS):
            for name, piece in zip(self._trained, self._pieces, strict=True):
                if kind in MOMENTS and piece.flat not in optimizer.state:
                    continue  # no step was taken yet
                self._keep(found, f"{kind}/{name}", piece.read(self._stored(kind, piece)))
        return found, {"step": self.step, "first_step": self._first_step}

    def weights(self) -> dict[str, np.ndarray]:
        """Return the averaged weights with the network's fixed tensors, on rank 0; every rank must call."""
        found: dict[str, np.ndarray] = {}
        for name, piece in zip(self._trained, self._pieces, strict=True):
            self._keep(found, name, piece.read(self._stored("ema", piece)))
        for name, value in self._fixed.items():
            self._keep(found, name, value)
        return found

    def close(self) -> None:
        """Release the engine and leave the process group."""
        try:
            with stdout_to_stderr():
                self._engine.destroy()
        finally:
            self._group.close()

    def _one_step(self) -> Tensor:
        """Take a step and return its loss, detached, on the device."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate(self.spec, self.step, self._first_step)
        images, draws, generator = self._batches.draw(self.step)
        torch.manual_seed(batch_seed(self.spec, self.step) * 997 + self.rank)  # for dropout; forked by the caller
        loss = self._engine(images, draws, generator)
        self._engine.backward(loss)
        self._engine.step()
        with torch.no_grad():
            torch._foreach_lerp_(self._ema, self._masters, 1 - ema_decay(self.spec, self.step))
        self.step += 1
        return loss.detach()

    def _stored(self, kind: str, piece: Piece) -> Tensor:
        """Return the local tensor of a kind, laid out as the piece's `flat`."""
        if kind == "weights":
            return piece.flat
        if kind == "ema":
            return next(e for flat, e in zip(self._masters, self._ema, strict=True) if flat is piece.flat)
        return torch_optimizer(self._engine).state[piece.flat][kind]

    def _keep(self, found: dict[str, np.ndarray], name: str, value: Tensor) -> None:
        if self.rank == 0:
            found[name] = value.cpu().numpy()

    def _resume(self, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
        self.step, self._first_step = int(metadata["step"]), int(metadata.get("first_step", 0))
        taken = self.step - self._first_step
        kinds = ["ema", *(moment for moment in MOMENTS if taken)]
        if taken:
            create_moments(self._engine, self._pieces, taken)
        for kind in kinds:
            for name, piece in zip(self._trained, self._pieces, strict=True):
                piece.write(self._stored(kind, piece), torch.from_numpy(tensors[f"{kind}/{name}"].copy()))


class _Loss(nn.Module):
    """The loss as a module, since DeepSpeed's engine drives a module's forward pass."""

    def __init__(self, network: Network, spec: TrainSettings) -> None:
        super().__init__()
        self.network, self.spec = network, spec

    def forward(self, images: Tensor, draws: Sequence[Tensor], generator: torch.Generator) -> Tensor:
        low = self.spec.precision == "bfloat16"
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=low):
            if draws and isinstance(self.network, DrawnLoss):
                return self.network.loss_of(images, draws)
            return self.network.loss(images, generator)


def _engine(deepspeed: Any, loss: nn.Module, trained: list[nn.Parameter], spec: TrainSettings, world_size: int) -> Any:
    optimizer = torch.optim.AdamW(trained, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay, foreach=True)
    config = {
        "train_micro_batch_size_per_gpu": spec.batch // world_size,
        "zero_optimization": {"stage": spec.zero_stage},
        "gradient_clipping": spec.grad_clip,
        "steps_per_print": None,
        "zero_allow_untested_optimizer": True,
    }
    with stdout_to_stderr():
        engine, *_ = deepspeed.initialize(model=loss, optimizer=optimizer, config=config)
    return engine


def _load_weights(trained: Mapping[str, nn.Parameter], tensors: Mapping[str, np.ndarray]) -> None:
    missing = [name for name in trained if f"weights/{name}" not in tensors]
    if missing:
        raise HarnessError(f'the checkpoint lacks "{missing[0]}"; expected one of the same network, so start anew')
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(torch.from_numpy(tensors[f"weights/{name}"].copy()))
