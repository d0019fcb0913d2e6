"""Methods that break one promise each, as a plug-in: every process that has this folder in its path finds them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict
from torch import Tensor

from methods.denoisers.full import Full
from methods.executors.serial import Serial
from methods.networks.base import Network
from methods.parts import Artifact, Boundary, BuiltDenoiser, Params, Solver, StepNoise, Trace, Units
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM
from methods.solvers.dpmpp_2m import DPMPP2M


def register_toys(folder: Path) -> str:
    """Write the metadata of a package with these methods into a folder; return it as an entry of a path."""
    info = folder / "check_toys-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: check-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness.methods]\ncheck-toys = kit.check_toys\n")
    return str(folder)


# Solvers.


class Euler(DDIM):
    """Euler's step under another name."""

    name = "toy-euler"
    summary = "Euler's step, as it is"


class Undescribed(DDIM):
    name = "toy-undescribed"
    summary = "two\nlines"


class LooseParams(DDIM):
    """Its parameters take anything."""

    name = "toy-loose"

    class Params(Params):
        model_config = ConfigDict(extra="allow", frozen=False)


class WrongTypes(DDIM):
    """Declares an order that is no number, and a preparation for what does not exist."""

    name = "toy-types"
    order = "second"  # type: ignore[assignment]
    prepares_for = ("weather",)


class WritesState(DDIM):
    """Changes the state that it is given."""

    name = "toy-writes"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        found = super().step(x, *args)
        x.mul_(0.5)
        return found


class Narrows(DDIM):
    """Returns float32 for float64."""

    name = "toy-narrows"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        return super().step(x, *args).float()


class CallsTwice(DDIM):
    """Evaluates twice and declares one evaluation."""

    name = "toy-twice"

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Any, memory: Any, noise: Any) -> Tensor:
        denoise(x, float(sigmas[i]))
        return super().step(x, i, sigmas, denoise, memory, noise)


class SecretNoise(DDIM):
    """Draws noise and does not declare it."""

    name = "toy-secret-noise"

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Any, memory: Any, noise: Any) -> Tensor:
        return super().step(x, i, sigmas, denoise, memory, noise) + 1e-3 * noise(i)


class Remembers(DPMPP2M):
    """Keeps the outputs of all trajectories together."""

    name = "toy-remembers"

    def init_memory(self, artifact: Artifact | None) -> list[Tensor]:
        vars(self).setdefault("kept", [])
        return self.kept  # type: ignore[attr-defined,no-any-return]


class FirstOrder(DDIM):
    """Declares an order that it does not have."""

    name = "toy-first-order"
    order = 2


class Raises(DDIM):
    """Fails in its second step."""

    name = "toy-breaks"

    def step(self, x: Tensor, i: int, *args: Any) -> Tensor:
        if i == 1:
            raise ZeroDivisionError("one step\nis broken")
        return super().step(x, i, *args)


class BatchMean(DDIM):
    """Moves each image towards the mean of its batch."""

    name = "toy-batch-mean"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        found = super().step(x, *args)
        return found + 1e-3 * (found.mean(0, keepdim=True) - found)


class CountsBatches(DDIM):
    """Makes other images with every step that its process takes."""

    name = "toy-counts"
    steps: ClassVar[int] = 0

    def step(self, x: Tensor, *args: Any) -> Tensor:
        type(self).steps += 1
        return super().step(x, *args) + 1e-3 * self.steps


class ReadsProcess(DDIM):
    """Makes other images in every process."""

    name = "toy-process"

    def step(self, x: Tensor, *args: Any) -> Tensor:
        return super().step(x, *args) + 0.01 * (os.getpid() % 97)


# Schedules.


class OtherEnds(EDM):
    """Ends at 0."""

    name = "toy-ends"

    def levels(self, steps: int, *args: Any) -> np.ndarray:
        found = super().levels(steps, *args)
        found[-1] = 0.0
        return found


class Rises(EDM):
    """Two levels change places."""

    name = "toy-rises"

    def levels(self, steps: int, *args: Any) -> np.ndarray:
        found = super().levels(steps, *args)
        if steps > 2:
            found[[1, 2]] = found[[2, 1]]
        return found


class SinglePrecision(EDM):
    """Returns float32."""

    name = "toy-single"

    def levels(self, *args: Any) -> np.ndarray:
        return super().levels(*args).astype(np.float32)


class TakesAnything(EDM):
    """Refuses nothing."""

    name = "toy-anything"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        return np.linspace(sigma_max, sigma_min, steps + 1)


class Choosy(EDM):
    """Has no grid of less than 5 steps."""

    name = "toy-choosy"

    def levels(self, steps: int, *args: Any) -> np.ndarray:
        if steps < 5:
            raise ValueError("fewer than 5 steps")
        return super().levels(steps, *args)


# Denoisers.


class Whole(Full):
    """The whole network under another name."""

    name = "toy-whole"


class Unnamed(Full):
    """Counts a unit that `units()` does not name."""

    name = "toy-unnamed"

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return _Counted(network, {"half": 1})


class FractionalUnits(Full):
    """Counts half a network."""

    name = "toy-half"

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return _Counted(network, {"network": torch.full((3,), 0.5)})


class ForgetsToSay(Full):
    """Remembers earlier calls, and its class does not declare it."""

    name = "toy-forgets"

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        built = _Counted(network, {"network": 1})
        built.has_memory = True  # type: ignore[misc]
        return built


class _Counted(BuiltDenoiser):
    """The network, with counts as given."""

    def __init__(self, network: Network, counts: Mapping[str, Any]) -> None:
        self.network, self.counts = network, counts

    def init_memory(self, rows: int) -> list[Tensor]:
        return []

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        return self.network(x, sigma), self.counts

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"network": self.network}


# Executors.


class InTurn(Serial):
    """The serial executor under another name."""

    name = "toy-serial"


class LosesNoise(Serial):
    """Takes the noise of step 0 in every step."""

    name = "toy-same-noise"

    def run(
        self, evaluate: Boundary, solver: Solver, sigmas: np.ndarray, x: Tensor, noise: StepNoise, trace: Trace
    ) -> Tensor:
        return super().run(evaluate, solver, sigmas, x, lambda step: noise(0), trace)
