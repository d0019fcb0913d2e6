"""Family "dit": DiT (Peebles & Xie 2023, arXiv:2212.09748), a transformer conditioned through adaptive layer norms.

Parameter names are those of the public checkpoints (github.com/facebookresearch/DiT), which load
strictly. Early exit leaves out blocks from the output end backwards; embedders and final layer
always run (Moon et al. 2024, arXiv:2408.05927). The learned variance of the public networks is
computed and not used, since no solver here needs it.

Peebles & Xie 2023, "Scalable Diffusion Models with Transformers" (ICCV, arXiv:2212.09748).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from methods.networks.base import DataShape, NetworkParams
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.transformer import Attention, Mlp, PatchEmbed, sinusoids, unpatchify

_FREQUENCIES = 256


class DiTParams(BlockParams):
    """Size of a DiT."""

    learn_sigma: bool = False
    """Whether the head has a second half for a learned variance, as public checkpoints do."""

    @property
    def exits(self) -> range:
        """Return the numbers of blocks that may be run: 1 to depth."""
        return range(1, self.depth + 1)


def _modulated(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return h * (1 + scale[:, None]) + shift[:, None]


class DiTBlock(nn.Module):
    """Attention and MLP, both residual, each with shift, scale and gate from the conditioning (adaLN-Zero)."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(width, heads, bias=True)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(width, mlp_ratio, approximate="tanh")
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(condition).chunk(6, dim=1)
        h = h + gate1[:, None] * self.attn(_modulated(self.norm1(h), shift1, scale1))
        return h + gate2[:, None] * self.mlp(_modulated(self.norm2(h), shift2, scale2))


class TimeEmbedder(nn.Module):
    """Sinusoids of the noise label through two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, label: Tensor) -> Tensor:
        return self.mlp(sinusoids(label, _FREQUENCIES))


class ClassEmbedder(nn.Module):
    """A table with a row per class, and usually one for no class."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(rows, width)

    def forward(self, classes: Tensor) -> Tensor:
        return self.embedding_table(classes)


class FinalLayer(nn.Module):
    """Modulated layer norm and a linear layer to pixels."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(width, outputs)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(condition).chunk(2, dim=1)
        return self.linear(_modulated(self.norm_final(h), shift, scale))


class DiT(BlockNetwork):
    """N blocks in sequence; exits are the numbers of blocks that run, 1 to N."""

    family: ClassVar[str] = "dit"
    summary: ClassVar[str] = "DiT, a transformer with adaptive layer norms (Peebles 2023), EDM or VP preconditioning"
    Params: ClassVar[type[NetworkParams]] = DiTParams
    params: DiTParams
    fixed: ClassVar[tuple[str, ...]] = ("pos_embed",)

    def __init__(self, params: DiTParams, data: DataShape) -> None:
        super().__init__(params, data)
        width = params.width
        if width % 4:
            raise ValueError(f"width is {width}; expected a multiple of 4, which the position code needs")

        # embedders
        self.outputs = data.channels * (2 if params.learn_sigma else 1)
        self.x_embedder = PatchEmbed(params.patch, data.channels, width)
        self.t_embedder = TimeEmbedder(width)
        if params.classes:
            self.y_embedder = ClassEmbedder(params.embeddings, width)
        self.side = data.resolution // params.patch
        positions = position_code(width, self.side)
        self.pos_embed = nn.Parameter(positions, requires_grad=False)

        # blocks
        self.blocks = nn.ModuleList(DiTBlock(width, params.heads, params.mlp_ratio) for _ in range(params.depth))
        self.final_layer = FinalLayer(width, params.patch**2 * self.outputs)
        self._initialise()

    @property
    def n_blocks(self) -> int:
        return self.params.depth

    def embed(self, scaled: Tensor, label: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return patch tokens, and the sum of the embeddings of time and class."""
        condition = self.t_embedder(self.params.time_scale * label)
        if classes is not None:
            condition = condition + self.y_embedder(classes)
        return self.x_embedder(scaled) + self.pos_embed, condition

    def block(self, i: int, h: Tensor, condition: Tensor | None, skip: Tensor | None) -> Tensor:
        return self.blocks[i](h, condition)

    def head(self, h: Tensor, condition: Tensor | None) -> Tensor:
        image = unpatchify(self.final_layer(h, condition), self.side, self.params.patch, self.outputs)
        return image[:, : self.data.channels]

    def patch_tokens(self, h: Tensor) -> Tensor:
        return h

    def truncated(self, scaled: Tensor, label: Tensor, classes: Tensor | None, kept: Sequence[int]) -> Tensor:
        h, condition = self.embed(scaled, label, classes)
        h = self.blocks[0](h, condition)
        finished: list[Tensor] = []  # rows after their last block, the last rows first
        for block, rows in zip(self.blocks[1:], kept, strict=True):
            if rows < len(h):
                finished.append(h[rows:])
                h = h[:rows]
            if rows == 0:
                break
            h = block(h, condition[:rows])
        return self.head(torch.cat([h, *reversed(finished)]) if finished else h, condition)

    def _initialise(self) -> None:
        """Initialise as the authors do: Xavier, and zeros of adaLN-Zero."""
        # linear layers and embeddings
        for module in self.modules():
            if isinstance(module, nn.Linear):
                _set(module, nn.init.xavier_uniform_)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.flatten(1))
        nn.init.zeros_(cast(Tensor, self.x_embedder.proj.bias))
        for name, parameter in self.named_parameters():
            if name.startswith(("t_embedder.mlp", "y_embedder")) and name.endswith("weight"):
                nn.init.normal_(parameter, std=0.02)

        # adaLN-Zero
        for module in self.modules():
            if isinstance(module, DiTBlock | FinalLayer):
                _set(module.adaLN_modulation[1], nn.init.zeros_)
        _set(self.final_layer.linear, nn.init.zeros_)


def _set(layer: nn.Module, weight: Callable[[Tensor], Any]) -> None:
    """Initialise a linear layer's weight, and its bias with zeros."""
    assert isinstance(layer, nn.Linear)
    weight(layer.weight)
    nn.init.zeros_(layer.bias)


def position_code(width: int, side: int) -> Tensor:
    """Return the fixed position code [1, side², width]: sines and cosines of the column, then of the row."""
    rates = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    rows, columns = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing="ij")
    angles = [place.flatten()[:, None] * rates for place in (columns, rows)]
    return torch.cat([wave for a in angles for wave in (a.sin(), a.cos())], dim=1).float()[None]
