"""What a method trains while it prepares: by the trainer, on all ranks of its task, with checkpoints to resume from.

`prepare` runs on every rank alike. Killed, it begins anew: trainings that had ended give their weights at once, and
the one that was going on continues from its state. Draws are made again, so that what a method notes of them is whole.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from harness.measure.deepspeed_start import ProcessGroup
from harness.measure.flops import flop_counter
from harness.specs.limits import PROGRESS_SECONDS
from harness.specs.rules.counting import COUNTED_PASSES
from harness.task import ALONE, Checkpoint, Event, Progress, Ranks
from harness.training.course import RemainingTime, advance_in_chunks
from harness.training.recipe import preparation_recipe
from harness.training.trainer import State, Trainer, TrainingProgress
from methods.preparing import TrainedModule, Training

Draw = Callable[[torch.Generator], Sequence[Tensor]]
Loss = Callable[..., Tensor]
Arrays = Mapping[str, np.ndarray]


class Stopped(BaseException):
    """The task was stopped from outside while a method trained."""


@dataclass(frozen=True)
class Ended:
    """A training that has ended: its averaged state, and the loss of its last step."""

    weights: Arrays
    loss: float


@dataclass
class PreparationState:
    """What a checkpoint holds: the trainings that ended, the state of the next, what all took."""

    ended: list[Ended] = field(default_factory=list)
    state: State | None = None
    flops: float = 0.0
    """Over all ranks, of the trainings that ended."""
    counted: tuple[float, int] = (0.0, 0)
    """Of the one that goes on: FLOPs of the counted steps over all ranks, and their number."""
    device_seconds: float = 0.0
    """Of all the preparation, over all ranks, until the checkpoint was made."""

    @classmethod
    def read(cls, checkpoint: Checkpoint | None) -> PreparationState:
        """Return what a checkpoint holds; nothing for None."""
        if checkpoint is None:
            return cls()
        metadata, tensors = checkpoint.metadata, checkpoint.tensors
        ended = [Ended(_below(f"ended-{i}/", tensors), loss) for i, loss in enumerate(metadata["losses"])]
        state = None if metadata["state"] is None else (_below("state/", tensors), metadata["state"])
        flops, counted = metadata["counted"]
        return cls(ended, state, metadata["flops"], (flops, counted), metadata["device_seconds"])

    def write(self) -> Checkpoint:
        """Return the checkpoint."""
        arrays, state = (None, None) if self.state is None else self.state
        tensors = {f"state/{name}": value for name, value in (arrays or {}).items()}
        for i, one in enumerate(self.ended):
            tensors |= {f"ended-{i}/{name}": value for name, value in one.weights.items()}
        metadata = {
            "step": 0 if state is None else state["step"],
            "losses": [one.loss for one in self.ended],
            "state": state,
            "flops": self.flops,
            "counted": list(self.counted),
            "device_seconds": self.device_seconds,
        }
        return Checkpoint(tensors, metadata)


class Trainings:
    """The trainings of one preparation, in the order of its method. Every rank makes one."""

    def __init__(
        self,
        seed: int,
        device: torch.device,
        report: Callable[[Event], None],
        ranks: Ranks = ALONE,
        checkpoint: Checkpoint | None = None,
        checkpoint_seconds: float = math.inf,
        device_seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`report` gets progress and checkpoints. `device_seconds` returns what this preparation has taken so far,
        over all ranks; it becomes part of a checkpoint.
        """
        self._seed, self._device, self._report, self._ranks = seed, device, report, ranks
        self._kept, self._every, self._device_seconds = (
            PreparationState.read(checkpoint),
            checkpoint_seconds,
            device_seconds,
        )
        self._ended: list[Ended] = []
        self._flops = 0.0
        self._is_training = self._is_stopped = False
        self._group: ProcessGroup | None = None

    @property
    def flops(self) -> float:
        """Return the FLOPs of the trainings that have ended, over all ranks."""
        return self._flops

    def train(self, module: nn.Module, draw: Draw, loss: Loss, training: Training) -> TrainedModule:
        """See `methods.preparing.PrepareContext.train`."""
        self._raise_if_stopped()
        number = len(self._ended)
        batches = _Batches(draw, loss, self._seed + number, self._ranks)
        if number < len(self._kept.ended):
            ended = self._kept.ended[number]
            self._draw_again(batches, training.steps, training.steps)
        elif training.steps == 0:
            ended = Ended({name: _to_numpy(value) for name, value in module.state_dict().items()}, math.nan)
        else:
            with _in_float32(module):
                ended = self._train(module, batches, training, number)
        if number + 1 == len(self._kept.ended):
            self._flops = self._kept.flops

        # the module gets the averaged weights
        self._ended.append(ended)
        module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in ended.weights.items()})
        module.zero_grad(set_to_none=True)
        return TrainedModule({name: value.detach().clone() for name, value in module.state_dict().items()}, ended.loss)

    def mean(self, value: Tensor) -> Tensor:
        """See `methods.preparing.PrepareContext.mean`."""
        if self._ranks.size == 1:
            return value
        whole = value.detach().clone()
        torch.distributed.all_reduce(whole)
        return value + (whole / self._ranks.size - value.detach())

    def stop(self, thread: threading.Thread) -> None:
        """Stop what `thread` trains, after the steps of about a second, and wait for it. Called from another thread."""
        self._is_stopped = True
        if self._is_training:
            thread.join()

    def _raise_if_stopped(self) -> None:
        if self._is_stopped:
            raise Stopped

    def close(self) -> None:
        """Leave the group of the ranks."""
        if self._group is not None:
            self._group.close()
            self._group = None

    def _train(self, module: nn.Module, batches: _Batches, training: Training, number: int) -> Ended:
        """Take the steps that are left of a training; return its end on every rank."""
        self._join()
        self._is_training = True
        state = self._kept.state if number == len(self._kept.ended) else None
        ranks = self._ranks
        trainer = Trainer(
            module,
            batches,
            preparation_recipe(training, self._seed + number),
            rank=ranks.rank,
            world_size=ranks.size,
            address=ranks.address,
            port=ranks.port,
            device=self._device,
            state=state,
        )

        try:
            self._draw_again(batches, trainer.step, training.steps)
            counter = _StepCounter(training.steps, self._kept.counted if state is not None else (0.0, 0))
            self._advance(trainer, training.steps, counter)
            flops, counted = counter.total()
            self._flops += flops / counted * training.steps
            ended = Ended(_broadcast(trainer.weights(), module, ranks), trainer.last_loss)
        finally:
            trainer.close()
            self._is_training = False
        self._report_checkpoint([*self._ended, ended], None, (0.0, 0))
        return ended

    def _advance(self, trainer: Trainer, steps: int, counter: _StepCounter) -> None:
        """Take all steps, with progress, and a checkpoint from time to time."""
        time_left, since = RemainingTime(trainer.step, steps), 0.0
        for done, seconds in advance_in_chunks(trainer, steps, counter.most, counter.advance_with(trainer)):
            self._report(time_left.progress(done))
            self._raise_if_stopped()
            since += seconds
            if since >= self._every and done.step < steps:
                since = 0.0
                state, counted = trainer.state(), counter.total()
                self._report_checkpoint(self._ended, state, counted)

    def _draw_again(self, batches: _Batches, upto: int, steps: int) -> None:
        """Make the draws of the first steps, which were taken before."""
        reported = time.perf_counter()
        for step in range(upto):
            batches.draw(step)
            if time.perf_counter() - reported > PROGRESS_SECONDS:
                reported = time.perf_counter()
                self._report(Progress(step + 1, steps, "drawn again, as taken before"))
                self._raise_if_stopped()

    def _report_checkpoint(self, ended: list[Ended], state: State | None, counted: tuple[float, int]) -> None:
        """Report a checkpoint on rank 0, unless none is wanted."""
        if self._ranks.rank == 0 and self._every < math.inf:
            self._report(PreparationState(ended, state, self._flops, counted, self._device_seconds()).write())

    def _join(self) -> None:
        """Join the group of the ranks for all trainings: a port is met at once."""
        if self._group is None and self._ranks.size > 1:
            ranks = self._ranks
            self._group = ProcessGroup(ranks.rank, ranks.size, ranks.address, ranks.port, self._device)


class _Batches:
    """This rank's share of a method's draws, and its loss; a trainer's Objective."""

    def __init__(self, draw: Draw, loss: Loss, seed: int, ranks: Ranks) -> None:
        self._draw, self._loss, self._ranks = draw, loss, ranks
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, step: int) -> list[Tensor]:
        """Return this rank's rows of the step's draws."""
        return [share_of(value, self._ranks.rank, self._ranks.size) for value in self._draw(self._generator)]

    def loss(self, drawn: list[Tensor]) -> Tensor:
        """Return the mean loss of the rows."""
        return self._loss(*drawn)


def share_of(value: Tensor, rank: int, size: int) -> Tensor:
    """Return a rank's equal share of the rows of `value` [n, ...].

    Where `size` does not divide n, each row is repeated as often as needed: the mean over ranks stays that over rows.
    """
    repeats = size // math.gcd(len(value), size)
    rows = len(value) * repeats // size
    return value.repeat_interleave(repeats, 0)[rank * rows : (rank + 1) * rows] if size > 1 else value


class _StepCounter:
    """FLOPs of some evenly spaced steps, which are taken to be those of all."""

    def __init__(self, steps: int, before: tuple[float, int]) -> None:
        self._steps = {steps * k // COUNTED_PASSES for k in range(COUNTED_PASSES)}
        self._before, self._here, self._number = before, 0.0, 0

    def most(self, step: int) -> int:
        """Return how many steps a chunk may have from a step on: a counted one is alone in its own."""
        return 1 if step in self._steps else min((one for one in self._steps if one > step), default=1 << 31) - step

    def advance_with(self, trainer: Trainer) -> Callable[[int], TrainingProgress]:
        """Return a function that takes the steps of a chunk and counts those that are to be counted."""

        def advance(steps: int) -> TrainingProgress:
            if trainer.step not in self._steps:
                return trainer.advance(steps)
            with flop_counter() as counter:
                done = trainer.advance(steps)
            self._here += counter.get_total_flops()
            self._number += 1
            return done

        return advance

    def total(self) -> tuple[float, int]:
        """Return the counted FLOPs over all ranks, and the number of counted steps; every rank must call."""
        flops = torch.tensor([self._here], dtype=torch.float64)
        if torch.distributed.get_world_size() > 1:
            flops = flops.to("cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
            torch.distributed.all_reduce(flops)
        return self._before[0] + float(flops), self._before[1] + self._number


@contextmanager
def _in_float32(module: nn.Module) -> Iterator[None]:
    """Train a module in single precision, whatever its own format; it has that again afterwards."""
    wide = {name: value.dtype for name, value in module.named_parameters() if value.dtype != torch.float32}
    wide |= {name: value.dtype for name, value in module.named_buffers() if wide and value.is_floating_point()}
    if wide:
        module.float()
    yield
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if name in wide:
            value.data = value.data.to(wide[name])


def _broadcast(weights: Arrays, module: nn.Module, ranks: Ranks) -> Arrays:
    """Return rank 0's weights on every rank; the names are the module's."""
    if ranks.size == 1:
        return weights
    found = {}
    for name, value in module.state_dict().items():
        sent = torch.from_numpy(np.array(weights[name])).to(value.device) if weights else torch.empty_like(value)
        torch.distributed.broadcast(sent, src=0)
        found[name] = _to_numpy(sent)
    return found


def _below(prefix: str, tensors: Arrays) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _to_numpy(value: Tensor) -> np.ndarray:
    found: np.ndarray = value.detach().cpu().numpy().copy()
    return found
