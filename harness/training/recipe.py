"""How a trainer goes about it: rates by group of weights, decay of the average, seeds, optimizer settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from harness.specs.train import TrainSettings
from harness.training.schedules import (
    average_decay,
    batch_seed,
    cosine_rate,
    ema_decay,
    learning_rate,
    preparation_seed,
)
from methods.preparing import Training


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights besides module, loss and draws. The functions are pure."""

    lr: float
    batch: int
    """Rows of a step over all processes."""
    rate_at: Callable[[float, int, int], float]
    """The learning rate of a group by its own rate, the step, and the first step since moments are zero."""
    ema_decay_at: Callable[[int], float]
    seed_at: Callable[[int], int]
    """The seed of a step's dropout, below 2^53."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Learning rates by how a weight's name begins; all others have `lr`."""
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    grad_clip: float = 0.0
    precision: str = "float32"
    zero_stage: int = 0
    noun: str = "training"
    """What the loss is of, in a message."""
    remedy: str = "lower lr, lengthen warmup_steps or set grad_clip"
    """What to do where it is not finite."""

    def groups(self, trained: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
        """Return groups of weights for the optimizer, by their rates and in the order of the weights."""
        found: dict[float, list[nn.Parameter]] = {}
        for name, parameter in trained.items():
            rate = next((value for start, value in self.rates.items() if name.startswith(start)), self.lr)
            found.setdefault(rate, []).append(parameter)
        return [{"params": parameters, "rate": rate, "lr": rate} for rate, parameters in found.items()]


def network_recipe(spec: TrainSettings) -> Recipe:
    """Return the recipe of a network's training."""
    return Recipe(
        lr=spec.lr,
        batch=spec.batch,
        rate_at=lambda rate, step, first_step: learning_rate(spec, step, first_step),
        ema_decay_at=partial(ema_decay, spec),
        seed_at=partial(batch_seed, spec),
        betas=spec.betas,
        weight_decay=spec.weight_decay,
        grad_clip=spec.grad_clip,
        precision=spec.precision,
        zero_stage=spec.zero_stage,
    )


def preparation_recipe(training: Training, seed: int) -> Recipe:
    """Return the recipe of what a method trains while it prepares."""
    return Recipe(
        lr=training.lr,
        batch=training.batch,
        rate_at=lambda rate, step, first_step: cosine_rate(rate, step, training.steps),
        ema_decay_at=partial(average_decay, training.ema),
        seed_at=partial(preparation_seed, seed),
        rates=training.rates,
        betas=training.betas,
        precision=training.precision,
        noun="tuning",
        remedy=training.remedy,
    )
