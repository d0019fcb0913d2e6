"""Checkpoints of ddim: equal to a U-Net written here by the names and facts of its code."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.imports_kit import build_imported, integer_levels, noisy_images, relative_gap
from torch import Tensor
from torch.nn import functional

from harness.errors import UsageError
from harness.importers.ddim_checkpoint import read, recognises

CHANNELS = (32, 64)


class Written:
    """The forward pass of ddim's U-Net, two levels with attention on the second, over a flat state dict."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = {name: value.double() for name, value in state.items()}

    def layer(self, name: str, h: Tensor, **options: Any) -> Tensor:
        """Apply a convolution, or a linear layer."""
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        if weight.ndim == 2:
            return functional.linear(h, weight, bias)
        return functional.conv2d(h, weight, bias, **{"padding": weight.shape[-1] // 2, **options})

    def norm(self, name: str, h: Tensor) -> Tensor:
        return functional.group_norm(h, 32, self.state[f"{name}.weight"], self.state[f"{name}.bias"], 1e-6)

    def block(self, name: str, h: Tensor, time: Tensor) -> Tensor:
        inner = self.layer(f"{name}.conv1", functional.silu(self.norm(f"{name}.norm1", h)))
        inner = inner + self.layer(f"{name}.temb_proj", functional.silu(time))[:, :, None, None]
        inner = self.layer(f"{name}.conv2", functional.silu(self.norm(f"{name}.norm2", inner)))
        return inner + (self.layer(f"{name}.nin_shortcut", h) if f"{name}.nin_shortcut.weight" in self.state else h)

    def attention(self, name: str, h: Tensor) -> Tensor:
        normed = self.norm(f"{name}.norm", h)
        q, k, v = (self.layer(f"{name}.{part}", normed).flatten(2) for part in "qkv")
        weights = (q.transpose(1, 2) @ k / math.sqrt(q.shape[1])).softmax(2)
        return h + self.layer(f"{name}.proj_out", (v @ weights.transpose(1, 2)).reshape(h.shape))

    def __call__(self, x: Tensor, tau: Tensor) -> Tensor:
        # time: sines, then cosines
        half = CHANNELS[0] // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / (half - 1))
        angles = tau.float()[:, None] * rates
        time = torch.cat([angles.sin(), angles.cos()], dim=1).double()
        time = self.layer("temb.dense.1", functional.silu(self.layer("temb.dense.0", time)))

        # down, with a pixel of zeros at the far sides before the stride
        skips = [self.layer("conv_in", x)]
        skips.append(self.block("down.0.block.0", skips[-1], time))
        skips.append(self.layer("down.0.downsample.conv", functional.pad(skips[-1], (0, 1, 0, 1)), stride=2, padding=0))
        skips.append(self.attention("down.1.attn.0", self.block("down.1.block.0", skips[-1], time)))

        h = self.attention("mid.attn_1", self.block("mid.block_1", skips[-1], time))
        h = self.block("mid.block_2", h, time)
        for j in range(2):
            joined = torch.cat([h, skips.pop()], dim=1)
            h = self.attention(f"up.1.attn.{j}", self.block(f"up.1.block.{j}", joined, time))
        h = self.layer("up.1.upsample.conv", functional.interpolate(h, scale_factor=2.0, mode="nearest"))
        for j in range(2):
            h = self.block(f"up.0.block.{j}", torch.cat([h, skips.pop()], dim=1), time)
        return self.layer("conv_out", functional.silu(self.norm("norm_out", h)))


def make_state() -> dict[str, Tensor]:
    """Return random tensors by ddim's names."""
    a, b = CHANNELS
    sizes = {"conv_in": (a, 3, 3), "conv_out": (3, a, 3), "temb.dense.0": (4 * a, a), "temb.dense.1": (4 * a, 4 * a)}
    sizes |= {"down.0.downsample.conv": (a, a, 3), "up.1.upsample.conv": (b, b, 3), "norm_out": (a,)}
    blocks = {"down.0.block.0": (a, a), "down.1.block.0": (a, b), "mid.block_1": (b, b), "mid.block_2": (b, b)}
    blocks |= {"up.1.block.0": (2 * b, b), "up.1.block.1": (a + b, b), "up.0.block.0": (a + b, a)}
    for name, (before, after) in {**blocks, "up.0.block.1": (2 * a, a)}.items():
        sizes |= {f"{name}.norm1": (before,), f"{name}.conv1": (after, before, 3), f"{name}.norm2": (after,)}
        sizes |= {f"{name}.temb_proj": (after, 4 * a), f"{name}.conv2": (after, after, 3)}
        sizes |= {f"{name}.nin_shortcut": (after, before, 1)} if before != after else {}
    for name in ("down.1.attn.0", "mid.attn_1", "up.1.attn.0", "up.1.attn.1"):
        sizes |= {f"{name}.norm": (b,)} | {f"{name}.{part}": (b, b, 1) for part in ("q", "k", "v", "proj_out")}

    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in sizes.items():
        full = (*shape, shape[2]) if len(shape) == 3 else shape
        state[f"{name}.weight"] = 0.1 * torch.randn(full, generator=generator) + (1.0 if len(full) == 1 else 0.0)
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    return state


@pytest.mark.parametrize("listed", [False, True])
def test_d_is_that_of_the_written_network(tmp_path: Path, listed: bool) -> None:
    state = make_state()
    source = tmp_path / "model-790000.ckpt"
    raw = {f"module.{name}": torch.zeros_like(value) for name, value in state.items()}
    torch.save([raw, {"state": {}}, 3, 790000, state] if listed else state, source)
    assert recognises(source)
    found = read(source, {"resolution": 8})
    assert found.origin["weights"] == ("ema" if listed else "not stated")
    assert found.params["down_block_types"] == ["DownBlock2D", "AttnDownBlock2D"]

    tau, sigma = integer_levels()
    x, s = noisy_images(sigma, 3, 8), sigma[:, None, None, None]
    wanted = x - s * Written(state)(x / (1 + s**2).sqrt(), tau)
    assert relative_gap(build_imported(found)(x, sigma), wanted) <= 1e-6
    for field, value in {"flip_sin_to_cos": True, "freq_shift": 0, "downsample_padding": 1, "norm_eps": 1e-4}.items():
        assert relative_gap(build_imported(found, **{field: value})(x, sigma), wanted) > 1e-6, field


def test_published_sizes_have_a_resolution_and_others_must_state_it(tmp_path: Path) -> None:
    source = tmp_path / "w.ckpt"
    torch.save(make_state(), source)
    with pytest.raises(UsageError, match="does not say the size of its images; expected it stated"):
        read(source, {})
    with pytest.raises(UsageError, match="resolution is stated as 0; expected a whole number above 0"):
        read(source, {"resolution": 0})


def test_a_training_without_an_average_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "w.ckpt"
    torch.save([make_state(), {"state": {}}, 3, 790000], source)
    with pytest.raises(UsageError, match="holds no averaged weights"):
        read(source, {"resolution": 8})
    assert read(source, {"resolution": 8, "weights": "raw"}).origin["weights"] == "raw"
