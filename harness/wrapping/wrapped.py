"""Anybody's sampler, not ported: a function that owns schedule and solver and calls the network as it likes.

No paper: the function is the user's.

`sampler(network, noise, steps) -> states`: noise is unit normal [n, channels, height, width] and states have its
shape; `network(x, sigma)` returns D(x; sigma), and is the counted network of every other row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from harness.wrapping.own_draws import own_draws
from harness.wrapping.user_code import find_code, hash_code, load_code
from methods.networks.base import NetworkParams
from methods.parts import Boundary, Executor, Method, Params, Solver, StepNoise, Trace

_OWN = {"schedule": "own", "solver": "own"}


class WrappedParams(Params):
    """What is wrapped, and the digests by which its results are known."""

    python: str = ""
    """FILE.py:NAME, the file relative to the working folder."""
    sha256: str = ""
    """Of the file and what it imports of its own folder; filled in."""
    libraries: dict[str, str] = Field(default_factory=dict)
    """Versions of the libraries that it imports; filled in."""

    @model_validator(mode="before")
    @classmethod
    def _know_the_code(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("python"), str):
            return given
        path, _ = find_code(given["python"])
        sha256, libraries = hash_code(path)
        if given.get("sha256", sha256) != sha256:
            raise ValueError(f"{path} changed since this was planned; run it again")
        return {**given, "sha256": sha256, "libraries": libraries}


class WrappedNetwork:
    """The network as a wrapped sampler sees it: counted, with the levels between which it was trained."""

    def __init__(self, evaluate: Boundary, sigmas: np.ndarray, levels: list[float], dtype: torch.dtype) -> None:
        self.sigma_max, self.sigma_min = float(sigmas[0]), float(sigmas[-1])
        self.called = False
        self._evaluate, self._last_step = evaluate, len(sigmas) - 2
        self._levels, self._dtype = levels, dtype

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Return D(x; sigma), sigma one level above 0 or one per row [n]; ValueError for a level that is none."""
        self.called = True
        each = torch.as_tensor(sigma, dtype=torch.float64).detach().cpu().reshape(-1)
        if len(each) not in (1, len(x)) or not bool((torch.isfinite(each) & (each > 0)).all()):
            raise ValueError(f"the network was called at {sigma}; expected a finite level above 0, or one per row")
        level = float(each.max())
        if level not in self._levels:
            self._levels.append(level)
        step = min(self._levels.index(level), self._last_step)
        return self._evaluate(x.to(self._dtype), each if len(each) > 1 else level, step)


class Wrapped(Executor):
    """Hands noise and network to the user's function; it decides everything else."""

    name = "wrapped"
    summary = "your own sampler(network, noise, steps), not ported: python = FILE.py:NAME"
    method_family = "wrapped"
    Params = WrappedParams

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self._levels: list[float] = []

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        if not self.params.python:
            return 'it wraps nothing yet; name your function as python = "FILE.py:NAME"'
        found = {part: parts[part].name for part in _OWN}
        if found != _OWN:
            return f'a wrapped sampler owns both; expected schedule = "own" and solver = "own", found {found}'
        return None

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return False

    def visited_levels(self, sigmas: np.ndarray) -> np.ndarray:
        """Return the levels at which the function called the network, as many as steps, and the last once more."""
        seen = self._levels[: len(sigmas) - 1]
        if not seen:
            return sigmas
        return np.array(seen + [min(seen[-1], float(sigmas[-1]))] * (len(sigmas) - len(seen)))

    def run(
        self, evaluate: Boundary, solver: Solver, sigmas: np.ndarray, x: Tensor, noise: StepNoise, trace: Trace
    ) -> Tensor:
        evaluate.init_memory(len(x))
        sampler = load_code(self.params.python, self.params.sha256)
        network = WrappedNetwork(evaluate, sigmas, self._levels, x.dtype)
        unit = x / float(sigmas[0])

        with own_draws(unit, noise, lambda: network.called):
            states = sampler(network, unit.clone(), len(sigmas) - 1)
        if not isinstance(states, Tensor):
            found = type(states).__name__
            raise TypeError(f"{self.params.python} returned a {found}; expected a tensor {list(x.shape)} of states")
        return states.to(x.device, x.dtype)
