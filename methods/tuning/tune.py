"""Fine-tuning before a method's first image: how long, how fast, and on which images.

Methods call it in `prepare`; the engine trains (`PrepareContext.train`). A fixed seed gives the
same weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.preconditioning import Draws
from methods.parts import Params, PrepareContext, TrainedModule, Training

Loss = Callable[[Tensor, Draws], Tensor]
"""The loss of clean images [batch, ...] for drawn levels, on the host, and drawn noise, on the device."""


class LevelSource(Protocol):
    """Source of a tuning's noise levels: the network, as in its training, or a method's own draws."""

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Sequence[Tensor]:
        """Return noise levels [batch] and unit noise [shape] of one step, on the host."""


Momentum = Annotated[float, Field(ge=0, lt=1)]


class TuningParams(Params):
    """How long and how fast a method tunes the network; 0 steps leave it unchanged.

    Defaults suit 8x8 digits.
    """

    tune_steps: int = Field(default=200, ge=0)
    tune_batch: int = Field(default=64, ge=1)
    tune_lr: float = Field(default=2e-3, gt=0)
    tune_ema: float = Field(default=0.98, ge=0, le=1)
    """Decay of the average at each step.

    It starts lower, so that initial weights are forgotten.
    """
    tune_betas: tuple[Momentum, Momentum] = (0.9, 0.99)
    """AdamW's decay rates of its two moments."""
    tune_flips: bool = False
    """Whether half of the images are mirrored left to right."""
    tune_precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 runs the network under autocast, as GPUs are fast at; weights and average stay float32."""


def tune(
    student: nn.Module,
    drawn: LevelSource,
    loss: Loss,
    context: PrepareContext,
    p: Any,
    rates: Mapping[str, float],
) -> TrainedModule:
    """Tune `student` on the training images; it is left with its averaged weights.

    `drawn` draws noise levels and noise. Parameters whose name starts with a key of `rates` learn
    at that rate, all others at `p.tune_lr`.
    """
    device, images = next(student.parameters()).device, context.images()

    def draw(generator: torch.Generator) -> Sequence[Tensor]:
        clean = training_images(images, p, generator)
        return clean, *drawn.draws(tuple(clean.shape), generator)[:2]

    def loss_of_rows(clean: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        return loss(clean.to(device), Draws(sigma, noise.to(device)))

    return context.train(student, draw, loss_of_rows, training_of(p, rates))


def training_of(p: Any, rates: Mapping[str, float]) -> Training:
    """Return how TuningParams train, with some weights at rates of their own."""
    return Training(
        steps=p.tune_steps,
        batch=p.tune_batch,
        lr=p.tune_lr,
        rates=rates,
        betas=p.tune_betas,
        ema=p.tune_ema,
        precision=p.tune_precision,
        remedy="lower tune_lr",
    )


def training_images(images: Tensor, p: Any, generator: torch.Generator) -> Tensor:
    """Return a batch of training images, half of them mirrored with `tune_flips`."""
    clean = images[torch.randint(len(images), (p.tune_batch,), generator=generator)]
    if p.tune_flips:
        mirrored = torch.rand(p.tune_batch, generator=generator) < 0.5
        clean = torch.where(mirrored[:, None, None, None], clean.flip(-1), clean)
    return clean


def thawed(network: BlockNetwork) -> BlockNetwork:
    """Return a trainable copy of a frozen network; its `fixed` parameters stay frozen.

    It is tuned without classes: training images have none here.
    """
    copied = copy.deepcopy(network)
    for name, parameter in copied.named_parameters():
        parameter.requires_grad_(name not in copied.fixed)
    return copied.train()


def untunable(network: BlockParams) -> str | None:
    """Return why a network cannot be tuned on images without their classes, or None."""
    if network.classes > 0 and not network.null_class:
        return "it tunes on images without their classes, and this network has no embedding for no class"
    return None
