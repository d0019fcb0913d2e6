"""Samplers of other people: diffusers' schedulers in their own loops, and functions that misbehave."""

from __future__ import annotations

import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

CALLS = [0]


def _sample(scheduler: Any, network: Any, noise: Tensor, steps: int) -> Tensor:
    scheduler.set_timesteps(steps)
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        a = float(scheduler.alphas_cumprod[t])
        clean = network(x / a**0.5, ((1 - a) / a) ** 0.5)
        x = scheduler.step((x - a**0.5 * clean) / (1 - a) ** 0.5, t, x).prev_sample
    return x


def by_ddim(network: Any, noise: Tensor, steps: int) -> Tensor:
    return _sample(DDIMScheduler(clip_sample=False, timestep_spacing="leading"), network, noise, steps)


def by_dpmpp(network: Any, noise: Tensor, steps: int) -> Tensor:
    return _sample(DPMSolverMultistepScheduler(final_sigmas_type="zero"), network, noise, steps)


def by_unipc(network: Any, noise: Tensor, steps: int) -> Tensor:
    return _sample(UniPCMultistepScheduler(final_sigmas_type="zero"), network, noise, steps)


def dpmpp_leading(network: Any, noise: Tensor, steps: int) -> Tensor:
    scheduler = _LeadingDPM(final_sigmas_type="zero")
    return _sample(scheduler, network, noise, steps)


def unipc_leading(network: Any, noise: Tensor, steps: int) -> Tensor:
    scheduler = _LeadingUniPC(final_sigmas_type="zero")
    return _sample(scheduler, network, noise, steps)


class _Leading:
    """A multistep scheduler on the levels of DDIM's scheduler: with "leading" its own spacing is another."""

    timesteps: Tensor
    sigmas: Tensor
    alphas_cumprod: Tensor

    def set_timesteps(self, steps: int) -> None:
        super().set_timesteps(steps)  # type: ignore[misc]
        self.timesteps = torch.arange(steps).flip(0) * (1000 // steps)
        kept = self.alphas_cumprod[self.timesteps]
        self.sigmas = torch.cat([((1 - kept) / kept) ** 0.5, torch.zeros(1)])


class _LeadingDPM(_Leading, DPMSolverMultistepScheduler):
    pass


class _LeadingUniPC(_Leading, UniPCMultistepScheduler):
    pass


class _AsUnet(torch.nn.Module):
    """The network as a pipeline of diffusers calls it: noise in the state of DDPM's table, by its step."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, network: Any, kept: Tensor, noise: Tensor) -> None:
        super().__init__()
        self.network, self.kept = network, kept
        self.config = SimpleNamespace(in_channels=noise.shape[1], sample_size=noise.shape[-1])

    def forward(self, x: Tensor, t: Tensor) -> Any:
        a = float(self.kept[int(t)])
        clean = self.network(x / a**0.5, ((1 - a) / a) ** 0.5)
        return SimpleNamespace(sample=(x - a**0.5 * clean) / (1 - a) ** 0.5)


def by_pipeline(network: Any, noise: Tensor, steps: int) -> Tensor:
    """A whole pipeline, which draws its first state itself."""
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="leading")
    pipeline = DDIMPipeline(_AsUnet(network, scheduler.alphas_cumprod, noise), scheduler)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(batch_size=len(noise), num_inference_steps=steps, output_type="np").images
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(noise) * 2 - 1


def own_euler(network: Any, noise: Tensor, steps: int) -> Tensor:
    ramp = np.arange(steps + 1) / steps
    ends = network.sigma_max ** (1 / 7), network.sigma_min ** (1 / 7)
    levels = (ends[0] + ramp * (ends[1] - ends[0])) ** 7
    x = noise * levels[0]
    for high, low in pairwise(levels):
        clean = network(x, float(high))
        x = clean + float(low / high) * (x - clean)
    return x


def draws_start(network: Any, noise: Tensor, steps: int) -> Tensor:
    return own_euler(network, torch.randn(noise.shape), steps)


def draws_in_numpy(network: Any, noise: Tensor, steps: int) -> Tensor:
    drawn = np.random.default_rng().standard_normal(noise.shape)
    return own_euler(network, torch.from_numpy(drawn).to(noise), steps)


def wrong_shape(network: Any, noise: Tensor, steps: int) -> Tensor:
    return own_euler(network, noise, steps)[..., :-1]


def not_finite(network: Any, noise: Tensor, steps: int) -> Tensor:
    return own_euler(network, noise, steps) * float("nan")


def raises(network: Any, noise: Tensor, steps: int) -> Tensor:
    raise RuntimeError("no such thing")


def returns_list(network: Any, noise: Tensor, steps: int) -> Any:
    return own_euler(network, noise, steps).tolist()


def other_count(network: Any, noise: Tensor, steps: int) -> Tensor:
    CALLS[0] += 1
    return own_euler(network, noise, steps + CALLS[0] % 3)


def is_slow(network: Any, noise: Tensor, steps: int) -> Tensor:
    time.sleep(0.02)
    return own_euler(network, noise, steps)


def level_zero(network: Any, noise: Tensor, steps: int) -> Tensor:
    return network(noise, 0.0)  # type: ignore[no-any-return]


not_callable = 7
