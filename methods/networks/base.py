"""The interface of networks: a module D(x; sigma) with a training loss and a diffusion time."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor, nn

from methods.networks.vp_process import time_without_process

_RANGE_TOLERANCE = 1e-3
"""Relative, for published ends that are rounded."""


@dataclass(frozen=True)
class DataShape:
    """Shape of a data set's images: channels and pixels a side, and the facts of a synthetic data set."""

    channels: int
    resolution: int
    facts: dict[str, Any] = field(default_factory=dict)


class NetworkParams(BaseModel):
    """Parameters of an architecture: typed, validated, and without extra keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma_range: tuple[float, float] | None = None
    """Lowest and highest noise level that it was trained on; without it that of the data set."""

    @model_validator(mode="after")
    def _range_is_known(self) -> NetworkParams:
        if self.sigma_range is not None:
            low, high = self.sigma_range
            if not 0 < low < high < math.inf:
                raise ValueError(f"sigma_range is [{low:g}, {high:g}]; expected a level above 0 and a higher one")
            self._check_range(low, high)
        return self

    def range_within(self, low: float, high: float) -> tuple[float, float]:
        """Return the range that it states, else the given one, which is a data set's.

        Raises ValueError for a given range that leaves the levels of its process.
        """
        if self.sigma_range is not None:
            return self.sigma_range
        self._check_range(low, high)
        return low, high

    def _check_range(self, low: float, high: float) -> None:
        least, most = self.known_levels
        if low < least * (1 - _RANGE_TOLERANCE) or high > most * (1 + _RANGE_TOLERANCE):
            raise ValueError(
                f"levels from {low:g} to {high:g} are asked for, but its process has {least:g} to {most:g}; "
                f"expected a sigma_range inside of that"
            )

    @property
    def known_levels(self) -> tuple[float, float]:
        """Return the levels between which the process has a label for each; by default all above 0."""
        return 0.0, math.inf

    @property
    def fixed_cost(self) -> bool:
        """Whether a call does the same work for every input."""
        return True

    @property
    def class_count(self) -> int:
        """Classes that a conditional network knows; 0 is unconditional."""
        return 0

    @property
    def usual_guided_channels(self) -> int | None:
        """Channels of the estimate that its authors guide, from the first; None: all."""
        return None

    @property
    def has_null_class(self) -> bool:
        """Whether it can be called for no class, as guidance needs."""
        return False


class _SharedClasses:
    """The classes of a call's rows, which a network shares with its copies."""

    of_rows: Tensor | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _SharedClasses:
        return self


class Network(nn.Module):
    """A denoiser network.

    The registry finds subclasses by their family name; workers build and call them.
    """

    family: ClassVar[str]
    summary: ClassVar[str]
    method_family: ClassVar[str] = ""
    """The family of methods under which reports group rows of the whole network; empty for a plain network.

    It decides no result.
    """
    claim: ClassVar[str] = ""
    """What its paper claims, with its figure, in one sentence; empty where there is none. It decides no result."""
    Params: ClassVar[type[NetworkParams]] = NetworkParams
    trainable: ClassVar[bool] = True
    scatters: ClassVar[bool] = True
    """Whether it can be trained with its weights scattered over processes (ZeRO stage 3)."""

    def __init__(self, params: NetworkParams, data: DataShape) -> None:
        super().__init__()
        self.params = params
        self.data = data
        self._row_classes = _SharedClasses()

    @property
    def row_classes(self) -> Tensor | None:
        """The class of each row of the next call, int64 [rows] on the device; `class_count` stands for none.

        None gives no row a class. Copies of a network, such as a method's tuned one, have those of
        the network that they were copied from.
        """
        return self._row_classes.of_rows

    @row_classes.setter
    def row_classes(self, of_rows: Tensor | None) -> None:
        self._row_classes.of_rows = of_rows

    @abstractmethod
    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the clean estimate D(x; sigma) [batch, channels, height, width] for sigma [batch]."""

    def diffusion_time(self, sigma: Tensor) -> Tensor:
        """Return the diffusion time in [0, 1] (0 is data) of levels sigma > 0, any shape, float64.

        By this time methods decide what runs at a level, and it is the tables' `t`. It is that of
        the process in which the network was trained, or of the linear-beta VP process where there
        is none.
        """
        return time_without_process(sigma)

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean training loss of clean images [batch, channels, height, width] in [-1, 1]."""
        raise TypeError(f'network family "{self.family}" is exact and is not trained')

    def flow(self, x: Tensor, sigma_from: float, sigma_to: float) -> Tensor | None:
        """Return the exact probability-flow solution at sigma_to, or None without a closed form."""
        return None
