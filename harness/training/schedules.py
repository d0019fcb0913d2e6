"""Per-step settings of a training: learning rate, decay of the average, seed of the batch."""

from __future__ import annotations

import math

from harness.specs.train import LARGEST_STEPS, TrainSettings


def learning_rate(train: TrainSettings, step: int, first_step: int = 0) -> float:
    """Return the rate of step 0, 1, ...: linear warm-up from `first_step`, half a cosine to zero or constant."""
    rate = train.lr * min(1.0, (step - first_step + 1) / (train.warmup_steps + 1))
    return cosine_rate(rate, step, train.steps) if train.decay == "cosine" else rate


def cosine_rate(rate: float, step: int, steps: int) -> float:
    """Return a rate at step 0, 1, ... of `steps`, half a cosine to zero."""
    return rate * 0.5 * (1 + math.cos(math.pi * step / steps))


def ema_decay(train: TrainSettings, step: int) -> float:
    """Return the factor on the average at step 0, 1, ...; it grows from 0.1, so that initial weights fade."""
    return average_decay(0.5 ** (train.batch / train.ema_half_life_images), step)


def average_decay(decay: float, step: int) -> float:
    """Return a decay at step 0, 1, ...: it grows from 0.1 to the given one."""
    return min(decay, (1 + step) / (10 + step))


def batch_seed(train: TrainSettings, step: int) -> int:
    """Return the seed of the generator that draws a step's global batch."""
    return train.seed * (LARGEST_STEPS + 1) + step


def preparation_seed(seed: int, step: int) -> int:
    """Return the seed of a step's dropout in a preparation."""
    return seed * (LARGEST_STEPS + 1) + step
