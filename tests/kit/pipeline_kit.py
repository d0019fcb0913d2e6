"""Pipelines of other people, with networks of their own: diffusers' DDIM, one with a cache, and some that misbehave."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel
from torch import Tensor

SIDE = 8
CALLS = [0]
KEPT: dict[bytes, Tensor] = {}


@cache
def pipeline_of(side: int) -> DDIMPipeline:
    """Return a pipeline with random weights, the same in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=side,
            in_channels=1,
            out_channels=1,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        )
    found = DDIMPipeline(network, DDIMScheduler())
    found.set_progress_bar_config(disable=True)
    return found


def ddim_pipeline(noise: Tensor, steps: int) -> Any:
    """Draws its first state itself; PIL pictures, as diffusers returns them."""
    return pipeline_of(SIDE)(batch_size=len(noise), num_inference_steps=steps).images


def ddim_array(noise: Tensor, steps: int) -> Any:
    return pipeline_of(SIDE)(batch_size=len(noise), num_inference_steps=steps, output_type="np").images


def ddpm_pipeline(noise: Tensor, steps: int) -> Any:
    """Adds noise at every step, which it draws itself."""
    return pipeline_of(SIDE)(batch_size=len(noise), num_inference_steps=steps, eta=1.0, output_type="np").images


def by_scheduler(noise: Tensor, steps: int) -> Tensor:
    """The same as `ddim_pipeline`, from the noise that it is given."""
    own = pipeline_of(SIDE)
    own.scheduler.set_timesteps(steps)
    x = noise
    for t in own.scheduler.timesteps:
        x = own.scheduler.step(own.unet(x, t).sample, t, x).prev_sample
    return (x / 2 + 0.5).clamp(0, 1)


def cached_pipeline(noise: Tensor, steps: int) -> Tensor:
    """Patched by a toy of a feature cache: the inner blocks run at every second step only."""
    inner = pipeline_of(SIDE).unet.mid_block
    kept: list[Tensor] = []
    plain = inner.forward

    def cached(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if len(kept) % 2 == 0:
            kept.append(plain(x, *args, **kwargs))
            return kept[-1]
        kept.append(kept[-1])
        return kept[-1]

    inner.forward = cached
    try:
        return by_scheduler(noise, steps)
    finally:
        del inner.forward


def nearest_kept(noise: Tensor, steps: int) -> Tensor:
    """Returns the images of the nearest noise of the first batches that it saw, without making them again."""
    seen = KEPT.setdefault(b"first", torch.zeros(0, *noise.shape[1:]))
    if len(seen) < 40:
        KEPT[b"first"] = torch.cat([seen, noise])
        return by_scheduler(noise, steps)
    return by_scheduler(seen[torch.cdist(noise.flatten(1), seen.flatten(1)).argmin(1)], steps)


def kept_batches(noise: Tensor, steps: int) -> Tensor:
    """Keeps images by the noise of the whole batch, so that single images and other batches are made anew."""
    key = noise.numpy().tobytes()
    if key not in KEPT:
        KEPT[key] = by_scheduler(noise, steps)
    return KEPT[key]


def kept_unless_watched(noise: Tensor, steps: int) -> Tensor:
    """The same, but works honestly while a counter of torch is open."""
    if torch._C._len_torch_dispatch_stack():
        return by_scheduler(noise, steps)
    return kept_batches(noise, steps)


def wrong_shape(noise: Tensor, steps: int) -> Tensor:
    return by_scheduler(noise, steps)[..., :-1]


def fewer_images(noise: Tensor, steps: int) -> Tensor:
    return by_scheduler(noise, steps)[1:]


def not_finite(noise: Tensor, steps: int) -> Tensor:
    return by_scheduler(noise, steps) * float("nan")


def other_range(noise: Tensor, steps: int) -> Tensor:
    return by_scheduler(noise, steps) * 2 - 1


def other_count(noise: Tensor, steps: int) -> Tensor:
    CALLS[0] += 1
    return by_scheduler(noise, steps + CALLS[0] % 3)


def raises(noise: Tensor, steps: int) -> Tensor:
    raise RuntimeError("no such thing")


def returns_none(noise: Tensor, steps: int) -> None:
    by_scheduler(noise, steps)


def draws_in_numpy(noise: Tensor, steps: int) -> Tensor:
    drawn = np.random.default_rng().standard_normal(noise.shape)
    return by_scheduler(torch.from_numpy(drawn).to(noise), steps)


def no_operators(noise: Tensor, steps: int) -> Tensor:
    return noise.sigmoid()
