"""Per-step settings of a training: learning rate, decay of the average, seed of the batch."""

from __future__ import annotations

import math

from harness.specs.train import LARGEST_STEPS, TrainSettings


def learning_rate(train: TrainSettings, step: int, first_step: int = 0) -> float:
    """Return the rate of step 0, 1, ...: linear warm-up from `first_step`, half a cosine to zero or constant."""
    rate = train.lr * min(1.0, (step - first_step + 1) / (train.warmup_steps + 1))
    if train.decay == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * step / train.steps))
    return rate


def ema_decay(train: TrainSettings, step: int) -> float:
    """Return the factor on the average at step 0, 1, ...; it grows from 0.1, so that initial weights fade."""
    return min(0.5 ** (train.batch / train.ema_half_life_images), (1 + step) / (10 + step))


def batch_seed(train: TrainSettings, step: int) -> int:
    """Return the seed of the generator that draws a step's global batch."""
    return train.seed * (LARGEST_STEPS + 1) + step
