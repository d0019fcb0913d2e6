"""Family "uvit": U-ViT (Bao et al. 2023, arXiv:2209.12152), a transformer with long skips between its two halves.

Parameter names are those of the public checkpoints (github.com/baofff/U-ViT), which load strictly.
Early exit may leave out only attention and MLP of decoder blocks, from the output end backwards.
Encoder, middle block and every `skip_linear` always run (Moon et al. 2024, arXiv:2408.05927,
figure 8).

Bao et al. 2023, "All are Worth Words: A ViT Backbone for Diffusion Models" (CVPR,
arXiv:2209.12152).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from methods.networks.base import DataShape, NetworkParams
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.transformer import Attention, Mlp, PatchEmbed, sinusoids, unpatchify


class UViTParams(BlockParams):
    """Size of a U-ViT; `depth` counts encoder and decoder blocks without the middle one, as in the paper."""

    mlp_time_embed: bool = False
    init_std: float = Field(default=0.02, gt=0)
    """Standard deviation of the initial linear weights.

    The authors' value suits widths of 512 and more.
    """
    position_std: float = Field(default=0.02, gt=0)
    """Standard deviation of the initial position code."""
    zero_branches: bool = False
    """Initialises attention and MLP of every block with zero: a short training begins with the skips alone.

    Ours.
    """
    conv: bool = True
    """Whether a 3x3 convolution follows the last linear layer."""

    @property
    def exits(self) -> range:
        """Return the numbers of decoder bodies that may run: 0 to depth / 2."""
        return range(self.depth // 2 + 1)

    @model_validator(mode="after")
    def _two_halves(self) -> UViTParams:
        if self.depth % 2:
            raise ValueError(f"depth is {self.depth}; expected an even number, half encoder and half decoder")
        return self


class UViTBlock(nn.Module):
    """Attention and MLP, both residual, after layer norms; a decoder block first merges a skip."""

    def __init__(self, params: UViTParams, skip: bool) -> None:
        super().__init__()
        width = params.width
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, params.heads, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, params.mlp_ratio, approximate="none")
        self.skip_linear = nn.Linear(2 * width, width) if skip else None

    def merge(self, h: Tensor, skip: Tensor) -> Tensor:
        """Return W [h ; skip] + b."""
        assert self.skip_linear is not None
        return self.skip_linear(torch.cat([h, skip], dim=-1))

    def body(self, h: Tensor) -> Tensor:
        """Return h after attention and MLP."""
        h = h + self.attn(self.norm1(h))
        return h + self.mlp(self.norm2(h))


class UViT(BlockNetwork):
    """K encoder blocks, a middle block, K decoder blocks.

    Exits are the decoder bodies that run, 0 to K.
    """

    family: ClassVar[str] = "uvit"
    summary: ClassVar[str] = "U-ViT, a transformer with long skips (Bao 2023), EDM or VP preconditioning"
    Params: ClassVar[type[NetworkParams]] = UViTParams
    params: UViTParams

    def __init__(self, params: UViTParams, data: DataShape) -> None:
        super().__init__(params, data)
        width, half = params.width, params.depth // 2

        # embeddings
        self.patch_embed = PatchEmbed(params.patch, data.channels, width)
        self.time_embed = (
            nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
            if params.mlp_time_embed
            else nn.Identity()
        )
        if params.classes:
            self.label_emb = nn.Embedding(params.embeddings, width)
        self.extras = 2 if params.classes else 1
        self.side = data.resolution // params.patch
        self.pos_embed = nn.Parameter(torch.zeros(1, self.extras + self.side**2, width))

        # blocks
        self.in_blocks = nn.ModuleList(UViTBlock(params, skip=False) for _ in range(half))
        self.mid_block = UViTBlock(params, skip=False)
        self.out_blocks = nn.ModuleList(UViTBlock(params, skip=True) for _ in range(half))

        # head
        self.norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, params.patch**2 * data.channels)
        self.final_layer = nn.Conv2d(data.channels, data.channels, 3, padding=1) if params.conv else nn.Identity()

        # initial weights
        nn.init.normal_(self.pos_embed, std=params.position_std)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=params.init_std, a=-2, b=2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if params.zero_branches:
            for block in self._every_block():
                nn.init.zeros_(block.attn.proj.weight)
                nn.init.zeros_(block.mlp.fc2.weight)

    @property
    def n_blocks(self) -> int:
        return self.params.depth + 1

    def embed(self, scaled: Tensor, label: Tensor, classes: Tensor | None) -> tuple[Tensor, None]:
        """Return tokens of the class, if any, of time and of patches."""
        time = self.time_embed(sinusoids(self.params.time_scale * label, self.params.width))
        tokens = [time[:, None], self.patch_embed(scaled)]
        if classes is not None:
            tokens.insert(0, self.label_emb(classes)[:, None])
        return torch.cat(tokens, dim=1) + self.pos_embed, None

    def reads(self, i: int) -> int | None:
        """Return the encoder block mirrored by decoder block i."""
        mirrored = self.params.depth - i
        return mirrored if mirrored < self.params.depth // 2 else None

    def block(self, i: int, h: Tensor, condition: Tensor | None, skip: Tensor | None) -> Tensor:
        block = self._numbered(i)
        return block.body(h if skip is None else block.merge(h, skip))

    def head(self, h: Tensor, condition: Tensor | None) -> Tensor:
        pixels = self.patch_tokens(self.decoder_pred(self.norm(h)))
        image = unpatchify(pixels, self.side, self.params.patch, self.data.channels)
        return self.final_layer(image)

    def patch_tokens(self, h: Tensor) -> Tensor:
        return h[:, self.extras :]

    def truncated(self, scaled: Tensor, label: Tensor, classes: Tensor | None, kept: Sequence[int]) -> Tensor:
        # encoder and middle
        h, _ = self.embed(scaled, label, classes)
        skips = []
        for i in range(len(self.in_blocks)):
            h = self._numbered(i).body(h)
            skips.append(h)
        h = self.mid_block.body(h)

        # decoder: every skip, and bodies of the rows that run them
        for j, rows in enumerate(kept):
            block = self._numbered(len(self.in_blocks) + 1 + j)
            h = block.merge(h, skips.pop())  # for rows of any depth
            if rows == len(h):
                h = block.body(h)
            elif rows > 0:
                h = torch.cat([block.body(h[:rows]), h[rows:]])
        return self.head(h, None)

    def _every_block(self) -> list[UViTBlock]:
        return [self._numbered(i) for i in range(self.n_blocks)]

    def _numbered(self, i: int) -> UViTBlock:
        half = len(self.in_blocks)
        found = self.in_blocks[i] if i < half else self.mid_block if i == half else self.out_blocks[i - half - 1]
        assert isinstance(found, UViTBlock)
        return found
