"""The model of time of a parallel executor: how long its batch would take on so many devices.

All of it runs on a worker after the timed rounds, in no timing but its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from methods.parts import Evaluate, Solver, StepNoise


class ReplayedTime:
    """What an executor adds that can say how long it would take on other numbers of devices. All of it is optional."""

    name: ClassVar[str]

    def device_counts(self, sigmas: np.ndarray) -> tuple[int, ...]:
        """Return the numbers of devices to replay, ascending, its own among them; none if it has no model of time."""
        return ()

    def call_as_in_run(
        self,
        evaluate: Evaluate,
        solver: Solver,
        sigmas: np.ndarray,
        x: Tensor,
        steps: Sequence[int],
        noise: StepNoise,
    ) -> None:
        """Call the network as `run` does with a state at each of these steps of the grid, for a model of time.

        x is one image's state [1, channels, height, width]; what comes out is of no use.
        """
        raise NotImplementedError(f'executor "{self.name}" has no model of its time')

    def replayed(
        self,
        solver: Solver,
        sigmas: np.ndarray,
        iterations: int,
        devices: int,
        call_seconds: Callable[[Sequence[int]], float],
        hop_seconds: float,
        rows: int = 1,
    ) -> float:
        """Return virtual seconds: what one batch of `rows` images would take, by the executor's model of time.

        Each image takes `iterations` refinements, on `devices` devices; a call of the network with a row at each of
        some steps takes `call_seconds(steps)`, and a state from one device to another `hop_seconds`.
        """
        raise NotImplementedError(f'executor "{self.name}" has no model of its time')
