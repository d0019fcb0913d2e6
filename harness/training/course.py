"""The course of a training: chunks of steps of about a second, and what is said of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from harness.specs.limits import PROGRESS_SECONDS
from harness.task import Progress
from harness.training.trainer import Trainer, TrainingProgress


def advance_in_chunks(
    trainer: Trainer,
    steps: int,
    most: Callable[[int], int],
    advance: Callable[[int], TrainingProgress] | None = None,
) -> Iterator[tuple[TrainingProgress, float]]:
    """Take the steps up to `steps`; yield progress and rank 0's seconds after each chunk, the same on every rank.

    Chunks double until one takes about a second; from a step s on one has at most `most(s)` steps. `advance` takes the
    steps of a chunk, by default the trainer.
    """
    chunk = 1
    while trainer.step < steps:
        began, count = time.perf_counter(), min(chunk, most(trainer.step), steps - trainer.step)
        done = (advance or trainer.advance)(count)
        seconds = broadcast_seconds(time.perf_counter() - began, trainer.device)
        if count == chunk and seconds < PROGRESS_SECONDS:
            chunk *= 2
        yield done, seconds


class RemainingTime:
    """How long a training still takes, by the steps of this process."""

    def __init__(self, first_step: int, steps: int) -> None:
        self._first_step, self._steps = first_step, steps
        self._began = time.perf_counter()

    def progress(self, done: TrainingProgress) -> Progress:
        """Return the progress with the loss, and the time left unless nothing is."""
        note, left = f"loss {done.loss:.4f}", self._steps - done.step
        if left:
            seconds = (time.perf_counter() - self._began) / max(done.step - self._first_step, 1) * left
            note += f", {_format_left(seconds)} left"
        return Progress(done.step, self._steps, note)


def broadcast_seconds(seconds: float, device: torch.device) -> float:
    """Return rank 0's measurement on every rank: chunks of different lengths would deadlock the group."""
    if torch.distributed.get_world_size() == 1:
        return seconds
    sent = torch.tensor([seconds], dtype=torch.float64, device=device)
    torch.distributed.broadcast(sent, src=0)
    return float(sent)


def _format_left(seconds: float) -> str:
    """Return seconds as m:ss, or as h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
