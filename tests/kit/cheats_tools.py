"""What the cheats of this folder have in common: the base class, hidden sampling, and what they look at."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from harness.sampling.noise import ImageNoise
from methods.denoisers.full import Full
from methods.networks.base import Network
from methods.parts import BuiltDenoiser, StepNoise, Units
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM

IMAGES, BATCH = 200, 50
"""What every suite of cheats samples."""
SIGMA_MIN, SIGMA_MAX = 0.002, 20.0
Call = Callable[[Tensor, Tensor], Tensor]
"""A network or what runs it: (x [batch, ...], sigma [batch]) to D(x; sigma)."""


class Cheat:
    """A method that a run must not let pass. The first sentence of its docstring says how it cheats."""

    rules: ClassVar[tuple[str, ...]]
    """Names of the rules that must stand among its row's reasons."""
    steps: ClassVar[int] = 4
    summary: ClassVar[str] = "a cheat of the tests"


class CheatingSolver(Cheat, DDIM):
    """An honest DDIM until a subclass changes it."""


class CheatingDenoiser(Cheat, Full):
    """A whole network until a subclass changes it; one step, since a single call is what they want to show."""

    steps = 1


class ClaimsOneCall(BuiltDenoiser):
    """Runs any call, and reports one run of the whole network."""

    def __init__(self, network: Network, call: Call) -> None:
        self.network, self.call = network, call

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        return self.call(x, sigma), {"network": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"network": self.network}


def solve(call: Call, x: Tensor, sigma: float = SIGMA_MAX, steps: int = 8) -> Tensor:
    """Return the state at the lowest level from x at `sigma`, by Euler steps on EDM's levels."""
    levels = EDM().levels(steps, SIGMA_MIN, sigma)
    for s, s_next in itertools.pairwise(levels):
        ratio = float(s_next / s)
        x = ratio * x + (1 - ratio) * call(x, torch.full((len(x),), float(s), dtype=torch.float64))
    return x


def solve_from(call: Call, x: Tensor, sigma: Tensor) -> Tensor:
    """Return that state from x at sigma [batch], of which all are equal."""
    return solve(call, x, float(sigma[0]))


def scored_noise() -> Tensor:
    """Return the unit noise of all scored images [200, 1, 8, 8], drawn anew: it is a function of public numbers."""
    return ImageNoise("digits", 0, (1, 8, 8)).draw_initial(range(IMAGES))


_finals: WeakKeyDictionary[Network, Tensor] = WeakKeyDictionary()


def scored_images(network: Network) -> Tensor:
    """Return good final states of all scored images [200, 1, 8, 8], solved once for a network, outside of any count."""
    if network not in _finals:
        with torch.no_grad():
            _finals[network] = solve(network, SIGMA_MAX * scored_noise(), steps=12)
    return _finals[network]


def indices_of(noise: StepNoise) -> list[int]:
    """Return the global indices of a batch, read out of the function that draws its noise."""
    cells = dict(zip(noise.__code__.co_freevars, noise.__closure__ or (), strict=True))  # type: ignore[attr-defined]
    return list(cells["indices"].cell_contents)


def is_called_by(module: str) -> bool:
    """Return whether a function of this module stands on the stack."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == module:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def row_keys(x: Tensor) -> list[bytes]:
    """Return the bytes of each row."""
    return [np.ascontiguousarray(row).tobytes() for row in x.cpu().numpy()]
