"""Train: how a network is trained (the `[train]` table of its card), and the task that does it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.specs.base import Closed, DecidesNothing, ImageSet, Policy, Spec
from harness.specs.sampler import DataSpec, NetworkSpec
from harness.specs.weights import WeightsOutput

LARGEST_SEED, LARGEST_STEPS = 400, 9_999_999  # so that seed * 10^7 + step fits the 32 bits a CPU generator keeps


Momentum = Annotated[float, Field(ge=0, lt=1)]


class TrainSettings(Closed):
    """Data-parallel training with AdamW; all that decides the weights but data, network and software."""

    steps: int = Field(ge=1, le=LARGEST_STEPS)
    batch: int = Field(ge=1)
    """Images per step over all processes."""
    lr: float = Field(gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    decay: Literal["cosine", "constant"] = "cosine"
    ema_half_life_images: int = Field(default=500_000, ge=1)
    """Images after which a weight's share in the average has halved."""
    betas: tuple[Momentum, Momentum] = (0.9, 0.99)
    """AdamW's decay rates of its two moments."""
    weight_decay: float = Field(default=0.0, ge=0)
    grad_clip: float = Field(default=0.0, ge=0)
    """Largest norm of the gradient over all weights; 0 does not clip."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 runs the network under autocast; weights, moments and average stay float32."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    workers: int | None = Field(default=None, ge=1)
    """Processes, one device each; without it as many as the suite and the devices there give (`Suite.devices`)."""
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    flips: bool = False
    """Whether half of the images are mirrored left to right."""
    checkpoint_every: Annotated[int, DecidesNothing("how often the state is kept")] = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> TrainSettings:
        if self.workers is not None and self.batch % self.workers:
            raise ValueError(f"batch is {self.batch}; expected a multiple of workers = {self.workers}")
        return self


class TrainOutput(WeightsOutput):
    """What a training cost, and its last loss."""

    loss: float


class TrainSpec(Spec):
    """One training: data, network, settings."""

    kind = "train"
    entry = "harness.tasks.train"
    output = TrainOutput
    policy = Policy(shared=True, resumes=True)

    data: DataSpec
    network: NetworkSpec
    train: TrainSettings
    device: str
    """Kind of the device, "cpu" or "cuda"."""
    devices: Annotated[int, DecidesNothing("batches do not depend on it; sums differ by rounding")] = 1
    """Processes where the settings name no number."""

    def images(self) -> ImageSet:
        return ImageSet(dataset=self.data.name, split=self.data.training)

    def ranks(self) -> int:
        return self.train.workers or self.devices
