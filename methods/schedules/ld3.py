"""Levels learnt by gradients through the sampler: LD3.

Tong et al. 2025, "Learning to Discretize Denoising Diffusion ODEs" (arXiv:2405.15506), and the
authors' code. From the code: lambda = -log(sigma) by the running sum of a softmax. The loss
between the few-step student and a 20-step teacher from the same noise. A soft target: the
student's noise moves inside a small ball. RMSprop on the logits with clipped gradients, 50 + 50
noises, 7 rounds. After 5 steps without a better validation loss the best levels are restored and
the rate falls by a fifth, never below 5e-5. The best on validation is kept. The code starts even
in lambda, or optionally with logits fitted to a table of GITS. Its "best" is among the visited
levels alone.

Ours: the start is the hand-made schedule of least validation loss through `solver`, taken exactly,
since a softmax's logits are the logarithms of its shares. So the result is never worse than any of
them. L2 in place of LPIPS. Heun on EDM's levels as the teacher. Validation noises do not move and
all are used from the first step on, so losses compare. A moved noise is accepted if its loss falls
on the same levels.

Left out are theta_2, which gives the network another level than the state's, since a schedule has
one level for both; the end of learning that depends on theta_2's rate; and checkpoints, so all
activations are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from methods.grids import pinned
from methods.parts import Artifact, PrepareContext, Schedule, ScheduleParams
from methods.schedules.edm import EDM
from methods.schedules.ld3_unrolled import Unrollable, unrolled
from methods.schedules.search.hand_made import hand_made
from methods.schedules.search.learned_levels import levels_artifact, prepared_levels
from methods.schedules.search.teacher import end, starts
from methods.solvers.heun import Heun


class LD3(Schedule):
    """log s_i = log s_0 + cumsum(softmax(u))_i log(s_N / s_0), u learnt through `solver`.

    The trial may use another.
    """

    name = "ld3"
    summary = "levels learnt by gradients through the sampler, LD3-like (Tong 2025)"
    claim = (
        "The abstract reports FID 2.38 on CIFAR-10 and 2.27 on AFHQv2 at 10 evaluations, after 5 to 10 minutes of "
        "training."
    )
    prepares = True
    prepares_for = ("steps",)

    class Params(ScheduleParams):
        solver: Unrollable = "ddim"
        """The sampler through which levels are learnt, with its default parameters."""
        teacher_steps: int = Field(20, ge=1)
        train_noises: int = Field(50, ge=1)
        validation_noises: int = Field(50, ge=1)
        batch: int = Field(2, ge=1)
        rounds: int = Field(7, ge=1)
        """Passes over the training noises; each starts from the best levels so far."""
        lr: float = Field(5e-3, gt=0)
        momentum: float = Field(0.9, ge=0, lt=1)
        patience: int = Field(5, ge=1)
        """Steps without a better validation loss until the best levels are restored and the rate decays."""
        decay: float = Field(0.8, gt=0, le=1)
        least_lr: float = Field(5e-5, ge=0)
        """Floor of the decayed rate; a rate that starts below it stays as it is."""
        radius: float = Field(1e-3, ge=0)
        """Radius of the soft target's ball, times values of an image / steps^2.

        0: the target is hard.
        """
        noise_rate: float = Field(12.0, gt=0)
        """A noise moves against its gradient at this rate / steps."""

    def prepare(self, context: PrepareContext) -> Artifact:
        """Learn the levels."""
        # pairs of a noise and the teacher's end
        p = self.params
        teacher = EDM().levels(p.teacher_steps, context.sigma_min, context.sigma_max)
        x = starts(context, 0, p.train_noises + p.validation_noises)
        with torch.no_grad():
            pairs = _Pairs(x, end(context.network, Heun(), x, teacher))

        # learn
        learner = _Learner(context, p, pairs.rows(slice(p.train_noises)), pairs.rows(slice(p.train_noises, None)))
        learner.learn()

        return levels_artifact(
            learner.best_levels(),
            objective=learner.losses[learner.best_at],
            objective_at_start=learner.losses[0],
            start=learner.start,
            hand_made=learner.hand_made,
            validation_losses=learner.losses,
        )

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        return prepared_levels(self.name, artifact, steps, sigma_min, sigma_max)


def levels_from_logits(logits: Tensor, sigma_min: float, sigma_max: float) -> Tensor:
    """Return levels float64 [steps + 1] of logits [steps], strictly decreasing between ends that are exact."""
    ends = logits.new_tensor([sigma_max, sigma_min])
    top, bottom = ends.log()
    inner = (top + logits.softmax(0).cumsum(0)[:-1] * (bottom - top)).exp()
    return torch.cat([ends[:1], inner, ends[1:]])


def logits_from_levels(levels: np.ndarray) -> np.ndarray:
    """Return the logits float64 [steps] of levels [steps + 1], the inverse of `levels_from_logits`."""
    gaps = -np.diff(np.log(levels))
    return np.log(gaps / gaps.sum())


def within(moved: Tensor, centre: Tensor, radius: float) -> Tensor:
    """Return states [K, ...] projected onto the ball of this radius around each one's centre."""
    shift = (moved - centre).flatten(1)
    length = shift.norm(dim=1, keepdim=True)
    return centre + (shift * (radius / length.clamp(min=radius))).view_as(moved)


@dataclass
class _Pairs:
    """States at sigma_max and the teacher's final states from them, both [K, ...]."""

    x: Tensor
    target: Tensor

    def rows(self, which: Any) -> _Pairs:
        return _Pairs(self.x[which], self.target[which])


class _Learner:
    """The logits, their best state so far, and the optimiser's steps."""

    def __init__(self, context: PrepareContext, params: Any, train: _Pairs, validation: _Pairs) -> None:
        self._context, self._params, self._train, self._validation = context, params, train, validation

        # logits, those of the best hand-made schedule at first
        self._logits = torch.zeros(context.steps, dtype=torch.float64, device=train.x.device, requires_grad=True)
        self.hand_made: dict[str, float] = {}  # validation loss by schedule
        self.start = self._choose_start()
        self._optimizer = torch.optim.RMSprop([self._logits], lr=params.lr, momentum=params.momentum)

        # the soft target's balls
        self._centres = train.x.clone()
        self._radius = params.radius * train.x[0].numel() / context.steps**2 * context.sigma_max

        # best so far
        self._best, self._worse = self._logits.detach().clone(), 0
        self.losses: list[float] = []  # on validation, the start's first
        self.best_at = 0

    def learn(self) -> None:
        """Take `rounds` passes over the training noises."""
        p, generator = self._params, torch.Generator().manual_seed(self._context.seed)
        self._validate()
        if self._context.steps == 1:
            return

        batches = -(-len(self._train.x) // p.batch)
        for step in self._context.passes(p.rounds * batches):
            # a new round starts from the best levels
            if step % batches == 0:
                order = torch.randperm(len(self._train.x), generator=generator)
                self._restore_best()

            self._step(order[step % batches * p.batch :][: p.batch])
            self._validate()

            # restore and decay
            if self._worse >= p.patience:
                self._restore_best()
                for group in self._optimizer.param_groups:
                    group["lr"] = max(p.decay * group["lr"], min(p.least_lr, p.lr))
            self._context.progress(step + 1, p.rounds * batches, f"loss {self.losses[-1]:.3g}")

    @torch.no_grad()
    def _choose_start(self) -> str:
        """Set the logits to those of the hand-made schedule of least validation loss, and return its name."""
        given = hand_made(self._context.steps, self._context.sigma_min, self._context.sigma_max)
        logits = {name: torch.from_numpy(logits_from_levels(levels)).to(self._logits) for name, levels in given.items()}

        # validation loss of each
        for name, one in logits.items():
            self._logits.copy_(one)
            self.hand_made[name] = self._validation_loss()

        best = min(self.hand_made, key=self.hand_made.__getitem__)
        self._logits.copy_(logits[best])
        return best

    def best_levels(self) -> np.ndarray:
        """Return the levels of least validation loss, float64 [steps + 1]."""
        low, high = self._context.sigma_min, self._context.sigma_max
        return pinned(levels_from_logits(self._best, low, high).cpu().numpy(), low, high)

    def _step(self, rows: Tensor) -> None:
        """Move the logits by one gradient, and the batch's noises where the student's loss is lower."""
        # gradients of noises and logits
        pairs = self._train.rows(rows)
        x = pairs.x.clone().requires_grad_()
        losses = self._loss(x, pairs.target)
        gradient, self._logits.grad = torch.autograd.grad(losses.mean(), (x, self._logits))

        # move the noises inside their balls, if their loss falls
        if self._radius > 0:
            # x is sigma_max times the unit noise that the source moves
            rate = self._params.noise_rate / self._context.steps * self._context.sigma_max**2
            moved = within(pairs.x - rate * gradient, self._centres[rows], self._radius)
            with torch.no_grad():
                better = self._loss(moved, pairs.target) < losses
            self._train.x[rows[better.cpu()]] = moved[better]

        torch.nn.utils.clip_grad_norm_([self._logits], 1.0)
        self._optimizer.step()

    @torch.no_grad()
    def _validate(self) -> None:
        loss = self._validation_loss()
        self._worse += 1
        if not self.losses or loss < self.losses[self.best_at]:
            self._best, self._worse, self.best_at = self._logits.detach().clone(), 0, len(self.losses)
        self.losses.append(loss)

    def _validation_loss(self) -> float:
        return float(self._loss(self._validation.x, self._validation.target).mean())

    @torch.no_grad()
    def _restore_best(self) -> None:
        self._logits.copy_(self._best)
        self._worse = 0

    def _loss(self, x: Tensor, target: Tensor) -> Tensor:
        """Return each pair's mean square distance [K] of the student's final state from the teacher's."""
        levels = levels_from_logits(self._logits, self._context.sigma_min, self._context.sigma_max)
        reached = unrolled(self._params.solver, self._context.network, x, levels)
        return (reached - target).square().flatten(1).mean(1)
