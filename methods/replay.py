"""A parallel executor's model of time: how long a batch would take on other numbers of devices.

All of it is called on a worker after the timed rounds; only the calls of the network are timed,
one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from methods.parts import Evaluate, Solver, StepNoise


class ReplayedTime:
    """An executor's model of its time on other numbers of devices. All of it is optional."""

    name: ClassVar[str]

    def device_counts(self, sigmas: np.ndarray) -> tuple[int, ...]:
        """Return the numbers of devices to replay, ascending, with its own.

        None without a model of time.
        """
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
        """Call the network as `run` does, with a state at each of these steps of the grid.

        Its time is measured.

        x is one image's state [1, channels, height, width]. The output is dropped.
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
        """Return virtual seconds of one batch of `rows` images, by the executor's model of time.

        Each image takes `iterations` refinements, on `devices` devices. A call of the network with
        a row at each of some steps takes `call_seconds(steps)`; the transfer of a state between
        devices takes `hop_seconds`.
        """
        raise NotImplementedError(f'executor "{self.name}" has no model of its time')
