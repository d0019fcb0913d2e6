"""How a network is trained: the `[train]` table of its card, which a suite may change entry by entry."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LARGEST_SEED, LARGEST_STEPS = 400, 9_999_999  # so that seed * 10^7 + step fits the 32 bits a CPU generator keeps


Momentum = Annotated[float, Field(ge=0, lt=1)]


class TrainSpec(BaseModel):
    """Data-parallel training with AdamW; everything that decides the weights except data, network and software."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1, le=LARGEST_STEPS)
    batch: int = Field(ge=1)
    """Images per step over all processes."""
    lr: float = Field(gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    decay: Literal["cosine", "constant"] = "cosine"
    ema_half_life_images: int = Field(default=500_000, ge=1)
    """After how many images a weight has faded to one half in the average that is kept."""
    betas: tuple[Momentum, Momentum] = (0.9, 0.99)
    """AdamW's decay rates of its two moments."""
    weight_decay: float = Field(default=0.0, ge=0)
    grad_clip: float = Field(default=0.0, ge=0)
    """Largest norm of the gradient over all weights; 0 does not clip."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 runs the network under autocast; weights, moments and average stay float32."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    workers: int = Field(default=1, ge=1)
    """Processes, one device each; the batches do not depend on it."""
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    flips: bool = False
    """Whether half of the images are mirrored left to right."""
    checkpoint_every: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> TrainSpec:
        if self.batch % self.workers:
            raise ValueError(f"batch is {self.batch}; expected a multiple of workers = {self.workers}")
        return self

    def learning_rate(self, step: int, first_step: int = 0) -> float:
        """Return the rate of step 0, 1, ...: linear warm-up from `first_step`, half a cosine to zero or constant."""
        rate = self.lr * min(1.0, (step - first_step + 1) / (self.warmup_steps + 1))
        if self.decay == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return rate

    def ema_decay(self, step: int) -> float:
        """Return the factor on the average at step 0, 1, ...; it grows from 0.1, so that the start is forgotten."""
        return min(0.5 ** (self.batch / self.ema_half_life_images), (1 + step) / (10 + step))

    def stream(self, step: int) -> int:
        """Return the seed of the generator that draws a step's global batch."""
        return self.seed * (LARGEST_STEPS + 1) + step
