"""One rank of data-parallel training through DeepSpeed, resumable bit by bit, with an average of the weights.

It is the one loop by which anything here learns: trainings of networks, and what methods train while they prepare.
Every rank makes a Trainer, calls the same methods in the same order, and closes it. The loss is a mean over the
global batch: DeepSpeed averages the gradients of equal shares. The module belongs to the trainer from then on; under
ZeRO 3 its weights are scattered.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.measure.deepspeed_start import ProcessGroup, load_deepspeed, stdout_to_stderr
from harness.training.recipe import Recipe
from harness.training.zero_pieces import MOMENTS, Piece, create_moments, distinct_flats, local_pieces, torch_optimizer

State = tuple[Mapping[str, np.ndarray], Mapping[str, Any]]


@dataclass(frozen=True)
class TrainingProgress:
    """Steps done, mean loss over the latest chunk of steps, loss of the last step, seconds spent in steps."""

    step: int
    loss: float
    last_loss: float
    seconds: float


class Objective(Protocol):
    """What a trainer lowers. Both are called in every process."""

    def draw(self, step: int) -> Any:
        """Return this process's share of a step's draws; called once for each step, in order."""

    def loss(self, drawn: Any) -> Tensor:
        """Return the mean loss of the share. It runs under autocast if the recipe says bfloat16."""


class Trainer:
    """One rank of `world_size`. Rank 0 returns state and weights, the other ranks empty tables.

    A task calls it in its worker's process; every call blocks until all ranks have made it."""

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        recipe: Recipe,
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
        step count continues. HarnessError if the state is of another module.
        """
        self.recipe, self.rank, self.device = recipe, rank, torch.device(device)
        self.step, self.loss, self.last_loss, self.seconds = first_step, math.nan, math.nan, 0.0
        self._first_step, self._objective = first_step, objective

        module = module.to(self.device)
        self._trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if state is not None:
            _load_weights(self._trained, state[0])
        self._fixed = {k: v.cpu().clone() for k, v in module.state_dict().items() if k not in self._trained}

        deepspeed = load_deepspeed(self.device.type)
        self._group = ProcessGroup(rank, world_size, address, port, self.device)
        try:
            groups = recipe.groups(self._trained)
            self._engine = _engine(deepspeed, _Loss(module, objective, recipe), groups, recipe, world_size)
            self._pieces = local_pieces(self._engine, list(self._trained.values()), recipe.zero_stage)
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

        # means over all ranks
        if losses:
            means = torch.stack(losses)
            if torch.distributed.get_world_size() > 1:
                torch.distributed.all_reduce(means)
                means /= torch.distributed.get_world_size()
            self._check_finite(means)
            self.loss, self.last_loss = float(means.mean()), float(means[-1])
        self.seconds += time.perf_counter() - began
        return TrainingProgress(self.step, self.loss, self.last_loss, self.seconds)

    def _check_finite(self, losses: Tensor) -> None:
        """Raise HarnessError that names the first of the latest steps whose loss is not finite."""
        wrong = (~losses.isfinite()).nonzero().flatten().tolist()
        if wrong:
            step = self.step - len(losses) + wrong[0]
            raise HarnessError(
                f"the {self.recipe.noun} loss became {float(losses[wrong[0]])} at step {step}; {self.recipe.remedy}"
            )

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
        """Return the averaged weights with the module's fixed tensors, on rank 0; every rank must call."""
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
            group["lr"] = self.recipe.rate_at(group["rate"], self.step, self._first_step)
        drawn = self._objective.draw(self.step)
        torch.manual_seed(self.recipe.seed_at(self.step) * 997 + self.rank)  # for dropout; forked by the caller
        loss = self._engine(drawn)
        self._engine.backward(loss)
        self._engine.step()
        with torch.no_grad():
            torch._foreach_lerp_(self._ema, self._masters, 1 - self.recipe.ema_decay_at(self.step))
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

    def __init__(self, module: nn.Module, objective: Objective, recipe: Recipe) -> None:
        super().__init__()
        self.trained, self.objective, self.recipe = module, objective, recipe
        self.device_type = next(module.parameters()).device.type

    def forward(self, drawn: Any) -> Tensor:
        low = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=low):
            return self.objective.loss(drawn)


def _engine(deepspeed: Any, loss: nn.Module, groups: list[dict[str, Any]], recipe: Recipe, world_size: int) -> Any:
    optimizer = torch.optim.AdamW(groups, betas=recipe.betas, weight_decay=recipe.weight_decay, foreach=True)
    config = {
        "train_micro_batch_size_per_gpu": max(recipe.batch // world_size, 1),
        "zero_optimization": {"stage": recipe.zero_stage},
        "gradient_clipping": recipe.grad_clip,
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
