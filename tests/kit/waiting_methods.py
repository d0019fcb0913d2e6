"""Every shipped method that runs while images are made, with how often the host may wait for the device in it.

A wait is allowed only where a rule needs it: a method that decides by what the device computed must read it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from harness.config.network_card import load_network_card
from harness.sampling.network import build_network
from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from kit import block_kit
from kit.toy_context import ToyContext
from methods.denoisers.adadiff import AdaDiff
from methods.denoisers.ddsm import DDSM
from methods.denoisers.deep_cache import DeepCache
from methods.denoisers.early_exit import EarlyExit
from methods.denoisers.full import Full
from methods.denoisers.l2c import L2C
from methods.denoisers.missing_u import MissingU
from methods.denoisers.smooth_cache import SmoothCache
from methods.denoisers.step_cache import StepCache
from methods.denoisers.taylor_cache import TaylorCache
from methods.executors.paradigms import ParaDiGMS
from methods.executors.serial import Serial
from methods.executors.srds import SRDS
from methods.networks.base import DataShape, Network
from methods.parts import Artifact, Denoiser, Executor, Solver
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.deis import DEIS
from methods.solvers.dpm_v3 import DPMSolverV3
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.dpmpp_3m import DPMPP3M
from methods.solvers.heun import Heun
from methods.solvers.heun_churn import HeunChurn
from methods.solvers.ipndm import IPNDM
from methods.solvers.pfdiff import PFDiff
from methods.solvers.sa_solver import SASolver
from methods.solvers.unipc import UniPC

STEPS, ROWS, DEPTH = 6, 3, 4
BLOCKS = DEPTH + 1
"""Of a U-ViT, with the one in its middle."""


@dataclass(frozen=True)
class Case:
    """A method on a small network, and the waits that it may have."""

    name: str
    network: str = "uvit"
    denoiser: Denoiser = field(default_factory=Full)
    solver: Solver = field(default_factory=DDIM)
    executor: Executor = field(default_factory=Serial)
    per_call: int = 0
    """Waits that a call of the network may have."""
    per_refinement: int = 0
    """Waits that a refinement of a parallel executor may have."""
    why: str = ""
    on_stand_in: bool = True
    """False where torch needs to know the device's own kernels; a GPU is needed then."""

    def artifact(self, network: Network) -> Artifact | None:
        """Return what preparing the denoiser leaves, as little as it can be."""
        if not self.denoiser.prepares:
            return None
        context = ToyContext(network, steps=STEPS, solver=self.solver)
        begins = self.denoiser.begins_with()
        context.base_artifact = None if begins is None else begins.prepare(context)
        return self.denoiser.prepare(context)

    def sampler(self, network: Network, artifact: Artifact | None, device: torch.device) -> Sampler:
        """Return the sampler of a network that is on the device."""
        noise = ImageNoise("toy", 0, (1, 8, 8))
        levels = EDM().levels(STEPS, 0.02, 10.0)
        built = self.denoiser.build(network, artifact)
        return Sampler(built, levels, self.solver, self.executor, noise, device, network=network)


def make_network(name: str) -> Network:
    """Return a small network with weights that all matter, on the host."""
    if name in block_kit.FAMILIES:
        return block_kit.network(name, depth=DEPTH)
    torch.manual_seed(0)
    found = build_network(load_network_card(name), DataShape(1, 8))
    for parameter in found.parameters():  # the last layer of a fresh one is 0
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return found.eval().requires_grad_(False)


def _solver(made: Callable[..., Solver], **params: Any) -> Case:
    return Case(made.name, solver=made(**params))  # type: ignore[attr-defined]


CASES = (
    *(_solver(one) for one in (DDIM, Heun, DPMPP2M, DPMPP3M, DEIS, IPNDM, UniPC, DDPM, HeunChurn)),
    *(_solver(one) for one in (SASolver, PFDiff, DPMSolverV3)),
    *(Case(f"full on {name}", name) for name in ("dit", "unet-tiny")),
    Case("early-exit", denoiser=EarlyExit(schedule="steep", tune_steps=0)),
    Case("early-exit tuned", denoiser=EarlyExit(schedule="steep", tune_steps=2, tune_batch=4)),
    Case("ddsm", "slim-8", DDSM(widths=(1.0, 0.5) * 3)),
    Case("deep-cache", "unet-8", DeepCache(interval=2)),
    Case("taylor-cache", denoiser=TaylorCache(interval=2)),
    Case("smooth-cache", denoiser=SmoothCache()),
    Case("l2c", denoiser=L2C(trajectories=4, tune_steps=2, tune_batch=4)),
    Case("missing-u", "cunet-8", MissingU(), on_stand_in=False),
    Case(
        "step-cache", denoiser=StepCache(), per_call=1,
        why="which rows run whole follows from their tokens",
    ),
    Case(
        "step-cache by the first block", denoiser=StepCache(indicator="first-block"), per_call=1,
        why="which rows run whole follows from their tokens",
    ),
    Case(
        "adadiff", denoiser=AdaDiff(tune_steps=2, tune_batch=4, theta=0.5), per_call=BLOCKS - 1,
        why="which rows leave after a block follows from their uncertainty there",
    ),
    Case(
        "adadiff by mean depth", denoiser=AdaDiff(tune_steps=2, tune_batch=4, theta=0.5, rule="mean-depth"),
    ),
    Case(
        "srds", executor=SRDS(form="vanilla"), per_refinement=5,
        why="a sample stops by how far its final state moved",
    ),
    Case(
        "srds batched", executor=SRDS(form="batched"), per_refinement=9,
        why="a sample stops by how far its final state moved, and leaves the batch",
    ),
    Case(
        "paradigms", executor=ParaDiGMS(), per_refinement=24,
        why="how far a window moves on follows from how far its states moved; the host keeps the windows' places",
    ),
)  # fmt: skip
