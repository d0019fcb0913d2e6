"""From the facts of a trial to its sampler: four parts made by name, with what was prepared for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from harness.data.cards import DatasetCard
from harness.handles import artifact_of
from harness.registry import registry
from harness.sampling.noise import ImageNoise
from harness.sampling.sampler import Sampler
from methods.networks.base import Network
from methods.parts import BuiltDenoiser, Denoiser, Executor, Peers, Schedule, Solver


def build_sampler(
    spec: Mapping[str, Any],
    inputs: Mapping[str, Any],
    network: Callable[[], Network],
    device: torch.device,
    built: BuiltDenoiser | None = None,
    noise: ImageNoise | None = None,
    peers: Peers | None = None,
) -> Sampler:
    """Return the sampler that the facts of a trial describe, or one with another denoiser or noise.

    `network` is asked for the trained network unless a denoiser is given; `peers` are the ranks that make each batch
    together with this one.
    """
    card = DatasetCard(**spec["dataset"])
    parts = {p: registry().make(p, facts["name"], facts["params"]) for p, facts in spec["parts"].items()}
    artifacts = {p: artifact_of(inputs, facts.get("artifact_id")) for p, facts in spec["parts"].items()}
    schedule, solver, executor, denoiser = (parts[p] for p in ("schedule", "solver", "executor", "denoiser"))
    assert isinstance(schedule, Schedule)
    assert isinstance(solver, Solver)
    assert isinstance(executor, Executor)
    assert isinstance(denoiser, Denoiser)
    return Sampler(
        denoiser=built or denoiser.build(network(), artifacts["denoiser"]),
        sigmas=schedule.levels(spec["steps"], card.sigma_min, card.sigma_max, artifacts["schedule"]),
        solver=solver,
        executor=executor,
        noise=noise or build_noise(spec),
        device=device,
        precision=spec["precision"],
        peers=peers,
    )


def build_noise(spec: Mapping[str, Any], preparation: bool = False) -> ImageNoise:
    """Return the noise of a sampler's images, or that by which its methods are prepared."""
    card = DatasetCard(**spec["dataset"])
    data = card.shape()
    shape = (data.channels, data.resolution, data.resolution)
    return ImageNoise(card.name, 0 if preparation else spec["seed_set"], shape, preparation)
