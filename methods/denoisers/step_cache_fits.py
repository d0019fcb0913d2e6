"""What threshold caches fit beforehand: TeaCache's polynomial of changes, SeaCache's power law of images.

Liu et al. 2024 (arXiv:2411.19108); SeaCache (arXiv:2602.18993).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from methods.networks.blocks import BlockNetwork
from methods.networks.branches import attention_input, run_blocks
from methods.parts import BuiltDenoiser, Units

_DEGREE = 4
_TINY = 1e-12


def relative_change(now: Tensor, before: Tensor) -> Tensor:
    """Return sum|now - before| / sum|before| of each row, float64 [rows]."""
    rows = len(now)
    change = (now - before).reshape(rows, -1).abs().sum(1, dtype=torch.float64)
    return change / before.reshape(rows, -1).abs().sum(1, dtype=torch.float64).clamp(min=_TINY)


class FittedChange(NamedTuple):
    """A polynomial from the change of the indicator to that of the output, and the share that it explains."""

    coefficients: tuple[float, ...]
    """Of powers 0, 1, ..."""
    r2: float

    def predicted(self, change: Tensor) -> Tensor:
        """Return p(change) of each row, at least 0."""
        total = torch.zeros_like(change)
        for coefficient in reversed(self.coefficients):
            total = total * change + coefficient
        return total.clamp(min=0)

    def as_facts(self) -> dict[str, Any]:
        """Return it as facts of an artifact."""
        return {"coefficients": list(self.coefficients), "r2": self.r2}


def fit_change(inputs: Sequence[float], outputs: Sequence[float]) -> FittedChange:
    """Return the least-squares polynomial of degree 4 from one sequence to the other, in float64."""
    x, y = np.asarray(inputs, dtype=np.float64), np.asarray(outputs, dtype=np.float64)
    powers = np.vander(x, _DEGREE + 1, increasing=True)
    coefficients = np.linalg.lstsq(powers, y, rcond=None)[0]
    spread = float(((y - y.mean()) ** 2).sum())
    left = float(((y - powers @ coefficients) ** 2).sum())
    return FittedChange(tuple(float(c) for c in coefficients), 1 - left / spread if spread > 0 else 0.0)


class ChangeRecorder(BuiltDenoiser):
    """The whole network, with the relative changes from call to call of its first input and of its last tokens."""

    has_memory = True

    def __init__(self, network: BlockNetwork) -> None:
        self.network = network
        self.calls = 0
        """Calls of the last trajectory."""
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []

    def init_memory(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        self.calls = 0
        return []

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        (before,) = memory
        self.calls += 1

        def run(scaled: Tensor, label: Tensor) -> Tensor:
            h, condition = self.network.embed(scaled, label, self.network.classes_of(len(scaled)))
            out = run_blocks(self.network, h, condition, 0, {})
            now = attention_input(self.network, 0, h, condition), out
            if before:
                self._inputs.append(relative_change(now[0], before[0][0]))
                self._outputs.append(relative_change(now[1], before[0][1]))
            before[:] = [now]
            return self.network.head(out, condition)

        return self.network.denoised(run, x, sigma), {"full": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"full": self.network}

    def fit(self) -> FittedChange:
        """Return the polynomial through what was recorded."""
        return fit_change(torch.cat(self._inputs).tolist(), torch.cat(self._outputs).tolist())


def spectrum_of(images: Tensor) -> dict[str, float]:
    """Return A and beta of A / |f|^beta, f in cycles a pixel, by least squares of the logarithms.

    The power of unit noise is 1. Images are [n, channels, side, side].
    """
    power = torch.fft.fft2(images.double()).abs().square().mean((0, 1)) / images.shape[-1] ** 2
    radius = _radii(images.shape[-1])
    seen = (radius > 0) & (power > 0)
    x, y = radius[seen].log().numpy(), power[seen].log().numpy()
    slope, height = np.polyfit(x, y, 1)
    return {"amplitude": float(np.exp(height)), "beta": float(-slope)}


class WienerGain:
    """S / (S + sigma²) over the frequencies of a state, divided by its mean."""

    def __init__(self, facts: Mapping[str, Any], side: int, device: torch.device) -> None:
        radius = _radii(side)
        power = facts["amplitude"] / radius.pow(facts["beta"]).clamp(min=_TINY)
        self._inverse = torch.where(radius > 0, 1 / power, 0.0).to(device)

    def gain(self, sigma: float) -> Tensor:
        """Return it at a level, float64 [side, side]; at frequency 0 it is the largest."""
        found = 1 / (1 + sigma**2 * self._inverse)
        return found / found.mean()

    def filter_state(self, x: Tensor, sigma: float) -> Tensor:
        """Return x / (1 + sigma) filtered, [rows, channels, side * side]: flow coordinates, as the authors'."""
        spectrum = torch.fft.fft2((x / (1 + sigma)).float())
        return torch.fft.ifft2(spectrum * self.gain(sigma).float()).real.flatten(2)


def _radii(side: int) -> Tensor:
    """Return |f| of a square image's frequencies in cycles a pixel, float64 [side, side]."""
    one = torch.fft.fftfreq(side, dtype=torch.float64)
    return (one[:, None] ** 2 + one[None] ** 2).sqrt()
