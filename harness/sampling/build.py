"""Builds what runs from plain specs: a network with its weights, a method, a whole sampler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from harness.identity import content_hash
from harness.registry import registry
from harness.sampling.decoder import LatentDecoder, build_decoder
from harness.sampling.deployed import deploy_modules, deploy_network
from harness.sampling.device_levels import keep_levels_on_device
from harness.sampling.network import build_network, data_shape
from harness.sampling.noise import ImageNoise
from harness.sampling.numerics import state_dtype
from harness.sampling.place import Place
from harness.sampling.sampler import Sampler
from harness.specs.base import deciding_fields
from harness.specs.prepare import PrepareOutput
from harness.specs.sampler import DecoderSpec, Mode, ModelSpec, PartSpec, SamplerSpec
from harness.task import Result
from methods.networks.base import Network
from methods.parts import Artifact, Denoiser, Executor, Peers, Schedule, Solver


def build_sampler(spec: SamplerSpec, inputs: Mapping[str, Any], place: Place, peers: Peers | None = None) -> Sampler:
    """Return the sampler of a spec; `peers` are the ranks that make each batch together with this one."""
    denoiser, schedule = make_denoiser(spec.denoiser), make_schedule(spec.schedule)
    denoiser.artifact = artifact_of(inputs, spec.denoiser.artifact_id)
    schedule.artifact = artifact_of(inputs, spec.schedule.artifact_id)
    data = spec.model.data
    network = load_network(spec.model, inputs, place, spec.mode)
    built = denoiser.build(network, denoiser.artifact)
    if spec.mode == "deployed":
        deploy_modules(built, place.device)
    sigmas = schedule.levels(spec.steps, spec.sigma_min, spec.sigma_max, schedule.artifact)
    decodes = spec.decoder is not None and (peers is None or peers.rank == 0)

    return Sampler(
        denoiser=built,
        sigmas=sigmas,
        solver=make_solver(spec.solver, inputs),
        executor=make_executor(spec.executor, inputs),
        noise=ImageNoise(data.name, spec.seed_set, data.state_shape),
        device=place.device,
        precision=spec.model.precision,
        mode=spec.mode,
        peers=peers,
        initial_scale=schedule.initial_scale(sigmas) if spec.initial_scale is None else spec.initial_scale,
        denoises_last=schedule.denoises_last,
        # what images are of, and what makes pictures of them
        network=network,
        classes=spec.classes,
        guidance=denoiser.guidance,
        decoder=load_decoder(spec.decoder, inputs, place) if decodes else None,
    )


def load_decoder(spec: DecoderSpec | None, inputs: Mapping[str, Any], place: Place) -> LatentDecoder | None:
    """Return the decoder of latents on the device, float32, cached there between tasks; None for no spec."""
    if spec is None:
        return None

    def load() -> LatentDecoder:
        decoder = build_decoder(spec.params, spec.batch)
        weights = inputs[spec.weights_id].tensors
        decoder.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
        return decoder.to(place.device, torch.float32).eval().requires_grad_(False)

    return place.models.get(content_hash(deciding_fields(spec)), load)


def load_network(model: ModelSpec, inputs: Mapping[str, Any], place: Place, mode: Mode = "reproducible") -> Network:
    """Return a network with its trained weights on the device, in eval mode, cached there between tasks.

    Each mode has its own: one that is deployed is compiled.
    """

    def load() -> Network:
        network = build_network(model.network, data_shape(model.data))
        if model.weights_id is not None:
            weights = inputs[model.weights_id].tensors
            network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
        network = network.to(place.device, state_dtype(model.precision)).eval().requires_grad_(False)
        keep_levels_on_device(network, place.device)
        if mode == "deployed":
            deploy_network(network, place.device)
        return network

    return place.models.get(f"{content_hash(deciding_fields(model))} {mode}", load)


def make_denoiser(spec: PartSpec) -> Denoiser:
    """Return the denoiser of a name, with its parameters."""
    return registry().make("denoiser", spec.name, spec.params)


def make_schedule(spec: PartSpec) -> Schedule:
    """Return the schedule of a name, with its parameters."""
    return registry().make("schedule", spec.name, spec.params)


def make_solver(spec: PartSpec, inputs: Mapping[str, Any]) -> Solver:
    """Return the solver of a name, with its parameters and its artifact."""
    made = registry().make("solver", spec.name, spec.params)
    made.artifact = artifact_of(inputs, spec.artifact_id)
    return made


def make_executor(spec: PartSpec, inputs: Mapping[str, Any]) -> Executor:
    """Return the executor of a name, with its parameters and its artifact."""
    made = registry().make("executor", spec.name, spec.params)
    made.artifact = artifact_of(inputs, spec.artifact_id)
    return made


def artifact_of(inputs: Mapping[str, Any], task_id: str | None) -> Artifact | None:
    """Return the artifact of a preparation by its id; None for a part that needs none."""
    return None if task_id is None else as_artifact(inputs[task_id])


def as_artifact(result: Result) -> Artifact:
    """Return the artifact in a preparation's result, its tensors on the CPU."""
    assert isinstance(result.output, PrepareOutput)
    return Artifact({n: torch.from_numpy(v.copy()) for n, v in result.tensors.items()}, result.output.artifact)
