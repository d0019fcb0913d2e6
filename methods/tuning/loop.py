"""Fine-tuning before a method's first image: AdamW, a cosine decay to zero, and averaged weights.

A fixed seed gives the same weights. Methods call it in `prepare`, on a worker; the engine counts
time and FLOPs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.preconditioning import Draws
from methods.parts import Params, PrepareContext

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


def tune(
    student: nn.Module,
    drawn: LevelSource,
    loss: Loss,
    context: PrepareContext,
    p: Any,
    rates: Mapping[str, float],
    number: int = 0,
) -> tuple[dict[str, Tensor], float]:
    """Tune `student` in place on the training images.

    Return the averaged state by name and the last loss.

    `drawn` draws noise levels and noise. Otherwise as `minimise_loss`.
    """
    device, images = next(student.parameters()).device, context.images()

    def drawn_loss(generator: torch.Generator) -> Tensor:
        clean = training_images(images, p, generator)
        sigma, noise = drawn.draws(tuple(clean.shape), generator)
        return loss(clean.to(device), Draws(sigma, noise.to(device)))

    return minimise_loss(student, drawn_loss, context, p, rates, number)


def training_images(images: Tensor, p: Any, generator: torch.Generator) -> Tensor:
    """Return a batch of training images, half of them mirrored with `tune_flips`."""
    clean = images[torch.randint(len(images), (p.tune_batch,), generator=generator)]
    if p.tune_flips:
        mirrored = torch.rand(p.tune_batch, generator=generator) < 0.5
        clean = torch.where(mirrored[:, None, None, None], clean.flip(-1), clean)
    return clean


def minimise_loss(
    student: nn.Module,
    drawn_loss: Callable[[torch.Generator], Tensor],
    context: PrepareContext,
    p: Any,
    rates: Mapping[str, float],
    number: int = 0,
) -> tuple[dict[str, Tensor], float]:
    """Lower a loss of `student` in place for `p.tune_steps`.

    Return the averaged state by name and the last loss.

    Parameters whose name starts with a key of `rates` learn at that rate, all others at
    `p.tune_lr`. `drawn_loss` draws a batch and returns its loss. Each of several tunings in a row
    has its own `number`, and so other draws. Raises ValueError if a loss is not finite, which is
    checked every 25 steps and at the last.
    """
    generator = torch.Generator().manual_seed(context.seed + number)
    optimizer = torch.optim.AdamW(_groups(student, p.tune_lr, rates), betas=p.tune_betas, weight_decay=0.0)
    teacher = copy.deepcopy(student).requires_grad_(False)
    last = math.nan

    for step in context.passes(p.tune_steps):
        # cosine decay
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * 0.5 * (1 + math.cos(math.pi * step / p.tune_steps))

        # one step of AdamW, and of the average
        value = drawn_loss(generator)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        average(teacher.parameters(), student.parameters(), min(p.tune_ema, (1 + step) / (10 + step)))

        # check and report
        if step % 25 == 24 or step == p.tune_steps - 1:
            last = float(value.detach())
            if not math.isfinite(last):
                raise ValueError(f"the tuning loss became {last} at step {step}; lower tune_lr")
            context.progress(step + 1, p.tune_steps, f"loss {last:.4f}")

    return teacher.state_dict(), last


@torch.no_grad()
def average(teacher: Iterable[Tensor], student: Iterable[Tensor], rate: float) -> None:
    """Update an average in place: teacher = rate teacher + (1 - rate) student."""
    torch._foreach_lerp_([*teacher], [*student], 1 - rate)


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


def _groups(student: nn.Module, lr: float, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    found: dict[float, list[Tensor]] = {}
    for name, parameter in student.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = next((value for start, value in rates.items() if name.startswith(start)), lr)
        found.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "rate": rate, "lr": rate} for rate, parameters in found.items()]
