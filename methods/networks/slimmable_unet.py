"""Family "slimmable-unet": one U-Net whose channel prefixes are narrower U-Nets.

DDSM (Yang et al. 2024, arXiv:2310.03337); slimmable networks are of Yu et al. 2019
(arXiv:1812.08928). A width w keeps the first c(w) channels of every layer, so one set of weights
holds a denoiser of every width. The network's inputs and outputs and the sinusoid of the noise
level are never sliced, the number of norm groups stays, and attention has one head over all c(w)
channels. A decoder block's input, its state followed by a skip, is sliced as a whole: the weights
[:o, :i] read its first channels.

Yu et al. 2019, "Slimmable Neural Networks" (ICLR, arXiv:1812.08928).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from methods.networks.base import DataShape, NetworkParams
from methods.networks.preconditioning import Draws
from methods.networks.unet import Positive, UNet, UNetParams, diffusers_config

Width = Annotated[float, Field(gt=0, le=1)]


class SlimmableUNetParams(UNetParams):
    """Size of the full U-Net, and the widths that can run."""

    widths: tuple[Width, ...] = (1.0, 0.75, 0.5, 0.25)
    """Shares of the channels, from all of them (1.0) to the fewest."""
    round_to: Positive = 8
    """Channels of a width are rounded to a multiple of this."""
    head_channels: None = None

    def channels_at(self, width: float) -> tuple[int, ...]:
        """Return c(width) of every level.

        Raises ValueError for a width that is not among `widths`.
        """
        if width not in self.widths:
            raise ValueError(f"width is {width}; expected one of widths = {list(self.widths)}")
        return tuple(c if width == 1 else rounded(c * width, self.round_to) for c in self.channels)

    @model_validator(mode="after")
    def _slims(self) -> SlimmableUNetParams:
        if self.widths[:1] != (1.0,) or any(a <= b for a, b in zip(self.widths, self.widths[1:], strict=False)):
            raise ValueError(f"widths are {list(self.widths)}; expected 1.0 first and each smaller than the one before")

        wider = self.channels
        for width in self.widths[1:]:
            # whole norm groups
            channels = self.channels_at(width)
            # a decoder's norms have channels of two levels: multiples add up to multiples
            wrong = [c for c in channels if c % self.norm_groups]
            if wrong:
                raise ValueError(
                    f"width {width} has channels {wrong}, expected multiples of norm_groups = {self.norm_groups}; "
                    "lower norm_groups, or change channels, widths or round_to"
                )

            # fewer channels than the width before
            if channels == wider or any(c > w for c, w in zip(channels, wider, strict=True)):
                raise ValueError(
                    f"width {width} has channels {list(channels)} after {list(wider)}, expected fewer; "
                    f"lower round_to = {self.round_to} or leave this width out"
                )
            wider = channels
        return self


class SlimmableUNet(UNet):
    """A U-Net, in `inner`, of which every width of `params.widths` can run alone."""

    family: ClassVar[str] = "slimmable-unet"
    summary: ClassVar[str] = "U-Net whose channel prefixes are networks too (DDSM, Yang 2024), sandwich training"
    scatters: ClassVar[bool] = False
    Params: ClassVar[type[NetworkParams]] = SlimmableUNetParams
    params: SlimmableUNetParams

    def __init__(self, params: SlimmableUNetParams, data: DataShape) -> None:
        super().__init__(params, data)
        self._shapes = {name: weight.shape for name, weight in self.inner.named_parameters()}
        with torch.device("meta"):  # in a plain dict, so that they are not submodules
            self._twins = {width: _narrow_model(params, data, width) for width in params.widths[1:]}

    def raw(self, scaled: Tensor, label: Tensor, width: float = 1.0) -> Tensor:
        """Return F [batch, channels, height, width] from the first c(width) channels of every layer."""
        if width == 1:
            return super().raw(scaled, label)
        self.channels_at(width)
        twin, weights = self._twins[width], self._prefix(width)
        return _run(lambda *args: torch.func.functional_call(twin, weights, args), self.params, scaled, label)

    def channels_at(self, width: float) -> tuple[int, ...]:
        """Return the channels of every level at a width of `params.widths`.

        Raises ValueError for any other.
        """
        return self.params.channels_at(width)

    @torch.inference_mode(False)
    def narrow(self, width: float) -> nn.Module:
        """Return a separate network (scaled, label) to F, equal to `raw` at this width, for sampling.

        Its weights are contiguous copies in this network's format and on its device.
        """
        self.channels_at(width)
        if width == 1:
            return _Narrow(copy.deepcopy(self.inner), self.params)
        model = copy.deepcopy(self._twins[width])
        weights = {name: weight.detach().clone() for name, weight in self._prefix(width).items()}
        model.load_state_dict(weights, assign=True)
        model.requires_grad_(next(self.parameters()).requires_grad)
        return _Narrow(model, self.params)

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Sequence[Tensor]:
        """Return noise levels [batch] and unit noise [shape] of the full, the narrowest and a middle width.

        Where there are middle widths, the index of the one drawn follows as a constant tensor
        [batch].
        """
        n = len(self.params.widths)
        found = [draw for _ in range(min(n, 3)) for draw in self.preconditioning.draws(shape, generator)]
        if n > 2:
            found.append(torch.randint(1, n - 1, (1,), generator=generator).expand(shape[0]))
        return found

    def loss_of(self, images: Tensor, draws: Sequence[Tensor]) -> Tensor:
        """Return the sum of the drawn widths' mean losses (sandwich rule, Yu & Huang 2019, arXiv:1903.05134)."""
        total = images.new_zeros(())
        for width, drawn in zip(self._sandwich(draws), zip(draws[::2], draws[1::2], strict=False), strict=True):
            total = total + self.preconditioning.loss(self._at(width), images, Draws(*drawn), self.dtype)
        return total

    def train(self, mode: bool = True) -> SlimmableUNet:
        """Set the mode of every width."""
        for twin in getattr(self, "_twins", {}).values():
            twin.train(mode)
        return super().train(mode)

    def _at(self, width: float) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda scaled, label: self.raw(scaled, label, width)

    def _sandwich(self, draws: Sequence[Tensor]) -> tuple[float, ...]:
        """Return the widths that a training step runs, the full one first."""
        widths = self.params.widths
        if len(widths) < 3:
            return widths
        return widths[0], widths[-1], widths[int(draws[-1][0])]

    def _prefix(self, width: float) -> dict[str, Tensor]:
        """Return the weights of a narrower width, with the same results to the bit as copies of them.

        So they are contiguous, no inference tensors, and require gradients as the full weights do:
        torch selects kernels by all three.
        """
        # whole weights, not shards
        full = dict(self.inner.named_parameters())
        for name, weight in full.items():
            if weight.shape != self._shapes[name]:
                raise ValueError(
                    f'weight "{name}" has shape {list(weight.shape)}, expected {list(self._shapes[name])}: '
                    "a slimmable network needs whole weights; train it with zero_stage 0, 1 or 2"
                )

        # their prefixes
        with_graph = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(with_graph):
            return {
                name: full[name][tuple(map(slice, twin.shape))].contiguous().requires_grad_(full[name].requires_grad)
                for name, twin in self._twins[width].named_parameters()
            }


class _Narrow(nn.Module):
    """One width with separate weights, for inference."""

    def __init__(self, model: nn.Module, params: SlimmableUNetParams) -> None:
        super().__init__()
        self.model, self._params = model, params
        self.eval()

    def forward(self, scaled: Tensor, label: Tensor) -> Tensor:
        """Return F [batch, channels, height, width] of a scaled input and labels [batch]."""
        return _run(self.model, self._params, scaled, label)


def rounded(value: float, multiple: int) -> int:
    """Return the multiple nearest to `value`, halves up.

    The next one where that is below nine tenths of it.
    """
    found = max(1, math.floor((value + multiple / 2) / multiple) * multiple)
    return found + multiple if found < 0.9 * value else found


def _run(model: Callable[..., Any], params: SlimmableUNetParams, scaled: Tensor, label: Tensor) -> Tensor:
    folded = pixel_unshuffle(scaled, params.patch)
    raw = model(folded.contiguous(memory_format=torch.channels_last), params.time_scale * label)
    return pixel_shuffle(raw.sample, params.patch)


def _narrow_model(params: SlimmableUNetParams, data: DataShape, width: float) -> nn.Module:
    """Return the U-Net of a width's channels, with the full network's sinusoid of the noise level."""
    from diffusers import UNet2DModel

    model = UNet2DModel(**{**diffusers_config(params, data), "block_out_channels": params.channels_at(width)})
    model.time_proj.num_channels = params.channels[0]
    model.time_embedding.linear_1 = nn.Linear(params.channels[0], model.time_embedding.linear_1.out_features)
    return model
