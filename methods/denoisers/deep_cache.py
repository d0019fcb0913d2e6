"""DeepCache: between whole calls of a U-Net only its outer levels run, on what the inner ones gave last.

Ma, Fang, Wang 2024, "DeepCache: Accelerating Diffusion Models for Free" (CVPR, arXiv:2312.00858).
A whole call keeps U, the feature that enters the up path of the outer `levels` levels. A cached
call runs the down path of these levels without the last downsampler, the up path from there on
with the kept U, and the ends; its time embedding is current. Whole calls are every `interval`-th
from the start (1:N in the paper), or lie closer around a `centre` (section 3.4). Ours: levels are
those of resolution, where the authors' branch counts residual blocks; calls are counted, where
their code looks up the timestep, which Heun's solver calls twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from methods.denoisers.cached_calls import guidance_refusal, interval_refusal, planned_calls, visited_levels
from methods.networks.base import Network, NetworkParams
from methods.networks.diffusers_unet import DiffusersUNet, DiffusersUNetParams, called_classes
from methods.networks.preconditioning import RawNetwork
from methods.networks.unet import UNet, UNetParams
from methods.parts import Artifact, BuiltDenoiser, Denoiser, DenoiserParams, Method, PrepareContext, Units

_POWER_STEP = 0.02


class DeepCache(Denoiser):
    name = "deep-cache"
    summary = "outer levels of a U-Net between whole calls: DeepCache (Ma, Fang, Wang 2024)"
    method_family = "feature cache"
    claim = (
        "The authors report a speed-up of 2.3 for Stable Diffusion 1.5 with a CLIP score lower by 0.05, and of 4.1 for "
        "LDM-4-G on ImageNet with an FID higher by 0.22."
    )
    families = ("unet", "diffusers-unet")
    has_memory = True
    sampling_only = ("levels",)

    class Params(DenoiserParams):
        interval: int = Field(default=3, ge=1)
        """Calls from one whole call to the next, or, with a centre, on average; 1 runs all of them whole."""
        levels: int = Field(default=1, ge=1)
        """Levels of resolution that always run, from the outermost."""
        centre: float | None = Field(default=None, ge=0)
        """Number of the call around which whole calls lie closest; without it they are evenly spaced."""
        power: float = Field(default=1.2, ge=1)
        """How much closer, read with a centre: calls c + sign(u) |u|^power for evenly spaced u."""

        @model_validator(mode="after")
        def _power_is_read(self) -> DeepCache.Params:
            if self.centre is None and self.power != 1.2:
                raise ValueError("power is read with a centre alone; give a centre or no power")
            return self

    @property
    def prepares(self) -> bool:  # type: ignore[override]
        """Return whether it counts a trajectory's calls beforehand, which runs no network."""
        return self.params.centre is not None

    @property
    def prepares_for(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("steps", "schedule", "solver") if self.prepares else ()

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        p, calls = self.params, planned_calls(parts, steps)
        if why := interval_refusal(p.interval, calls) or guidance_refusal(p):
            return why
        if p.centre is not None and p.centre >= calls:
            return f"centre is {p.centre:g}, and a trajectory's calls are numbered 0 to {calls - 1}; give one of these"
        assert isinstance(network, UNetParams | DiffusersUNetParams)  # `families` admits no other
        there = len(_channels(network))
        if p.levels >= there:
            return f"levels is {p.levels} of the {there} of the network, which leaves none to keep; give fewer"
        return None

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return network.fixed_cost

    def prepare(self, context: PrepareContext) -> Artifact:
        """Return the numbers of the whole calls around the centre."""
        p, calls = self.params, len(visited_levels(context))
        return Artifact(facts={"calls": calls, "whole": whole_around(p.centre, calls, p.interval, p.power)})

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert isinstance(network, UNet | DiffusersUNet)
        interval, whole = self.params.interval, None if artifact is None else set(artifact.facts["whole"])
        is_whole = (lambda k: k % interval == 0) if whole is None else whole.__contains__
        return _Outer(network, self.params.levels, is_whole)


def whole_around(centre: float, calls: int, interval: int, power: float) -> list[int]:
    """Return the numbers of ceil(calls / interval) whole calls, closest around `centre`, the first of them 0.

    They are floor(c + sign(u) |u|^p) of evenly spaced u. p begins at `power` and is lowered until
    all are different, at the latest at 1, where they are evenly spaced.
    """
    count = -(-calls // interval)
    while True:
        low, high = -(centre ** (1 / power)), (calls - centre) ** (1 / power)
        u = np.linspace(low, high, count + 1)[:-1]
        found = np.floor(centre + np.sign(u) * np.abs(u) ** power + 1e-9).astype(int)
        found[0] = 0
        if len(np.unique(found)) == count or power <= 1:
            return sorted({int(k) for k in found})
        power = max(1.0, power - _POWER_STEP)


@dataclass
class _Kept:
    """What a whole call left for those after it, and the number of the next call."""

    entering: Tensor | None = None
    calls: int = 0


class _Outer(BuiltDenoiser):
    has_memory = True

    def __init__(self, network: UNet | DiffusersUNet, levels: int, is_whole: Callable[[int], bool]) -> None:
        """`is_whole` is by the number of the call, from 0."""
        self.network, self._levels, self._is_whole = network, levels, is_whole

    def init_memory(self, rows: int) -> _Kept:
        return _Kept()

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        (mine,) = memory
        whole = self._is_whole(mine.calls)
        mine.calls += 1

        def run(image: Tensor, embedding: Tensor) -> Tensor:
            out, mine.entering = run_unet(
                self.network.inner, image, embedding, self._levels, None if whole else mine.entering
            )
            return out

        return self.network.denoised(self._raw(run), x, sigma), {"full" if whole else "cached": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        channels = _channels(self.network.params)[self._levels]

        def cached(image: Tensor, embedding: Tensor) -> Tensor:
            side = image.shape[-1] // 2 ** (self._levels - 1)
            return run_unet(
                self.network.inner, image, embedding, self._levels, image.new_zeros(len(image), channels, side, side)
            )[0]

        return {"full": self.network, "cached": partial(self.network.denoised, self._raw(cached))}

    def _raw(self, run: Callable[[Tensor, Tensor], Tensor]) -> RawNetwork:
        """Return the raw network around `run`, a function of the folded image and the embedding of time and class."""
        network, patch = self.network, getattr(self.network.params, "patch", 1)

        def raw(scaled: Tensor, label: Tensor) -> Tensor:
            classes = called_classes(network, len(scaled))
            image = pixel_unshuffle(scaled, patch).contiguous(memory_format=torch.channels_last)
            return pixel_shuffle(
                run(image, _embedding(network.inner, network.params.time_scale * label, classes)), patch
            )

        return raw


def run_unet(
    inner: Any, image: Tensor, embedding: Tensor, levels: int, entering: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the output of diffusers' UNet2DModel, and what enters the up path of its `levels` outer levels.

    Given the latter of an earlier call, only the outer levels run. `embedding` is that of time and
    class, [rows, width].
    """
    # down
    h = inner.conv_in(2 * image - 1.0 if inner.config.center_input_sample else image)
    saved = [h]
    for block in inner.down_blocks if entering is None else inner.down_blocks[: levels - 1]:
        h, outputs = block(hidden_states=h, temb=embedding)
        saved += outputs

    # the last level that runs, without its downsampler; or the middle
    if entering is not None:
        saved += _residuals(inner.down_blocks[levels - 1], h, embedding)
        h = entering
    elif inner.mid_block is not None:
        h = inner.mid_block(h, embedding)

    # up
    for place in range(levels if entering is not None else len(inner.up_blocks), 0, -1):
        block = inner.up_blocks[-place]
        if place == levels:
            entering = h
        count = len(block.resnets)
        h = block(h, tuple(saved[-count:]), embedding)
        del saved[-count:]

    assert entering is not None
    return inner.conv_out(inner.conv_act(inner.conv_norm_out(h))), entering


def _residuals(block: Any, h: Tensor, embedding: Tensor) -> Sequence[Tensor]:
    """Return the outputs of a down block's residual blocks, each with its attention if it has one."""
    found: list[Tensor] = []
    attentions = getattr(block, "attentions", None)
    for j, resnet in enumerate(block.resnets):
        h = resnet(h, embedding)
        h = h if attentions is None else attentions[j](h)
        found.append(h)
    return found


def _embedding(inner: Any, label: Tensor, classes: Tensor | None) -> Tensor:
    """Return the embedding of time and class, as UNet2DModel makes it."""
    embedding = inner.time_embedding(inner.time_proj(label).to(inner.dtype))
    if inner.class_embedding is None:
        return embedding
    return embedding + inner.class_embedding(classes).to(inner.dtype)


def _channels(params: UNetParams | DiffusersUNetParams) -> Sequence[int]:
    return params.channels if isinstance(params, UNetParams) else params.block_out_channels
