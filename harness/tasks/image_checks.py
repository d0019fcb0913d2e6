"""Checks of images as they are made: shape, finite values, more than one grey level, distance to the exact solution."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from harness.sampling.sampler import Sampler
from harness.specs.sample import Distances
from methods.networks.base import Network


class ImageChecks:
    """Checks of shape, finiteness and constancy, and each image's distance to the exact solution.

    Exact is the network's closed form or, where it has none, the reference solution. A tuned network has a second
    one, of its own flow.
    """

    def __init__(self, solution: np.ndarray | None, own: np.ndarray | None) -> None:
        """Take the exact states of the first images [n, ...], if there are any."""
        self.not_finite = 0
        self.first_not_finite: int | None = None
        self.constant = 0
        self.wrong_shape: list[int] | None = None
        self._distance, self._own = _Distance(solution), _Distance(own)

    @property
    def sound(self) -> bool:
        return self.not_finite == 0 and self.wrong_shape is None

    def update(
        self,
        indices: range,
        states: Tensor,
        pictures: Tensor,
        images: Tensor,
        initial: Tensor,
        sampler: Sampler,
        network: Network,
    ) -> None:
        if states.shape != initial.shape:
            self.wrong_shape = list(states.shape)
            return

        if not (_all_finite(states) and (pictures is states or _all_finite(pictures))):
            bad = ~(_are_finite(states) & _are_finite(pictures))
            self.not_finite += int(bad.sum())
            if self.first_not_finite is None:
                self.first_not_finite = indices[int(bad.nonzero()[0])]
        flat = images.flatten(1).numpy()
        self.constant += int((flat == flat[:, :1]).all(1).sum())

        if self.sound:
            follows = not sampler.solver.stochastic
            exact = network.flow(initial, float(sampler.sigmas[0]), float(sampler.sigmas[-1]))
            if exact is not None:
                exact = sampler.finish(sampler.whole_estimate(network, indices), exact)
            self._distance.update(indices, states, exact, follows)
            self._own.update(indices, states, None, follows)

    def distances(self) -> dict[str, Distances]:
        found = {"truncation_error": self._distance.distances(), "own_truncation_error": self._own.distances()}
        return {name: one for name, one in found.items() if one.squared_norms} if self.sound else {}


class _Distance:
    """Squared errors of final states, and squared norms of the exact ones, image by image."""

    def __init__(self, solution: np.ndarray | None) -> None:
        self._solution = solution
        self._errors: list[float] = []
        self._norms: list[float] = []
        self._mismatches: list[float] = []

    def update(self, indices: range, states: Tensor, exact: Tensor | None, follows: bool) -> None:
        """Compare states of these indices with `exact`, or where that is None with the reference solution.

        Those of a solver that follows the flow are also compared with exact states of other images.
        """
        if exact is None and self._solution is not None:
            exact = torch.from_numpy(self._solution[indices.start : indices.stop].copy()).to(states)
        if exact is not None:
            self._errors += _squares(states[: len(exact)] - exact)
            self._norms += _squares(exact)
            if len(exact) > 1 and follows:
                self._mismatches += _squares(states[: len(exact)] - exact.roll(1, 0))

    def distances(self) -> Distances:
        return Distances(squared_errors=self._errors, squared_norms=self._norms, squared_mismatches=self._mismatches)


def _all_finite(rows: Tensor) -> bool:
    """Tell whether no value is NaN or infinite; a sum that overflows has it looked at again, value by value."""
    return math.isfinite(float(rows.sum())) or bool(torch.isfinite(rows).all())


def _are_finite(rows: Tensor) -> Tensor:
    """Tell of each row whether all its values are finite, bool [rows] on the CPU."""
    return torch.isfinite(rows).flatten(1).all(1).cpu()


def _squares(states: Tensor) -> list[float]:
    """Return the sum of squares of each row."""
    return states.double().square().flatten(1).sum(1).tolist()
