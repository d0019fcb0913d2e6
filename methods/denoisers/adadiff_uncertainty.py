"""AdaDiff's uncertainty modules, and the losses that train them together with their network.

Tang et al. 2024 (ECCV, arXiv:2309.17074), sections 3.2 and 3.3. Where the authors' code differs
from the equations, the code decides. The modules learn errors in noise-prediction space, whatever
the preconditioning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods.networks.blocks import BlockNetwork
from methods.networks.preconditioning import Draws
from methods.networks.transformer import sinusoids, unpatchify


class Uncertainty(nn.Module):
    """One linear head per block: a certainty in (0, 1) for each pixel and channel, from that block's patch tokens.

    Tokens are detached, so heads never train the network. With `concat` the embedding of the noise
    label is appended to each token, as in the paper's text; the authors' code has no such input.
    """

    scales: Tensor | None = None
    """Divisors [blocks] of the tokens during training; ours.

    A raw residual stream grows from block to block, on uvit-8 from 3 to 390. Adam moves every
    weight by about its rate, so a rate that suits the first head saturates the last.
    """

    def __init__(self, network: BlockNetwork, concat: bool) -> None:
        super().__init__()
        width, patch, channels = network.params.width, network.params.patch, network.data.channels
        self._width, self._patch, self._channels, self._concat = width, patch, channels, concat
        self._side = network.data.resolution // patch
        self.heads = nn.ModuleList(
            nn.Linear(width * (2 if concat else 1), patch**2 * channels) for _ in range(network.n_blocks)
        )
        for name, parameter in self.heads.named_parameters():
            nn.init.trunc_normal_(parameter, std=0.02) if name.endswith("weight") else nn.init.zeros_(parameter)

    def certainty(self, i: int, tokens: Tensor, label: Tensor) -> Tensor:
        """Return c after block i: [rows, n, patch² channels] of patch tokens [rows, n, width] and labels [rows]."""
        tokens = tokens.detach() if self.scales is None else tokens.detach() / self.scales[i]
        if self._concat:
            time = sinusoids(label, tokens.shape[2])[:, None].expand_as(tokens)
            tokens = torch.cat([tokens, time], dim=2)
        return self.heads[i](tokens).sigmoid()

    @torch.no_grad()
    def fold_scales(self) -> None:
        """Fold the scales into the weights, with the same certainties from unscaled tokens."""
        if self.scales is not None:
            for i, scale in enumerate(self.scales):
                self.heads.get_parameter(f"{i}.weight")[:, : self._width] /= scale
        self.scales = None

    def mean(self, i: int, tokens: Tensor, label: Tensor) -> Tensor:
        """Return the mean uncertainty u = 1 - c of each row after block i, float32 [rows] (float64 stays)."""
        certainty = self.certainty(i, tokens, label)
        wide = torch.float64 if certainty.dtype == torch.float64 else torch.float32
        return 1 - certainty.to(wide).mean((1, 2))

    def image(self, certainty: Tensor) -> Tensor:
        """Return certainties as images [rows, channels, height, width]."""
        return unpatchify(certainty, self._side, self._patch, self._channels)


class Losses(NamedTuple):
    """L_simple, L_u and L_UAL, each a mean over the batch, and the weights w [blocks] of L_UAL."""

    simple: Tensor
    uncertainty: Tensor
    layers: Tensor
    weights: Tensor


def _here(value: Tensor) -> Tensor:
    """Return a mean over the batch where one device has all of it."""
    return value


def losses(
    network: BlockNetwork,
    heads: Uncertainty,
    images: Tensor,
    draws: Draws,
    layers_teach: str = "network",
    mean: Callable[[Tensor], Tensor] = _here,
) -> Losses:
    """Return the three losses of clean images [batch, ...]; the shared head reads every block.

    `mean` turns a mean over these images into that over all devices' (`PrepareContext.mean`).
    """
    problem = network.regression(images, draws)
    outputs, certainties = every_exit(network, heads, problem.scaled, problem.label)
    return layer_losses(outputs, certainties, problem.target, problem.in_noise, layers_teach, mean)


def true_uncertainty(outputs: Tensor, target: Tensor, in_noise: Tensor) -> Tensor:
    """Return tanh|e_i - eps| of raw outputs [blocks, batch, ...] (as in DuoDiff, arXiv:2410.09633, equation 6)."""
    return (in_noise * (outputs - target)).abs().tanh()


@torch.no_grad()
def token_scales(network: BlockNetwork, images: Tensor, draws: Draws) -> Tensor:
    """Return the root mean square of the patch tokens after every block, float32 [blocks]."""
    problem = network.regression(images, draws)
    depths, _ = _every_depth(network, problem.scaled, problem.label)
    return torch.stack([network.patch_tokens(h).float().square().mean().sqrt() for h in depths])


def layer_losses(
    outputs: Tensor,
    certainties: Tensor,
    target: Tensor,
    in_noise: Tensor,
    layers_teach: str = "network",
    mean: Callable[[Tensor], Tensor] = _here,
) -> Losses:
    """Return the losses of outputs and certainties [blocks, batch, channels, height, width].

    The target of a certainty is 1 minus the true uncertainty, detached. L_UAL weighs each layer's
    error by its mean certainty over the batch, normalised over layers. If it trains the network
    alone, those weights are detached, and heads learn nothing but their target; `both` is the
    authors' code. It is a product of means over the batch, so each is taken over all devices.
    """
    # errors, and the certainties that they call for
    errors = outputs - target
    wanted = 1 - true_uncertainty(outputs, target, in_noise).detach()

    # weights of the layers
    squares = mean((errors**2).flatten(1).mean(1))
    certain = mean(certainties.flatten(1).mean(1))
    weights = certain / certain.sum()
    weights = weights if layers_teach == "both" else weights.detach()

    return Losses(
        simple=(errors[-1] ** 2).mean(),
        uncertainty=((certainties - wanted) ** 2).mean(),
        layers=(weights * squares).sum(),
        weights=weights,
    )


def every_exit(network: BlockNetwork, heads: Uncertainty, scaled: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return raw outputs and certainties after every block, both [blocks, batch, channels, height, width].

    A conditional network gets no class. One call of the shared head serves all blocks.
    """
    depths, condition = _every_depth(network, scaled, label)
    certainties = [heads.image(heads.certainty(i, network.patch_tokens(h), label)) for i, h in enumerate(depths)]
    n = len(depths)
    outputs = network.head(torch.cat(depths), None if condition is None else condition.repeat(n, 1))
    return outputs.unflatten(0, (n, -1)), torch.stack(certainties)


def _every_depth(network: BlockNetwork, scaled: Tensor, label: Tensor) -> tuple[list[Tensor], Tensor | None]:
    """Return the tokens after every block, and the head's condition; without a class."""
    nothing = label.new_full((len(label),), network.params.classes, dtype=torch.long)
    h, condition = network.embed(scaled, label, nothing if network.params.classes else None)
    depths: list[Tensor] = []
    for i in range(network.n_blocks):
        source = network.reads(i)
        h = network.block(i, h, condition, None if source is None else depths[source])
        depths.append(h)
    return depths, condition
